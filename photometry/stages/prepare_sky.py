"""Between the passes: the static scene of each orbit, which pixels are sky, the sum image."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from photometry.core.stats import flux_from_tmag
from photometry.io.catalog import Catalog
from photometry.scene import wcs
from photometry.scene.jitter import choose_beacons
from photometry.sky import differences, level, starmask, wings
from photometry.sky.anomalies import FULL_WELL
from photometry.sky.differences import Scene
from photometry.sky.level import FrameBackground
from photometry.sky.passes import add_frame
from photometry.sky.straps import Straps, add_straps, beside, fit_straps, usual_ratio
from photometry.sky.wings import StaticSky
from photometry.stages.prepare_few import (
    changes_of,
    few_pixels_sky,
    halos_of,
    is_small,
    pixels_of_sky,
)
from photometry.stages.prepare_passes import (
    STRAPS,
    Block,
    Job,
    Settings,
    excluded_shares,
    grid_of,
    images,
    is_strap,
    plan_of,
)
from photometry.stages.prepare_places import find_places
from photometry.stages.prepare_values import Values

_BRIGHT_SHARE = 0.1               # of the full well
_FEWEST_BRIGHT = 8                # frames that show how straps answer to scattered light
_FEWEST_WHOLE = 8                 # frames of which a mean image is made rather than of more
_MUCH = 0.02                      # of the pixels that others have
# Stars that tell motion; in many frames fewer, as memory holds what all show in all frames.
_FEWEST_BEACONS, _MOST_BEACONS, _BEACONS_TIMES_FRAMES = 300, 1000, 1.3e6
_FEW_BEACONS, _MOST_WITH_PIXELS, _PIXELS_TIMES_FRAMES = 200, 100, 250_000


@dataclass(frozen=True, slots=True)
class Frames:
    """What is known of all frames before the passes."""

    blocks: Sequence[Block]
    time: NDArray[np.float64]     # (T,) days
    good: NDArray[np.bool_]       # (T,)
    levels: NDArray[np.float64]   # (T,) e-/s, how bright each frame is
    whole: NDArray[np.bool_]      # (T,) has all pixels that others have


def find_sky(job: Job, blocks: Sequence[Block], values: Values) -> None:
    """Decide once per cube which pixels are sky, what is static, and which stars are beacons.

    Parameters
    ----------
    values : (T,)
        Of each frame.
    """
    if job.scratch.has("sky"):
        return
    levels, frames = values.level, _frames_of(job, blocks, values)
    starts, main = orbits(frames.time, frames.good & np.isfinite(levels), job.choices.prepare)
    orbit = orbit_of(frames.time, starts)
    grid, fit = grid_of(job.box, job.ccd.ccd, job.choices.background), job.choices.background
    main_frames = _preferred(frames, frames.good & (orbit == main))
    mean = _deep(job, frames, main_frames)
    shown = _chosen(main_frames, levels, job.choices.prepare.mean_frames)
    masked = np.where(is_strap(job.box), np.nan, mean)      # straps are brighter than the sky
    used = starmask.sky_pixels(masked, grid, fit, job.choices.stars)
    halo = halos_of(job, mean)
    own = {frame.header.wcs_text for block in blocks for frame in block.frames}
    places = find_places(job, mean, usual=job.wcs_text not in own)
    sky = (few_pixels_sky(job, places.wcs_text, masked, grid) if is_small(job.box) else
           wings.static_sky(masked, used, halo, _catalog_light(job, places.wcs_text), grid, fit,
                            job.choices.wings))
    used = pixels_of_sky(mean, sky) if is_small(job.box) else used
    static = sky.frame
    shows_straps = beside(np.isfinite(mean) if is_small(job.box) else used, is_strap(job.box))
    behind = level.full_model(static, grid)
    excess, smooth = _excess(job, mean, sky, behind, shows_straps)
    # Straps stay where they are when the stars move.
    behind[:, is_strap(job.box)] *= 1 + usual_ratio(excess, smooth)
    scene = differences.make_scene(mean, mean - behind, halo, FULL_WELL, grid, changes_of(job))
    straps = _straps(job, frames, scene, excess, smooth)
    for number in range(len(starts) + 1):
        image = mean if number == main else _deep(
            job, frames, _preferred(frames, frames.good & (orbit == number)))
        _save_orbit(job, number, image, scene, static, used, straps)
    behind = level.full_model(static, grid)
    add_straps(behind, straps, 1.0)
    beacons = choose_beacons(mean - behind, job.choices.prepare.beacon_faintest,
                             job.choices.prepare.beacon_brightest, _most_beacons(len(levels)))
    job.scratch.save("sky", used=used, beacon_row=beacons.row, beacon_column=beacons.column,
                     beacon_center=beacons.center, beacon_curve=beacons.curve,
                     beacon_others=beacons.others, beacon_leaning=beacons.leaning,
                     beacon_pixels=np.array(kept_with_pixels(len(beacons.row), len(levels))),
                     orbit_starts=starts,
                     level_err=sky.level_err, wcs_text=np.array(places.wcs_text),
                     wcs_note=np.array(places.note), wcs_frames=shown & places.mended,
                     **{name: getattr(straps, name.removeprefix("strap_")) for name in STRAPS})


def _most_beacons(n_frames: int) -> int:
    return int(np.clip(_BEACONS_TIMES_FRAMES / n_frames, _FEWEST_BEACONS, _MOST_BEACONS))


def kept_with_pixels(n_beacons: int, n_frames: int) -> int:
    """Return of how many beacons all pixels are kept: where many tell, widths are enough."""
    most = min(_MOST_WITH_PIXELS, _PIXELS_TIMES_FRAMES // n_frames)
    return min(n_beacons, most) if n_beacons <= _FEW_BEACONS else 0


def _frames_of(job: Job, blocks: Sequence[Block], values: Values) -> Frames:
    time = [frame.header.time for block in blocks for frame in block.frames]
    lacking = values.missing + excluded_shares(job, time)
    good = [good for block in blocks for good in block.good]
    return Frames(blocks, np.array(time), np.array(good), values.level,
                  lacking < np.median(lacking) + _MUCH)


def _preferred(frames: Frames, candidates: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the candidates (T,) that lack no pixels, unless they are few.

    What a pixel has more or less than others changes with the scattered light: a mean of other
    frames here than there has steps, which look like sky.
    """
    whole = candidates & frames.whole
    return whole if whole.sum() >= _FEWEST_WHOLE else candidates


def orbits(time: NDArray, good: NDArray[np.bool_], settings: Settings) -> tuple[NDArray, int]:
    """Return when (K-1,) new orbits start, and which of the K has most good frames.

    A gap starts a new orbit if enough good frames lie on both sides of it.
    """
    gaps = np.flatnonzero(np.diff(time) > settings.gap_days) + 1
    edges = [0]
    for edge in gaps:
        if (good[edges[-1]:edge].sum() >= settings.orbit_frames
                and good[edge:].sum() >= settings.orbit_frames):
            edges.append(int(edge))
    counts = [good[start:stop].sum() for start, stop in
              zip(edges, [*edges[1:], len(time)], strict=True)]
    return time[edges[1:]] if len(edges) > 1 else np.zeros(0), int(np.argmax(counts))


def orbit_of(time: NDArray, starts: NDArray) -> NDArray[np.int_]:
    """Return in which orbit (T,) frames are, counted from 0."""
    return np.searchsorted(starts, time, side="right")


def main_orbit(time: NDArray, good: NDArray[np.bool_], settings: Settings) -> NDArray[np.bool_]:
    """Tell which frames (T,) are of the orbit that has most good ones."""
    starts, main = orbits(time, good, settings)
    return orbit_of(time, starts) == main


def _deep(job: Job, frames: Frames, candidates: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean image (R, C) of the darker frames of an orbit; of any where none is."""
    mean = _mean_image(job, frames, _chosen(candidates, frames.levels,
                                            job.choices.prepare.mean_frames))
    if np.isnan(mean).any():                # such as pixels excluded in all the chosen frames
        mean = np.where(np.isnan(mean), _mean_image(job, frames, candidates), mean)
    return mean


def _catalog_light(job: Job, wcs_text: str) -> wings.Light | None:
    """Return the light of the catalog's stars; None without stars on the window."""
    if job.catalog is None:
        return None
    with Catalog(job.catalog) as catalog:
        ra, dec, tmag = catalog.lights(job.choices.wings.faintest_tmag)
    if len(ra) == 0:
        return None
    row, column = wcs.to_pixels(wcs_text, ra, dec)
    known = np.isfinite(row) & np.isfinite(column)
    if not job.box.contains(row[known], column[known]).any():
        return None
    return wings.light_of_stars(job.box, row[known], column[known], flux_from_tmag(tmag[known]),
                                job.choices.wings)


def _excess(job: Job, mean: NDArray, sky: StaticSky, smooth: NDArray,
            shown: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
    """Return what straps have more (R, K) than the smooth background, and that background."""
    strap = is_strap(job.box)
    excess = (mean - smooth - sky.starlight)[:, strap]
    return np.where(shown, excess, np.nan), smooth[:, strap].astype(float)


def _straps(job: Job, frames: Frames, scene: Scene, excess: NDArray, smooth: NDArray) -> Straps:
    """Measure the pattern of the straps from the mean and from the brighter frames."""
    grid, inside = (grid_of(job.box, job.ccd.ccd, job.choices.background),
                    np.flatnonzero(is_strap(job.box)))
    if len(inside) == 0:
        return Straps(inside, *[np.zeros(0)] * 4)
    candidates = _preferred(frames, frames.good & (frames.levels < _BRIGHT_SHARE * FULL_WELL))
    bright = _mean_image(job, frames, _brightest(candidates, frames.levels,
                                                 job.choices.prepare.mean_frames))
    change = _compared(job, bright, scene, scene.usable)
    more = level.smooth(change.mesh, change.radial, grid)
    extra = bright - scene.image - differences.moved(change.motion, scene) - more
    extra = np.where(scene.usable, extra, np.nan)[:, inside]
    return fit_straps(excess, smooth, extra, more[:, inside], change.noise, inside)


def _compared(job: Job, image: NDArray, scene: Scene,
              used: NDArray[np.bool_]) -> differences.Change:
    """Return by how much the background of a mean image differs from that of a scene."""
    grid = grid_of(job.box, job.ccd.ccd, job.choices.background)
    return differences.fit_change(image, np.zeros(job.box.shape, bool), scene, plan_of(job, used),
                                  grid, job.choices.background, job.choices.changes)


def _save_orbit(job: Job, number: int, image: NDArray, reference: Scene,
                static: FrameBackground, used: NDArray[np.bool_], straps: Straps) -> None:
    """Keep the scene of an orbit and its background: that of the reference and the change."""
    grid = grid_of(job.box, job.ccd.ccd, job.choices.background)
    # Stars may have moved by a good part of a pixel between orbits: only sky is compared.
    change = _compared(job, image, reference, reference.usable & used)
    mesh, radial = static.mesh + change.mesh, static.radial + change.radial
    behind = level.smooth(mesh, radial, grid)
    add_straps(behind, straps, 1.0)
    scene = differences.make_scene(image, image - behind, halos_of(job, image), FULL_WELL, grid,
                                   changes_of(job))
    errors = differences.errors_of(plan_of(job, scene.usable), grid, np.random.default_rng(0))
    job.scratch.save(f"scene-{number:03d}", image=scene.image, usable=scene.usable,
                     moving=scene.moving, terms=scene.terms, mesh=mesh, radial=radial,
                     **asdict(errors))


def _chosen(candidates: NDArray[np.bool_], levels: NDArray, limit: int) -> NDArray[np.bool_]:
    """Choose evenly from the darker half of the candidates, where scattered light is least."""
    index = np.flatnonzero(candidates)
    dark = index[levels[index] <= np.median(levels[index])]
    picked = dark[np.linspace(0, len(dark) - 1, min(limit, len(dark))).round().astype(int)]
    chosen = np.zeros(len(levels), dtype=bool)
    chosen[picked] = True
    return chosen


def _brightest(candidates: NDArray[np.bool_], levels: NDArray,
               limit: int) -> NDArray[np.bool_]:
    """Choose the candidates with most light, an eighth of them."""
    index = np.flatnonzero(candidates)
    number = min(max(len(index) // 8, _FEWEST_BRIGHT), limit, len(index))
    chosen = np.zeros(len(levels), dtype=bool)
    chosen[index[np.argsort(-levels[index], kind="stable")[:number]]] = True
    return chosen


def _mean_image(job: Job, frames: Frames, chosen: NDArray) -> NDArray[np.float64]:
    """Return the mean (R, C) of the chosen frames; NaN where there is none.

    Frames are brought to their common level first: a pixel that is missing in some of them
    must not get the level of the others.
    """
    total, count = np.zeros(job.box.shape), np.zeros(job.box.shape)
    usual, start = np.mean(frames.levels[chosen]), 0
    for block in frames.blocks:
        here = slice(start, start + len(block.frames))
        start += len(block.frames)
        some = Block(block.number, *(tuple(compress(values, chosen[here])) for values in
                                     (block.frames, block.places, block.good)))
        shifts = frames.levels[here][chosen[here]] - usual
        for (_, image, exclude, _), shift in zip(images(job, some), shifts, strict=True):
            add_frame(total, count, image, exclude, shift)
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
