"""The figures of a cube: read, reduced to the size of a page, drawn."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photometry.core.flags import CadenceFlag, is_good
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.io.pages import write_picture
from photometry.scene.motion import Motion
from photometry.sky.background import BackgroundModel
from photometry.stages.figures import load_plots

LARGEST_PX = 512              # on a side: larger images are averaged
BACKGROUNDS = 4               # frames whose background is shown
KINDS = ("images", "timeline")


def save_ccd_figures(cube_path: Path, output: Path) -> list[Path]:
    """Draw the figures of a cube and return where they are.

    Raises
    ------
    InputError
        When the cube cannot be read.
    UsageError
        When matplotlib is missing.
    """
    plots = load_plots()
    with Cube(cube_path) as cube:
        data, ccd = ccd_data(plots, cube), cube.ccd
    paths = []
    for kind in KINDS:
        path = layout.ccd_plot_path(output, ccd, kind)
        write_picture(path, plots.to_png(getattr(plots, f"plot_{kind}")(data)))
        paths.append(path)
    return paths


def ccd_data(plots: ModuleType, cube: Cube) -> Any:
    """Return what the figures of a cube show, a `plots.CcdData`."""
    box, cadences = cube.box, cube.cadences
    model, motion = BackgroundModel(**cube.background_arrays()), Motion(**cube.motion_arrays())
    good = is_good(cadences.quality)
    level = np.median(model.mesh.reshape(len(cadences), -1), axis=1).astype(float)
    step = -(-max(box.shape) // LARGEST_PX)
    middle = 0.5 * (box.row0 + box.row1 - 1), 0.5 * (box.column0 + box.column1 - 1)
    shown = {f"Background, day {cadences.time[frame]:.2f}":
             reduced(model.evaluate(box, slice(frame, frame + 1))[0], step)
             for frame in shown_frames(level, good)}
    unknown = np.full(len(cadences), np.nan)
    return plots.CcdData(
        title=_title(cube.ccd, cube.cadence_s, len(cadences)), box=seen_box(box, step),
        sumimage=reduced(cube.sumimage(box), step),
        used=reduced(cube.used_for_background(box), step), backgrounds=shown,
        time=cadences.time, good=good, level=level, shift=motion.drift(*middle),
        shift_err=motion.error if len(motion.error) else unknown, jitter=motion.jitter,
        flags=_flags(cadences.quality, motion, model.stray_light))


def _title(ccd: CcdId, cadence_s: int, n_frames: int) -> str:
    return (f"Sector {ccd.sector}, camera {ccd.camera}, CCD {ccd.ccd}: {n_frames} frames of "
            f"{cadence_s} s")


def shown_frames(level: NDArray, good: NDArray[np.bool_]) -> list[int]:
    """Return good frames from the darkest to the brightest, in order of time."""
    candidates = np.flatnonzero(good & np.isfinite(level))
    if not len(candidates):
        return []
    order = candidates[np.argsort(level[candidates], kind="stable")]
    places = np.linspace(0, len(order) - 1, BACKGROUNDS).round().astype(int)
    return sorted(set(order[places].tolist()))


def seen_box(box: Box, step: int) -> Box:
    """Return the pixels that `reduced` shows."""
    return Box(box.row0, box.row0 + box.shape[0] // step * step,
               box.column0, box.column0 + box.shape[1] // step * step)


def reduced(image: NDArray, step: int) -> NDArray[np.float64]:
    """Return the mean over squares of pixels, those at the far edges cut off; NaN ignored."""
    rows, columns = (length // step * step for length in image.shape)
    squares = image[:rows, :columns].astype(float).reshape(rows // step, step, -1, step)
    finite = np.isfinite(squares)
    count = finite.sum(axis=(1, 3))
    total = np.where(finite, squares, 0.0).sum(axis=(1, 3))
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _flags(quality: NDArray, motion: Motion,
           stray_light: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """Return which frames have which flag, those that occur."""
    bits = {flag.name.lower().replace("_", " "): (quality & int(flag)) != 0
            for flag in CadenceFlag}
    ours = {"excursion (measured)": motion.excursion, "stray light (measured)": stray_light,
            "no usable coordinates": motion.interpolated}
    return {name: mask for name, mask in (bits | ours).items() if len(mask) and mask.any()}
