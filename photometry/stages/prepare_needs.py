"""What a cube will need: disk, memory and time, told before the work."""

from dataclasses import dataclass

import numpy as np

from photometry.core.pixels import Box
from photometry.io.cube_chunks import BYTES_PER_PIXEL, CHUNK_FRAMES
from photometry.stages.prepare_pack import PIECE_PIXELS
from photometry.stages.prepare_passes import BLOCK_FRAMES, Settings
from photometry.stages.prepare_plan import Group

# Measured with benchmarks/bench_prepare.py.
MASTER_BYTES, WORKER_BYTES = 400e6, 300e6     # of an interpreter with all that it imports
SCENE_BYTES = 180                 # per pixel of the window, to find the sky
FRAME_BYTES = 130                 # per pixel, to measure a frame
SUM_BYTES = 40                    # per pixel, to add up blocks
PIECE_BYTES = 12                  # per pixel of a piece that is packed
HEAD_BYTES = 40e3                 # per frame: headers and the like, which the master keeps ...
MODELS_BYTES_PER_PIXEL = 0.016    # ... and per pixel of each: backgrounds
SCRATCH_BYTES_PER_PIXEL = 9.02    # flux, error, flags and residuals of every frame
SUMS_BYTES_PER_PIXEL = 5          # of a block: partial sum image and its counts
COMPRESSION, QUANTIZED = 1.75, 4.5    # of pixels with noise, exactly and in steps of 1/4 error
SCENE_BYTES_PER_PIXEL = 17        # of the scratch folder, per orbit
ONCE_BYTES_PER_PIXEL = 9          # mean image and pixels used
IMAGES_BYTES_PER_PIXEL = 10       # of a cube: mean image and pixels used
MODEL_BYTES_PER_PIXEL = 0.02      # per frame: background
HEADER_BYTES = 5000               # per frame: times, motion, world coordinates
CPU_S_PER_PIXEL, CPU_S_PER_FRAME = 7e-8, 0.025      # of a frame
GUNZIP_S_PER_PIXEL = 3e-8
CPU_S_ONCE_PER_PIXEL = 2.5e-6     # static scene
CPU_S_ONCE = 3.0                  # of a process: its start
GAP_DAYS = Settings().gap_days


@dataclass(frozen=True, slots=True)
class Needs:
    """What building a cube takes."""

    disk: int                     # bytes, at the peak
    memory: int                   # bytes, all processes together
    cpu_s: float

    def __str__(self) -> str:
        return (f"needs {self.disk / 1e9:.2f} GB of disk, {self.memory / 1e9:.2f} GB of memory "
                f"and about {self.cpu_s / 60:.1f} minutes of CPU")


def cube_bytes(packed: int, box: Box, n_frames: int) -> int:
    """Return about how large the file of a cube with so many bytes of packed planes is."""
    pixels = box.shape[0] * box.shape[1]
    models = n_frames * (MODEL_BYTES_PER_PIXEL * pixels + HEADER_BYTES)
    return int(1.01 * packed + IMAGES_BYTES_PER_PIXEL * pixels + models)


def needs_of(group: Group, workers: int = 1, quantize: float = 0.0) -> Needs:
    """Return what the cube of a group takes with so many processes at work."""
    pixels, n_frames = group.box.shape[0] * group.box.shape[1], len(group.frames)
    blocks = -(-n_frames // BLOCK_FRAMES)
    packed = BYTES_PER_PIXEL / (QUANTIZED if quantize > 0 else COMPRESSION)
    # The images of a slab go when it is packed; packed planes and the cube are there together
    # at the end.
    planes = pixels * max(SCRATCH_BYTES_PER_PIXEL * n_frames
                          + packed * min(n_frames, CHUNK_FRAMES), 2 * packed * n_frames)
    once = (blocks * SUMS_BYTES_PER_PIXEL + _n_orbits(group) * SCENE_BYTES_PER_PIXEL
            + ONCE_BYTES_PER_PIXEL) * pixels
    zipped = sum(frame.path.suffix == ".gz" for frame in group.frames)
    cpu_s = (pixels * (CPU_S_PER_PIXEL * n_frames + GUNZIP_S_PER_PIXEL * zipped
                       + CPU_S_ONCE_PER_PIXEL)
             + CPU_S_PER_FRAME * n_frames + CPU_S_ONCE * workers)
    models = n_frames * (MODEL_BYTES_PER_PIXEL * pixels + HEADER_BYTES)
    return Needs(int(planes + once + models), _memory(pixels, n_frames, workers), cpu_s)


def _n_orbits(group: Group) -> int:
    """Return how many orbits the frames seem to be of."""
    time = np.array([frame.header.time for frame in group.frames])
    return 1 + np.count_nonzero(np.diff(time) > GAP_DAYS)


def readers(workers: int, max_memory_gb: float) -> int:
    """Return how many workers may read headers at the same time."""
    return max(1, min(workers, int((1e9 * max_memory_gb - MASTER_BYTES) // WORKER_BYTES)))


def _memory(pixels: int, n_frames: int, workers: int) -> int:
    """Return the most bytes that all processes hold; the master is alone in some passes."""
    piece = PIECE_BYTES * min(PIECE_PIXELS, pixels * n_frames)
    master = MASTER_BYTES + n_frames * (HEAD_BYTES + MODELS_BYTES_PER_PIXEL * pixels)
    alone = master + max(SCENE_BYTES * pixels, piece)
    if workers == 1:
        return int(alone)
    together = workers * (WORKER_BYTES + max(FRAME_BYTES * pixels, piece))
    return int(max(alone, master + SUM_BYTES * pixels + together))
