"""Make the example data in `tests/input` anew: `make golden`.

A simulated window of sector 1, camera 1, CCD 4 with one star listed as TIC 182092046,
its cube, catalog and to-do list, and its light curve as the program measured it then.
"""

import csv
import os
import shutil
import sys
import tempfile
from pathlib import Path

from photometry import cli
from photometry.io import layout
from photometry.io.truth import read_truth

STARID = 182092046
EDGE = 15                     # pixels from the window's edge
TMAG = 9.0                    # the brightest star from here on gets this number
SIZE, FRAMES, SEED = "112x96", "36", "20180725"
SCENE = ("--size", SIZE, "--frames", FRAMES, "--seed", SEED, "--stars", "60", "--camera", "1",
         "--ccd", "4", "--jitter", "--variables", "--gzip")
INPUT = Path(__file__).parent / "input"


def main() -> int:
    """Simulate, run the chain, and put the products in place."""
    os.environ["SOURCE_DATE_EPOCH"] = "1532547582"        # the first real image of the sector
    with tempfile.TemporaryDirectory() as folder:
        first, data = Path(folder, "first"), Path(folder, "data")
        check(cli.main(["simulate", str(first), "-q", *SCENE]))
        check(cli.main(["simulate", str(data), "-q", *SCENE, "--catalog",
                        str(renumbered(first))]))
        check(cli.make_catalog(["1", str(data), "-q"]))
        check(cli.prepare_photometry([str(data), "-q", "--workers", "1"]))
        check(cli.make_todo([str(data), "-q"]))
        place(data)           # the to-do list with nothing done yet
        check(cli.tessphot(["--all", "-q", str(data), "--output", str(data / "golden")]))
        curves = dict(layout.find_lightcurves(data / "golden"))
        shutil.copy(curves[STARID], INPUT / "golden")
    return 0


def check(code: int) -> None:
    """Stop at the first command that fails."""
    if code != cli.DONE:
        sys.exit(code)


def renumbered(folder: Path) -> Path:
    """Give the example's number to a bright star of the star list and return the list."""
    path = next((folder / "catalogs").iterdir())
    with path.open(newline="") as file:
        stars = list(csv.DictReader(file))
    truth = read_truth(next((folder / "truth").iterdir()))
    inner = truth.box.grown(-EDGE, -EDGE, -EDGE, -EDGE)
    inside = set(truth.stars["starid"][inner.contains(truth.stars["row"],
                                                      truth.stars["column"])])
    bright = [star for star in stars
              if float(star["Tmag"]) >= TMAG and int(star["ID"]) in inside]
    min(bright, key=lambda star: float(star["Tmag"]))["ID"] = str(STARID)
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, stars[0].keys(), lineterminator="\n")
        table.writeheader()
        table.writerows(stars)
    return path


def place(data: Path) -> None:
    """Copy the products into the repository."""
    for old in INPUT.iterdir():
        if old.name != "README.md":
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    for name in ("ffi", "catalogs", "truth"):
        shutil.copytree(data / name, INPUT / name)
    for path in (*data.glob("*.hdf5"), *data.glob("*.sqlite")):
        shutil.copy(path, INPUT)
    (INPUT / "golden").mkdir()


if __name__ == "__main__":
    sys.exit(main())
