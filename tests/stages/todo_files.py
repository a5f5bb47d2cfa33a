"""A folder with cubes and pixel files to make a to-do list of, for tests."""

import numpy as np

from photometry.core.ffi import Readout
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.core.time import Cadences
from photometry.io import catalog, cube, layout

CCD = CcdId(1, 4, 1)
BOX = Box(370, 430, 1560, 1640)           # holds the pixel files of `tests.io.tpf_files`
FRAMES = 3
CENTER = (63.0, -69.0)                    # sky position of science pixel (390, 1579)

# The same plane of the sky as the pixel files'.
WCS_TEXT = "".join(f"{key:<8}= {value:>20}".ljust(80) for key, value in {
    "CTYPE1": "'RA---TAN'", "CTYPE2": "'DEC--TAN'", "CRPIX1": 1580.0, "CRPIX2": 391.0,
    "CRVAL1": CENTER[0], "CRVAL2": CENTER[1], "CUNIT1": "'deg     '", "CUNIT2": "'deg     '",
    "CDELT1": -0.0056, "CDELT2": 0.0056,
    "PC1_1": -0.33, "PC1_2": -0.93, "PC2_1": -0.96, "PC2_2": 0.34}.items())


def write_cube(folder, ccd=CCD, box=BOX, cadence_s=1800, data_rel=2, sumimage=None):
    """Write a cube without light and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    time = 1325.3 + np.arange(FRAMES) * cadence_s / 86400
    observation = cube.Observation(
        ccd=ccd, origin="SPOC", box=box, cadence_s=cadence_s, data_rel=data_rel,
        procver="spoc-1", readout=Readout((5.0,) * 4, (8.0,) * 4, 900, 720, True, 10),
        background_applied=False,
        cadences=Cadences(time, np.zeros(FRAMES), np.arange(FRAMES),
                          np.zeros(FRAMES, dtype=np.int32), np.full(FRAMES, 1425.6)),
        time_start=time - 0.01, time_stop=time + 0.01)
    frames = cube.Frames(tuple(f"frame{index}.fits" for index in range(FRAMES)),
                         np.zeros(FRAMES, dtype=np.uint32), np.zeros(FRAMES, dtype=np.int64),
                         np.zeros(FRAMES, dtype=np.int64), (WCS_TEXT,) * FRAMES, 1)
    path = layout.cube_path(folder, ccd)
    with cube.creating(path, observation, frames, cube.Provenance("0.1", "", "", "")) as writer:
        writer.write_image("sumimage", np.ones(box.shape) if sumimage is None else sumimage)
    return path


def tpf_path(folder, starid, sector=1, fast=False):
    """Return a mission-like name of a pixel file."""
    return folder / "tpf" / layout.tpf_name(starid, sector, "2018206045859", 120, fast
                                            ).removesuffix(".gz")


def write_catalog(folder, ccd, rows, center=(90.0, -66.56)):
    """Write a catalog of (starid, tmag, ra, dec); camera 4 looks at the ecliptic pole."""
    starid, tmag, ra, dec = (np.array(values) for values in zip(*rows, strict=True))
    nothing = np.full(len(rows), np.nan)
    settings = {
        "sector": ccd.sector, "camera": ccd.camera, "ccd": ccd.ccd, "ticver": "8",
        "reference_time": 2458339.0, "epoch": 2018.6, "coord_buffer": 0.2,
        "camera_centre_ra": center[0], "camera_centre_dec": center[1], "footprint": ""}
    catalog.write_catalog(layout.catalog_path(folder, ccd), settings, catalog.StarTable(
        starid, ra, dec, tmag, ra, dec, nothing, nothing, nothing), {})
