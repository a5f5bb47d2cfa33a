import io
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning

from photometry.io import fits_template
from photometry.io.fits_template import card, hdu, image_hdu, ones_sum, wcs_cards

VALUES = [True, False, 0, -17, 12345678901234, 0.0, 1.5, -2.25e-7, 1e22, 1 / 3,
          -1.2345678901234567e-05, 1e-300, "a", "TASOC/Aarhus", "it's", "nearly eight", "x" * 60,
          np.float64(2.5),
          np.float32(0.1), np.int32(7), np.bool_(True)]


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("comment", ["", "[e-/s] what it is"])
def test_a_card_is_what_astropy_writes(value, comment):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VerifyWarning)      # it tells of cut comments
        plain = value.item() if isinstance(value, np.generic) else value
        theirs = str(fits.Card("KEYWORD", plain, comment))
    assert card("KEYWORD", value, comment) == theirs
    assert len(theirs) == 80


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), np.float64("nan"), ""])
def test_no_value_gives_no_card(value):
    assert card("KEYWORD", value) == ""


def test_equal_values_of_other_type_do_not_share_a_card():
    texts = {card("KEYWORD", value) for value in (1, 1.0, True)}
    assert len(texts) == 3
    assert card("KEYWORD", -0.0) == card("KEYWORD", 0.0)


def test_long_keywords_become_hierarch_cards():
    parsed = fits.Card.fromstring(card("APERTURE MIN PIXELS", 4, "smallest"))
    parsed.verify("exception")
    assert (parsed.keyword, parsed.value, parsed.comment) == ("APERTURE MIN PIXELS", 4, "smallest")


@pytest.mark.parametrize("text", ["y" * 200, "'" * 90, "a" * 66 + "''"])
def test_long_text_is_cut_to_one_readable_card(text):
    parsed = fits.Card.fromstring(card("KEYWORD", text, "comment"))
    parsed.verify("exception")
    assert parsed.value.endswith("...") or parsed.value == text
    assert parsed.value[:20] == text[:20]


def test_what_a_header_may_not_hold_is_replaced():
    assert fits.Card.fromstring(card("KEYWORD", "5 µm\n")).value == "5 ?m?"


def test_only_values_of_a_header_are_taken():
    with pytest.raises(TypeError, match="truth value, number or text"):
        card("KEYWORD", (1, 2))


def test_a_setting_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        card("A SETTING WITH A NAME THAT LEAVES NO ROOM FOR WHAT IT IS SET TO " * 2, 1.0)


@pytest.mark.parametrize("shape", [(1, 1), (5, 8), (40, 37)])
@pytest.mark.parametrize("dtype", [np.float64, np.int32])
def test_checksums_are_what_astropy_computes(shape, dtype):
    image = np.random.default_rng(3).normal(0, 1e4, shape).astype(dtype)
    primary = hdu([card("SIMPLE", True), card("BITPIX", 8), card("NAXIS", 0),
                   card("EXTEND", True)])
    content = primary + image_hdu("IMAGE", image, [card("ANSWER", 42)])
    assert len(content) % fits_template.BLOCK == 0
    with fits.open(io.BytesIO(content), checksum=True) as hdus:      # a mismatch warns
        hdus.verify("exception")
        header = hdus[1].header.copy()
        np.testing.assert_array_equal(hdus[1].data, image)
        assert hdus[1].data.dtype.itemsize == np.dtype(dtype).itemsize
        hdus[1].add_checksum()
        assert hdus[1].header["DATASUM"] == header["DATASUM"]
    assert header["ANSWER"] == 42


def test_the_sum_of_a_whole_unit_vanishes():
    rng = np.random.default_rng(8)
    for size in (1, 2879, 2880, 90_001):
        unit = hdu([card("SIMPLE", True)], rng.bytes(size))
        assert ones_sum(unit) == 0xFFFFFFFF


@pytest.mark.parametrize("total", [0, 1, 0xFFFFFFFF, 0x12345678, 868229149])
def test_a_checksum_is_letters_and_digits_and_decodes(total):
    text = fits_template.encode_checksum(total)
    assert text.isalnum()
    assert len(text) == 16
    turned = text[1:] + text[0]
    decoded = ones_sum((np.frombuffer(turned.encode(), np.uint8) - ord("0")).tobytes(), total)
    assert decoded in (0, 0xFFFFFFFF)


def test_the_standards_example_of_an_encoded_checksum():
    assert fits_template.encode_checksum(868229149) == "hcHjjc9ghcEghc9g"


def test_a_cut_moves_only_the_reference_pixel():
    header = fits.Header([("NAXIS", 2), ("CTYPE1", "RA---TAN"), ("CTYPE2", "DEC--TAN"),
                          ("CRPIX1", 100.5), ("CRPIX2", 40.0), ("CRVAL1", 10.0), ("CRVAL2", 20.0),
                          ("CD1_1", 0.0058), ("CD2_2", 0.0058), ("CRVAL1P", 45),
                          ("DATE-OBS", "2018-07-25")])
    cut = fits.Header.fromstring(wcs_cards(header.tostring(), row0=30, column0=7))
    assert (cut["CRPIX1"], cut["CRPIX2"]) == (93.5, 10.0)
    assert [cut[key] for key in ("CRVAL1", "CRVAL2", "CD1_1")] == [10.0, 20.0, 0.0058]
    assert not {"NAXIS", "CRVAL1P", "DATE-OBS"} & set(cut)
    assert next(iter(cut)) == "WCSAXES"


def test_no_world_coordinates_give_no_cards():
    assert wcs_cards("", 1, 2) == ""
