"""The passes over the frames of one cube: each takes a block of frames and leaves scratch files.

read -> (mean images, sky pixels) -> background and flags -> (sum image). A block that has its
files is not done again, so that an interrupted run goes on where it stopped. Blocks are
independent: the result does not depend on who works on them, or in which order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError, SettingsError
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.core.settings import override
from photometry.io.facts import read_facts, read_toml
from photometry.io.images import read_with_checksum
from photometry.io.scratch import Scratch
from photometry.scene import detector, jitter
from photometry.scene.motion import frame_displacements
from photometry.sky import anomalies, differences, level
from photometry.sky.anomalies import Settings as AnomalySettings
from photometry.sky.differences import Scene
from photometry.sky.differences import Settings as ChangeSettings
from photometry.sky.interpolate import optical_axis
from photometry.sky.level import Settings as BackgroundSettings
from photometry.sky.passes import Behind, make_mesh
from photometry.sky.passes import Place as PixelPlace
from photometry.sky.starmask import Settings as StarSettings
from photometry.sky.straps import Straps, add_straps, amplitude
from photometry.sky.wings import Settings as WingSettings
from photometry.stages.prepare_plan import Frame
from photometry.stages.prepare_values import joined, mended, values_of

BLOCK_FRAMES = 16                 # divides the depth of the cube's chunks
# What is kept of the pattern of the straps, and of the background of each frame.
STRAPS = ("strap_inside", "strap_offset", "strap_gain", "strap_gain_err", "strap_level")
MODEL = ("mesh", "mesh_err", "radial", "strap_amplitude", "strap_amplitude_err", "noise",
         "stray")


@dataclass(frozen=True, slots=True)
class Settings:
    """How frames are chosen for the mean image and what serves to measure jitter."""

    mean_frames: int = 64         # of the darker half of the good frames of an orbit
    gap_days: float = 0.3         # a longer gap starts a new orbit ...
    orbit_frames: int = 8         # ... if it and the rest have this many good frames
    beacon_faintest: float = 300.0    # e-/s, brightest pixel
    beacon_brightest: float = 60000.0
    quantize: float = 0.0         # errors: flux is stored in steps not above this; 0 = exactly


@dataclass(frozen=True, slots=True)
class Choices:
    """All settings of the stage."""

    prepare: Settings = field(default_factory=Settings)
    background: BackgroundSettings = field(default_factory=BackgroundSettings)
    changes: ChangeSettings = field(default_factory=ChangeSettings)
    stars: StarSettings = field(default_factory=StarSettings)
    wings: WingSettings = field(default_factory=WingSettings)
    anomalies: AnomalySettings = field(default_factory=AnomalySettings)


@dataclass(frozen=True, slots=True)
class Job:
    """What every block of one cube needs to know."""

    scratch: Scratch
    mark: str                     # fingerprint of settings and input
    ccd: CcdId
    box: Box
    choices: Choices
    wcs_text: str = ""            # of the reference frame
    ephemeris: Path | None = None     # where the spacecraft was
    quaternions: Path | None = None   # how it shook: a table or a folder of tables
    catalog: Path | None = None       # of the stars on the CCD
    rules: tuple[anomalies.Exclude, ...] = ()     # what is not to be used

    def planes(self, kind: str, places: Sequence["Place"], rows: slice = slice(None),
               dtype: type = np.float32) -> NDArray:
        """Read rows (T, r, C) of some frames' planes: "flux", "error" or "flags"."""
        return self._read(kind, places, rows, self.box.shape, dtype)

    def cells(self, places: Sequence["Place"], rows: slice) -> NDArray[np.float32]:
        """Read rows (T, r, gx) of the residuals in cells of some frames."""
        return self._read("cells", places, rows, anomalies.jump_cells(self.box.shape), np.float32)

    def _read(self, kind: str, places: Sequence["Place"], rows: slice, shape: tuple[int, int],
              dtype: type) -> NDArray:
        first, last, _ = rows.indices(shape[0])
        planes = np.empty((len(places), last - first, shape[1]), dtype)
        start = 0
        for stack, members in groupby(places, lambda place: place.stack):
            positions = [place.position for place in members]
            part = planes[start:start + len(positions)]
            self.scratch.read_stack(f"{kind}-{stack}", part, positions, shape[0], first)
            start += len(positions)
        return planes


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the scratch folder the planes of a frame are."""

    stack: str                    # part of a file's name
    position: int                 # in that file


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive frames."""

    number: int
    frames: tuple[Frame, ...]
    places: tuple[Place, ...]     # of flux and error
    good: tuple[bool, ...]

    def named(self, kind: str) -> str:
        """Return the name of one kind of scratch file."""
        return f"{kind}-{self.stack}"

    @property
    def stack(self) -> str:
        """Part of the names of the block's scratch files."""
        return f"{self.number:05d}"


@lru_cache(maxsize=1)
def grid_of(box: Box, ccd: int, settings: BackgroundSettings) -> level.Grid:
    """Return the geometry of the background fit, computed once per process."""
    return level.make_grid(box, optical_axis(ccd), settings)


def exclude_rules(path: Path | None = None) -> tuple[anomalies.Exclude, ...]:
    """Return the manual excludes that come with the program, and those of a user's file.

    Raises
    ------
    InputError, SettingsError
        When the file cannot be read, or has something else than such rules.
    """
    tables = [read_facts("exclude")]
    if path is not None:
        tables.append(read_toml(path))
        if list(tables[1]) != ["exclude"] or not isinstance(tables[1]["exclude"], list):
            raise SettingsError(f"{path}: expected rules that begin with [[exclude]] only")
    return tuple(_rule(rule) for table in tables for rule in table["exclude"])


def _rule(values: dict[str, Any]) -> anomalies.Exclude:
    rule = override(anomalies.Exclude(values.get("reason", "no reason given")), values, "exclude")
    for name, limits in (("columns", rule.columns), ("rows", rule.rows)):
        if len(limits) != 2 or not all(isinstance(limit, int) for limit in limits):
            raise SettingsError(f"[exclude] {name} = {list(limits)}: expected the first and the "
                                "last")
    return rule


@lru_cache(maxsize=1)
def is_strap(box: Box) -> NDArray[np.bool_]:
    """Return which columns (C,) of a box lie over a strap."""
    return np.isin(box.columns, detector.strap_columns())


def excluded_pixels(job: Job, frame: Frame) -> NDArray[np.bool_]:
    """Return the pixels (R, C) of a frame that are manually excluded."""
    return anomalies.excluded(job.rules, job.ccd, frame.header.time, job.box)


def excluded_shares(job: Job, time: Sequence[float]) -> NDArray[np.float64]:
    """Return which share (T,) of the pixels of frames at some times is manually excluded."""
    applying = [tuple(rule.applies(job.ccd, moment) for rule in job.rules) for moment in time]
    shares = {which: anomalies.excluded(job.rules, job.ccd, moment, job.box).mean()
              for which, moment in dict(zip(applying, time, strict=True)).items()}
    return np.array([shares[which] for which in applying])


def excluding(job: Job, frames: Sequence[Frame]) -> str:
    """Return the reasons of the rules that concern some frames."""
    return "; ".join(rule.reason for rule in job.rules
                     if any(rule.applies(job.ccd, frame.header.time) for frame in frames))


def read_block(job: Job, block: Block) -> None:
    """Copy the images of a block that are not known to scratch.

    An unreadable one leaves NaN and its reason.
    """
    name = block.named("read")
    if job.scratch.has(name):
        return
    reasons, sums, told = [], [], []
    with job.scratch.stacks([block.named("flux"), block.named("error")],
                            [np.float32, np.float32]) as stacks:
        new = [frame for frame, place in zip(block.frames, block.places, strict=True)
               if place.stack == block.stack]
        for frame in new:
            image, error, crc32, reason = _read_frame(job, frame)
            error, computed = mended(image, error, frame.header, job.box)
            stacks.append(image, error)
            reasons.append(reason)
            sums.append(crc32)
            told.append(values_of(image, error, computed))
    job.scratch.save(name, reasons=np.array(reasons), crc32=np.array(sums, dtype=np.uint32),
                     **joined(told))


def _read_frame(job: Job, frame: Frame) -> tuple[NDArray, NDArray, int, str]:
    """Return image, error, checksum, and "" or why the frame cannot be used."""
    try:
        ffi, crc32 = read_with_checksum(frame.path, frame.plane, frame.profile, frame.header)
    except InputError as error:
        reason = error.problem
    else:
        if ffi.header == frame.header:
            # All of it, unless a window is wanted.
            inside = job.box.slices(ffi.header.box.offset)
            return ffi.image[inside], ffi.error[inside], crc32, ""
        reason = "changed while it was being read"
    nothing = np.full(job.box.shape, np.nan, dtype=np.float32)
    return nothing, nothing, 0, reason


def images(job: Job, block: Block) -> Iterator[tuple[Frame, NDArray, NDArray[np.bool_], bool]]:
    """Yield frame, flux (R, C), manually excluded pixels and whether the frame is good."""
    for frame, place, good in zip(block.frames, block.places, block.good, strict=True):
        yield frame, job.planes("flux", [place])[0], excluded_pixels(job, frame), good


@dataclass(frozen=True, slots=True)
class Static:
    """What all frames of an orbit have in common; the background there is mesh and rings."""

    scene: Scene
    used: NDArray[np.bool_]       # (R, C) sky pixels
    mesh: NDArray[np.float64]     # (gy, gx)
    radial: NDArray[np.float64]   # (nr,)
    light: NDArray[np.float32]    # (r, c) the scene without all of its background, thinned out
    plan: differences.Plan
    straps: Straps
    strapped: Scene               # the columns of the straps
    columns: level.Columns        # same
    beneath: NDArray[np.float64]  # (R, K) mesh and rings there


@lru_cache(maxsize=1)
def static_of(job: Job, orbit: int) -> Static:
    """Return what `find_sky` has found for an orbit."""
    scratch, grid = job.scratch, grid_of(job.box, job.ccd.ccd, job.choices.background)
    sky = scratch.load("sky", "used", *STRAPS)
    stored = scratch.load(f"scene-{orbit:03d}")
    scene = Scene(*(stored[name] for name in ("image", "usable", "moving", "terms")))
    straps = Straps(*(sky[name] for name in STRAPS))
    mesh, radial, inside = stored["mesh"], stored["radial"], straps.inside
    errors = differences.CellErrors(stored["inflation"], stored["variance"])
    whole = level.smooth(mesh, radial, grid)
    add_straps(whole, straps, 1.0)
    light = anomalies.sparse(scene.image - whole)
    strapped = Scene(scene.image[:, inside], scene.usable[:, inside], scene.moving[:0],
                     scene.terms[:, :, inside])
    columns = level.columns_of(grid, inside)
    return Static(scene, sky["used"], mesh, radial, light,
                  plan_of(job, scene.usable, errors), straps, strapped, columns,
                  level.smooth_columns(mesh, radial, grid, columns))


def plan_of(job: Job, used: NDArray[np.bool_],
            errors: differences.CellErrors | None = None) -> differences.Plan:
    """Prepare fits of the background's change on pixels (R, C), straps left out."""
    return differences.make_plan(used & ~is_strap(job.box), grid_of(
        job.box, job.ccd.ccd, job.choices.background), errors)


def measure(job: Job, static: Static, image: NDArray,
            exclude: NDArray[np.bool_]) -> dict[str, NDArray]:
    """Return the background model of one frame."""
    grid = grid_of(job.box, job.ccd.ccd, job.choices.background)
    settings, inside = job.choices.changes, static.straps.inside
    change = differences.fit_change(image, exclude, static.scene, static.plan, grid,
                                    job.choices.background, settings)
    strength, strength_err = 1.0, 0.0
    if len(inside) > 0:
        scene = static.strapped
        more = level.smooth_columns(change.mesh, change.radial, grid, static.columns)
        extra = image[:, inside] - scene.image - differences.moved(change.motion, scene) - more
        extra = np.where(scene.usable & ~exclude[:, inside], extra, np.nan)
        strength, strength_err = amplitude(extra, static.beneath, more, static.straps,
                                           change.noise, settings.amplitude_prior)
    return {"mesh": static.mesh + change.mesh, "mesh_err": change.mesh_err,
            "radial": static.radial + change.radial, "strap_amplitude": np.float64(strength),
            "strap_amplitude_err": np.float64(strength_err),
            "noise": np.float64(change.noise),
            "stray": _stray(np.max(level.means_of(change.mesh, grid)), change.noise)}


def _stray(excess: float, noise: float) -> np.float64:
    """Return the largest excess of light in the noise of a pixel; a frame alone has neither."""
    return np.float64(excess / noise if noise > 0 else 0.0)


def background_block(job: Job, block: Block) -> None:
    """Measure background, sum of good frames, flags, beacons and motion of a block."""
    name = block.named("background")
    if job.scratch.has(name):
        return
    sky = job.scratch.load("sky", "beacon_row", "beacon_column", "beacon_center", "beacon_pixels",
                           "orbit_starts")
    stamps = jitter.stamp_pixels(job.box.shape, sky["beacon_row"], sky["beacon_column"])
    added = anomalies.Sum(np.zeros(job.box.shape, np.float32), np.zeros(job.box.shape, np.uint8))
    fits, measured, light = [], [], []
    with job.scratch.stacks([block.named("flags"), block.named("cells")],
                            [np.uint8, np.float32]) as stacks:
        for frame, image, exclude, good in images(job, block):
            orbit = np.searchsorted(sky["orbit_starts"], frame.header.time, side="right")
            static = static_of(job, int(orbit))
            fit = measure(job, static, image, exclude)
            fits.append(fit)
            seen = _look(job, static, image, exclude, fit, stamps, added if good else None)
            around = seen.values[stamps.places]
            measured.append(jitter.measures(around, sky["beacon_center"]))
            light.append(jitter.core(around[:int(sky["beacon_pixels"])]))
            stacks.append(seen.flags, anomalies.residual_cells(seen.left, job.box.shape,
                                                               float(fit["noise"])))
    coefficients = frame_displacements([frame.header.wcs_text for frame in block.frames],
                                       job.wcs_text, job.box)
    widths, centers, places = (np.array(found) for found in zip(*measured, strict=True))
    job.scratch.save(name, total=added.total, count=added.count, widths=widths, centers=centers,
                     places=places, light=np.array(light, np.float32), coefficients=coefficients,
                     **{key: np.array([fit[key] for fit in fits], dtype=np.float32)
                        for key in MODEL})


def _look(job: Job, static: Static, image: NDArray, exclude: NDArray[np.bool_],
          fit: dict[str, NDArray], stamps: jitter.StampPixels,
          added: anomalies.Sum | None) -> anomalies.Seen:
    """Look at a frame without its background."""
    grid = grid_of(job.box, job.ccd.ccd, job.choices.background)
    offset, gain = (np.zeros(job.box.shape[1], np.float32) for _ in range(2))
    offset[static.straps.inside] = static.straps.offset
    gain[static.straps.inside] = fit["strap_amplitude"] * static.straps.gain
    place = PixelPlace(static.used, exclude, anomalies.column_flags(is_strap(job.box)),
                       static.light, stamps.wanted)
    behind = Behind(make_mesh(fit["mesh"], fit["radial"]), offset, gain)
    return anomalies.look(image, place, behind, grid.tables, job.choices.anomalies, added)
