"""Between the passes: the mean image, which pixels are sky, and the sum image."""

from collections.abc import Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from photometry.scene.jitter import choose_beacons
from photometry.sky import background, starmask
from photometry.stages.prepare_passes import Block, Job, grid_of, images, is_strap


def find_sky(job: Job, blocks: Sequence[Block], levels: NDArray) -> None:
    """Decide once per cube which pixels are sky and which stars are beacons.

    Parameters
    ----------
    levels : (T,)
        How bright each frame is.
    """
    if job.scratch.has("sky"):
        return
    good = np.array([good for block in blocks for good in block.good])
    mean = _mean_image(job, blocks, _chosen(good, levels, job.choices.prepare.mean_frames))
    if np.isnan(mean).any():                # such as pixels excluded in all the chosen frames
        mean = np.where(np.isnan(mean), _mean_image(job, blocks, good), mean)
    mean[:, is_strap(job.box)] = np.nan     # straps are brighter than the sky
    grid = grid_of(job.box, job.ccd.ccd, job.choices.background)
    used = starmask.sky_pixels(mean, grid, job.choices.background, job.choices.stars)
    fit = background.fit_background(mean, used, grid, job.choices.background)
    beacons = choose_beacons(mean - background.full_model(fit, grid),
                             job.choices.prepare.beacon_faintest,
                             job.choices.prepare.beacon_brightest)
    job.scratch.save("sky", used=used, beacon_row=beacons.row, beacon_column=beacons.column,
                     beacon_response=beacons.response)


def _chosen(good: NDArray[np.bool_], levels: NDArray, limit: int) -> NDArray[np.bool_]:
    """Choose evenly from the darker half of the good frames, where scattered light is least."""
    candidates = np.flatnonzero(good)
    dark = candidates[levels[candidates] <= np.median(levels[candidates])]
    picked = dark[np.linspace(0, len(dark) - 1, min(limit, len(dark))).round().astype(int)]
    chosen = np.zeros(len(levels), dtype=bool)
    chosen[picked] = True
    return chosen


def _mean_image(job: Job, blocks: Sequence[Block], chosen: NDArray) -> NDArray[np.float64]:
    """Return the mean (R, C) of the chosen frames as they came; NaN where there is none."""
    total, count = np.zeros(job.box.shape), np.zeros(job.box.shape)
    start = 0
    for block in blocks:
        picked = chosen[start:start + len(block.frames)]
        start += len(block.frames)
        some = Block(block.number, *(tuple(compress(values, picked)) for values in
                                     (block.frames, block.positions, block.good)))
        for _, image, exclude, _ in images(job, some):
            counted = np.isfinite(image) & ~exclude
            np.add(total, image, out=total, where=counted)
            count += counted
    return _ratio(total, count)


def make_sum_image(job: Job, blocks: Sequence[Block]) -> None:
    """Add up the background-subtracted good frames of all blocks, in order."""
    if job.scratch.has("sum"):
        return
    total, count = np.zeros(job.box.shape), np.zeros(job.box.shape)
    for block in blocks:
        stored = job.scratch.load(block.named("background"), "total", "count")
        total += stored["total"]
        count += stored["count"]
    job.scratch.save("sum", sumimage=_ratio(total, count))


def _ratio(total: NDArray, count: NDArray) -> NDArray[np.float64]:
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
