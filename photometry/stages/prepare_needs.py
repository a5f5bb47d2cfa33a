"""What a cube will need: disk, memory and time, told before the work."""

from dataclasses import dataclass

from photometry.core.pixels import Box
from photometry.io.cube_chunks import BYTES_PER_PIXEL
from photometry.stages.prepare_pack import PIECE_PIXELS
from photometry.stages.prepare_passes import BLOCK_FRAMES
from photometry.stages.prepare_plan import Group

# Measured with benchmarks/bench_prepare.py.
MASTER_BYTES, WORKER_BYTES = 300e6, 210e6     # of an interpreter with all that it imports
SCENE_BYTES = 135                 # per pixel of the window, to find the sky
FRAME_BYTES = 105                 # per pixel, to measure a frame
SUM_BYTES = 40                    # per pixel, to add up blocks
PIECE_BYTES = 12                  # per pixel of a piece that is packed
HEAD_BYTES = 100e3                # per frame: headers and models, which the master keeps
SCRATCH_BYTES_PER_PIXEL = 9       # flux, error and flags of every frame
SUMS_BYTES_PER_PIXEL = 12         # of a block: partial sum image and its counts
COMPRESSION = 1.5                 # at least, of noise
SCENE_BYTES_PER_PIXEL = 40        # of the scratch folder, per orbit
IMAGES_BYTES_PER_PIXEL = 10       # of a cube: mean image and pixels used
MODEL_BYTES_PER_PIXEL = 0.02      # per frame: background
HEADER_BYTES = 5000               # per frame: times, motion, world coordinates
CPU_S_PER_PIXEL = 1.2e-7          # of a frame
GUNZIP_S_PER_PIXEL = 3e-8
CPU_S_ONCE_PER_PIXEL = 4e-6       # static scene


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


def needs_of(group: Group, workers: int = 1) -> Needs:
    """Return what the cube of a group takes with so many processes at work."""
    pixels, n_frames = group.box.shape[0] * group.box.shape[1], len(group.frames)
    blocks = -(-n_frames // BLOCK_FRAMES)
    # The images go as the packed planes come; these and the cube are there together at the end.
    planes = max(SCRATCH_BYTES_PER_PIXEL, 2 * BYTES_PER_PIXEL / COMPRESSION) * pixels * n_frames
    sums = (blocks * SUMS_BYTES_PER_PIXEL + 3 * SCENE_BYTES_PER_PIXEL) * pixels
    zipped = sum(frame.path.suffix == ".gz" for frame in group.frames)
    cpu_s = pixels * (CPU_S_PER_PIXEL * n_frames + GUNZIP_S_PER_PIXEL * zipped
                      + CPU_S_ONCE_PER_PIXEL)
    return Needs(int(planes + sums), _memory(pixels, n_frames, workers), cpu_s)


def readers(workers: int, max_memory_gb: float) -> int:
    """Return how many workers may read headers at the same time."""
    return max(1, min(workers, int((1e9 * max_memory_gb - MASTER_BYTES) // WORKER_BYTES)))


def _memory(pixels: int, n_frames: int, workers: int) -> int:
    """Return the most bytes that all processes hold; the master is alone in some passes."""
    piece = PIECE_BYTES * min(PIECE_PIXELS, pixels * n_frames)
    master = MASTER_BYTES + HEAD_BYTES * n_frames
    alone = master + max(SCENE_BYTES * pixels, piece)
    if workers == 1:
        return int(alone)
    together = workers * (WORKER_BYTES + max(FRAME_BYTES * pixels, piece))
    return int(max(alone, master + SUM_BYTES * pixels + together))
