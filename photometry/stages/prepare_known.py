"""Pixels that need not be read again: those of a cube that is to be extended."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from photometry import __version__
from photometry.core.settings import to_toml
from photometry.io.cube import Cube
from photometry.io.cube_chunks import CHUNK_FRAMES, CHUNK_PIXELS
from photometry.stages.prepare_assembly import sections
from photometry.stages.prepare_passes import BLOCK_FRAMES, Choices, Job, Place
from photometry.stages.prepare_plan import Frame
from photometry.stages.prepare_values import joined, values_of


@dataclass(frozen=True, slots=True)
class Known:
    """Which frames a cube holds."""

    path: Path | None = None
    index: dict[tuple[Path, int | None], int] = field(default_factory=dict)   # by file, plane

    def slabs(self) -> list["Slab"]:
        """Return what is to be copied to scratch."""
        return [Slab(self.path, first, min(first + CHUNK_FRAMES, len(self.index)),
                     _stack(first // CHUNK_FRAMES))
                for first in range(0, len(self.index), CHUNK_FRAMES)]

    def places(self, frames: Sequence[Frame]) -> list[Place]:
        """Return where the images of all frames are, or will be."""
        places = []
        for start in range(0, len(frames), BLOCK_FRAMES):
            new = 0
            for frame in frames[start:start + BLOCK_FRAMES]:
                old = self.index.get((frame.path, frame.plane))
                if old is None:
                    places.append(Place(f"{start // BLOCK_FRAMES:05d}", new))
                    new += 1
                else:
                    slab, position = divmod(old, CHUNK_FRAMES)
                    places.append(Place(_stack(slab), position))
        return places


@dataclass(frozen=True, slots=True)
class Slab:
    """Consecutive frames of a cube."""

    path: Path
    first: int
    last: int
    stack: str                    # part of the names of its scratch files


def _stack(number: int) -> str:
    return f"old{number:05d}"


def known_frames(cube: Cube, frames: Sequence[Frame], choices: Choices) -> Known | None:
    """Return what a cube saves reading; None if the frames do not extend it.

    They do when the cube was made with the same settings by the same version, and each of its
    images is among the frames, unchanged. Rounded pixels are not what the images hold: those
    of a quantized cube are read again.
    """
    by_state = {frame.state(): (frame.path, frame.plane) for frame in frames
                if frame.profile is None}        # which may have changed
    images = [by_state.get(state) for state in cube.image_states]
    same = (cube.provenance.settings == to_toml(sections(choices))
            and cube.provenance.program_version == __version__)
    if not same or not images or None in images or len(images) == len(frames):
        return None
    if choices.prepare.quantize > 0:
        return Known()
    return Known(cube.path, {image: index for index, image in enumerate(images)})


def restore_slab(job: Job, slab: Slab) -> None:
    """Copy images from a cube to scratch, as `read_block` copies them from files."""
    name = f"read-{slab.stack}"
    if job.scratch.has(name):
        return
    n_rows = job.box.shape[0]
    with Cube(slab.path) as cube:
        here = slice(slab.first, slab.last)
        crc32, computed = cube.image_checksums[here], cube.errors_computed[here]
        with job.scratch.filled_stacks([f"flux-{slab.stack}", f"error-{slab.stack}"]) as stacks:
            for row in range(0, n_rows, CHUNK_PIXELS):
                rows = slice(row, min(row + CHUNK_PIXELS, n_rows))
                for stack, values in zip(stacks, cube.planes(here, rows),
                                         strict=True):
                    stack.write_rows(values, n_rows, row)
    told = [values_of(*(job.planes(kind, [Place(slab.stack, position)])[0]
                        for kind in ("flux", "error")), share)
            for position, share in enumerate(computed.tolist())]
    job.scratch.save(name, reasons=np.full(len(crc32), ""), crc32=crc32, **joined(told))
