import pytest
from astropy.io import fits
from astropy.io.fits.verify import VerifyError

from photometry.io import card_images
from photometry.io.card_images import CardImages
from tests.scene.builders import sip_text

VALUES = {"WHOLE": -12, "LEADING": "=  0007", "REAL": 1.5e-7, "DOUBLE": "=  1.25D+03",
          "DOT": "= -5.", "POINT": "= .5 / with a slash / or two", "TRUE": True, "FALSE": False,
          "TEXT": "SPOC", "QUOTED": "it's", "BLANK": " ", "EMPTY": "", "SPACED": "  a / b  ",
          "UNSET": "=", "LONG": "x" * 150, "COMPLEX": "= (1.0, -2.0)", "LOWER": "= 1.5e3",
          "A_1_2": -3.25e-5, "CTYPE-1": "RA---TAN-SIP"}


def text_of(values):
    """Return a header's text; a value that begins with "=" is written as it is."""
    return "".join(f"{key:<8}{value:<72}" if str(value).startswith("=") else
                   str(fits.Card(key, value, "a comment")) for key, value in values.items())


def test_values_are_those_of_a_complete_header():
    text = text_of(VALUES)
    quick, whole = CardImages(text), fits.Header.fromstring(text)
    assert list(quick) == list(whole)
    for key, value in whole.items():
        assert type(quick[key]) is type(value), key
        assert quick[key] == value, key


def test_every_card_of_world_coordinates_keeps_its_text(monkeypatch):
    quick, whole = CardImages(sip_text()), fits.Header.fromstring(sip_text())
    monkeypatch.setattr(card_images, "fits", None)        # none needs the slow way
    assert dict(quick) == dict(whole)
    assert "".join(map(quick.image, quick)) == sip_text()


def test_a_card_with_another_value_keeps_its_comment():
    quick = CardImages(text_of({"CRPIX1": 1045.0}))
    card = fits.Card.fromstring(quick.image("CRPIX1", 1001.5))
    assert (card.keyword, card.value, card.comment) == ("CRPIX1", 1001.5, "a comment")


def test_remarks_are_no_cards_and_the_first_of_two_counts():
    text = text_of({"NAXIS": 2}) + f"{'COMMENT one':<80}{'HISTORY two':<80}{'':<80}"
    text += f"{'CONTINUE  nothing':<80}" + text_of({"NAXIS": 3}) + f"{'HIERARCH a b = 1':<80}"
    quick = CardImages(text + f"{'END':<80}")
    assert dict(quick) == {"NAXIS": 2}
    assert "COMMENT" not in quick
    assert quick.get("NAXIS1") is None


def test_a_value_that_is_none_is_refused():
    with pytest.raises(VerifyError):
        CardImages(f"{'GAIN    = 1..2':<80}")["GAIN"]
