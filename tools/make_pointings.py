"""Derive the pointing tables of the package from the `tesswcs` package.

Each CCD's real solution is fitted with the mean distortion of its CCD, so that six numbers
per CCD and sector are enough. Prints how well the tables reproduce what they came from.
"""

import argparse
import bz2
import json
import logging
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FOLDER = Path(__file__).resolve().parents[1] / "photometry" / "data"
LEADING_COLUMNS = 44
REFERENCE = np.array([1001.0, 1001.0])        # CRPIX on the science area, counted from 1
ORDER = 4
FORWARD = [(p, n - p) for n in range(2, ORDER + 1) for p in range(n, -1, -1)]
INVERSE = [(p, n - p) for n in range(1, ORDER + 1) for p in range(n, -1, -1)]
GRID = np.stack(np.meshgrid(np.linspace(0.5, 2048.5, 21), np.linspace(0.5, 2048.5, 23)),
                axis=-1).reshape(-1, 2)       # column, row, counted from 1
MISS_PX = 0.1                                 # usual misfit, pixels
BTJD_ZERO = 2457000.0
CCDS = [(camera, ccd) for camera in range(1, 5) for ccd in range(1, 5)]


class Solution(NamedTuple):
    """A TAN-SIP solution, reference pixel counted from 1 on the science area."""

    crval: NDArray
    crpix: NDArray
    cd: NDArray                               # deg per pixel
    a: NDArray                                # (order + 1, order + 1)
    b: NDArray
    origin: NDArray                           # pixel the polynomials are about


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=FOLDER)
    output = parser.parse_args().output
    real, sectors = read_tesswcs()
    sip = {ccd: mean_distortion(real, ccd) for ccd in CCDS}
    solutions = real | predictions(set(sectors) - {key[0] for key in real})
    fitted, residuals = {}, {}
    for key, solution in sorted(solutions.items()):
        fitted[key], residuals[key] = fit(solution, *sip[key[1:]])
    source = f"# derived from tesswcs {version('tesswcs')} (MIT) by tools/make_pointings.py\n"
    write_sectors(output / "pointings.sectors.csv", source, sectors, {key[0] for key in real})
    write_solutions(output / "pointings.csv", source, fitted)
    write_distortion(output / "pointings.sip.csv", source, sip)
    report(residuals, {key[0] for key in real})


def read_tesswcs() -> tuple[dict[tuple[int, int, int], Solution], dict[int, list[float]]]:
    """Return the real solutions, and per sector RA, Dec, roll, start and end."""
    import tesswcs
    data = Path(tesswcs.PACKAGEDIR, "data")
    with bz2.open(data / "TESS_wcs_data.json.bz2", "rt") as stream:
        database = json.load(stream)
    solutions = {}
    for sector, cameras in database.items():
        for camera, ccd in CCDS:
            entry = cameras[str(camera)][str(ccd)]
            crpix = np.array(entry["crpix0"]) - [LEADING_COLUMNS, 0]
            solutions[int(sector), camera, ccd] = Solution(
                np.array(entry["crval0"]), crpix, np.array(entry["cd"]),
                np.array(entry["sip_a"]), np.array(entry["sip_b"]), crpix)
    sectors = {int(row["Sector"]): [float(row[name]) for name in ("RA", "Dec", "Roll")]
               + [float(row[name]) - BTJD_ZERO for name in ("Start", "End")]
               for row in tesswcs.pointings}
    return solutions, sectors


def predictions(sectors: set[int]) -> dict[tuple[int, int, int], Solution]:
    """Return what tesswcs expects of sectors without a solution."""
    import tesswcs
    logging.getLogger("tesswcs").setLevel(logging.ERROR)
    solutions = {}
    for sector in sectors:
        for camera, ccd in CCDS:
            wcs = tesswcs.WCS.from_sector(sector, camera, ccd)
            # Its polynomials and its linear part are about different pixels.
            crpix, origin = (np.array(pixel) - [LEADING_COLUMNS, 0]
                             for pixel in (wcs.wcs.crpix, wcs.sip.crpix))
            solutions[sector, camera, ccd] = Solution(
                np.array(wcs.wcs.crval), crpix, np.diag(wcs.wcs.cdelt) @ wcs.wcs.pc,
                np.array(wcs.sip.a), np.array(wcs.sip.b), origin)
    return solutions


def mean_distortion(real: dict, ccd: tuple[int, int]) -> tuple[NDArray, NDArray]:
    """Return the mean A and B over the sectors of one order and reference pixel."""
    chosen = [s for key, s in real.items()
              if key[1:] == ccd and s.a.shape == (ORDER + 1, ORDER + 1)
              and np.all(s.crpix == REFERENCE)]
    return np.median([s.a for s in chosen], axis=0), np.median([s.b for s in chosen], axis=0)


def distort(a: NDArray, b: NDArray, offset: NDArray) -> NDArray:
    """Return offsets from the reference pixel with the polynomial added."""
    u, v = offset.T
    return offset + np.stack([np.polynomial.polynomial.polyval2d(u, v, a),
                              np.polynomial.polynomial.polyval2d(u, v, b)], axis=-1)


def to_sky(solution: Solution, pixels: NDArray) -> NDArray:
    """Return unit vectors (N, 3) of pixels (column, row)."""
    moved = distort(solution.a, solution.b, pixels - solution.origin) + solution.origin
    plane = np.radians((moved - solution.crpix) @ solution.cd.T)
    center, east, north = axes(solution.crval)
    vectors = center + plane[:, :1] * east + plane[:, 1:] * north
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def axes(crval: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """Return the unit vectors to a point, and to its east and north."""
    a, d = np.radians(crval)
    return (np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)]),
            np.array([-np.sin(a), np.cos(a), 0.0]),
            np.array([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)]))


def to_plane(crval: NDArray, vectors: NDArray) -> NDArray:
    """Return tangent-plane coordinates, deg."""
    center, east, north = axes(crval)
    depth = vectors @ center
    return np.degrees(np.stack([vectors @ east / depth, vectors @ north / depth], axis=-1))


def fit(solution: Solution, a: NDArray, b: NDArray) -> tuple[Solution, NDArray]:
    """Fit crval and CD with a given distortion; also return the residuals (N,), pixels.

    A few solutions of high order run wild near their corners: distant pixels count less.
    """
    vectors = to_sky(solution, GRID)
    crval, miss = solution.crval, np.zeros(len(GRID))
    offset = distort(a, b, GRID - REFERENCE)
    design = np.column_stack([np.ones(len(GRID)), offset])
    for _ in range(20):
        weight = 1 / np.hypot(1, miss / MISS_PX)[:, None]
        terms = np.linalg.lstsq(design * weight, to_plane(crval, vectors) * weight,
                                rcond=None)[0]
        crval = moved_by(crval, terms[0])
        cd = terms[1:].T
        miss = np.hypot(*np.linalg.solve(cd, (to_plane(crval, vectors) - offset @ cd.T).T))
    return Solution(crval, REFERENCE, cd, a, b, REFERENCE), miss


def moved_by(crval: NDArray, plane: NDArray) -> NDArray:
    """Return the position at tangent-plane coordinates, deg."""
    center, east, north = axes(crval)
    x, y, z = center + np.radians(plane[0]) * east + np.radians(plane[1]) * north
    return np.degrees([np.arctan2(y, x) % (2 * np.pi), np.arctan2(z, np.hypot(x, y))])


def inverse(a: NDArray, b: NDArray) -> NDArray:
    """Return the coefficients (terms, 2) that undo a distortion."""
    offset = GRID - REFERENCE
    distorted = distort(a, b, offset)
    scale = 1000.0
    u, v = distorted.T / scale
    design = np.stack([u**p * v**q for p, q in INVERSE], axis=-1)
    terms = np.linalg.lstsq(design, offset - distorted, rcond=None)[0]
    return terms / np.array([scale ** (p + q) for p, q in INVERSE])[:, None]


def write_sectors(path: Path, source: str, sectors: dict, real: set[int]) -> None:
    """Write the spacecraft's pointing, deg, and the dates, BTJD."""
    lines = [f"{sector},{int(sector not in real)},"
             + ",".join(f"{value:.10g}" for value in values)
             for sector, values in sorted(sectors.items())]
    write(path, source, "sector,predicted,ra,dec,roll,start,stop", lines)


def write_solutions(path: Path, source: str, fitted: dict) -> None:
    """Write CRVAL, deg, and the CD matrix, arcsec per pixel."""
    lines = [",".join([*map(str, key), f"{s.crval[0]:.6f}", f"{s.crval[1]:.6f}",
                       *(f"{value * 3600:.6f}" for value in s.cd.ravel())])
             for key, s in fitted.items()]
    write(path, source, "sector,camera,ccd,crval1,crval2,cd1_1,cd1_2,cd2_1,cd2_2", lines)


def write_distortion(path: Path, source: str, sip: dict) -> None:
    """Write the polynomials, one row per camera and CCD."""
    names = [f"{kind}_{p}_{q}" for kind in "AB" for p, q in FORWARD]
    names += [f"{kind}P_{p}_{q}" for kind in "AB" for p, q in INVERSE]
    lines = []
    for ccd, (a, b) in sip.items():
        values = [poly[p, q] for poly in (a, b) for p, q in FORWARD]
        values += [*inverse(a, b).T.ravel()]
        lines.append(",".join([*map(str, ccd), *(f"{value:.9e}" for value in values)]))
    write(path, source, ",".join(["camera", "ccd", *names]), lines)


def write(path: Path, source: str, head: str, lines: list[str]) -> None:
    """Write a table."""
    path.write_text(source + "\n".join([head, *lines]) + "\n")


def report(residuals: dict, real: set[int]) -> None:
    """Print the distance between the tables and their source, pixels."""
    for name, wanted in (("real", True), ("predicted", False)):
        misses = {key: miss for key, miss in residuals.items() if (key[0] in real) == wanted}
        rms = {key: np.sqrt(np.mean(miss**2)) for key, miss in misses.items()}
        largest = {key: miss.max() for key, miss in misses.items()}
        worst = max(largest, key=largest.get)
        for kind, values in (("rms", rms.values()), ("largest miss", largest.values())):
            median, high = np.quantile([*values], (0.5, 0.99))
            print(f"{name}, {len(misses)} CCDs: {kind} of a CCD's pixels: median {median:.3f}, "
                  f"99 % {high:.3f}, highest {max(values):.3f} px")
        print(f"{name}: the worst is {worst}")


if __name__ == "__main__":
    main()
