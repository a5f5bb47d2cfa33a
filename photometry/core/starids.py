"""Numbers of stars that have none in the TESS Input Catalog."""

from hashlib import blake2b

LARGEST = 2**63 - 1               # what databases and FITS files hold
# Above all numbers of the TIC and of Gaia, whose largest is 12 * 2**59 - 1.
FIRST_MADE_UP = 2**63 - 2**60
PREFIXES = ("TIC",)


def starid_of(identifier: str) -> int:
    """Return the number that stands for an identifier, the same in every run.

    A whole number from 1 to 2**63 - 1, with or without "TIC" before it, stands for itself. Any
    other text, longer numbers included, gets one of 2**60 numbers from `FIRST_MADE_UP` on, by a
    hash of it.
    """
    text = " ".join(identifier.split())
    digits = text
    for prefix in PREFIXES:
        if digits.upper().startswith(prefix):
            digits = digits[len(prefix):].strip()
    if digits.isascii() and digits.isdigit() and 0 < int(digits) <= LARGEST:
        return int(digits)
    value = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
    return FIRST_MADE_UP + value % 2**60
