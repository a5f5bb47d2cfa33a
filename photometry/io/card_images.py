"""Cards of a FITS header kept as text; each is parsed when its value is asked for.

Of the hundreds of cards of an image a few dozen matter, and nearly all of them are written
plainly: to find and parse those takes a tenth of the time of a complete `fits.Header`, which
looks at whatever is not plain.
"""

import re
from collections.abc import Iterator, Mapping

from astropy.io import fits

CARD = 80
_VALUE_MARK = "= "                # follows the eight characters of a keyword
_UNSET = ("COMMENT", "HISTORY", "CONTINUE", "HIERARCH", "END", "")
# Number, logical or text without quotes in it, and a comment or nothing.
_PLAIN = re.compile(r" *(?:([+-]?\d+)|([+-]?(?:\d+\.\d*|\.\d+|\d+(?=[ED]))(?:[ED][+-]?\d+)?)"
                    r"|([TF])|'([ -&(-~]*[!-&(-~]) *') *(?:/[ -~]*)?$")


class CardImages(Mapping[str, object]):
    """The cards of one header by keyword, of several alike the first."""

    def __init__(self, text: str) -> None:
        self._images: dict[str, str] = {}
        last = ""                 # the keyword that a long text goes on from
        for start in range(0, len(text), CARD):
            image = text[start:start + CARD]
            if image.startswith("CONTINUE") and last:
                self._images[last] += image
                continue
            keyword = _keyword(image)
            last = "" if keyword in _UNSET or keyword in self._images else keyword
            if last:
                self._images[last] = image

    def __getitem__(self, keyword: str) -> object:
        """Return a value; None if the card has none."""
        image = self._images[keyword]
        found = _plain(image)
        if found is None:
            value = fits.Card.fromstring(image).value
            return None if isinstance(value, fits.card.Undefined) else value
        whole, real, logical, text = found.groups()
        if whole:
            return int(whole)
        if real:
            return float(real.replace("D", "E"))
        return text if logical is None else logical == "T"

    def __iter__(self) -> Iterator[str]:
        """Go through the keywords."""
        return iter(self._images)

    def __len__(self) -> int:
        """Count the keywords."""
        return len(self._images)

    def __contains__(self, keyword: object) -> bool:
        """Tell whether there is such a card; a mapping's own way would parse it."""
        return keyword in self._images

    def image(self, keyword: str, value: float | None = None) -> str:
        """Return the text of a card, mended if need be, or with another value."""
        image = self._images[keyword]
        if value is None and _plain(image) is not None:
            return image
        card = fits.Card.fromstring(image)
        return str(card if value is None else fits.Card(keyword, value, card.comment))


def _keyword(image: str) -> str:
    """Return the keyword of a card; empty for one that has no value."""
    keyword = image[:8].rstrip()
    if keyword in _UNSET or (image[8:10] == _VALUE_MARK and keyword.isupper()):
        return keyword
    return fits.Card.fromstring(image).keyword


def _plain(image: str) -> re.Match | None:
    return _PLAIN.match(image, 10) if image[8:10] == _VALUE_MARK and len(image) == CARD else None
