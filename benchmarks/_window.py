"""The arguments of benchmarks that simulate windows."""

import argparse
from collections.abc import Sequence


def window_parser(description: str, example: str,
                  places: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser of where windows are and of what stars; `places` are the usual ones."""
    parser = argparse.ArgumentParser(description=description, epilog=example)
    parser.add_argument("--prf", default="", metavar="DIR", help="the mission's PRF models")
    parser.add_argument("--sector", type=int, default=1)
    parser.add_argument("--camera", type=int, default=1)
    parser.add_argument("--ccd", type=int, default=4)
    parser.add_argument("--place", action="append", metavar="ROW,COLUMN",
                        help=f"of a window's corner, repeatable ({'; '.join(places)})")
    parser.add_argument("--size", type=int, nargs=2, default=(224, 192), help="columns, rows")
    parser.add_argument("--seed", type=int, default=1, help="of the first place (1)")
    return parser
