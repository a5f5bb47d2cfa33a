"""Run tess-backml on frames of an array: needs Python with tess-backml and numpy < 2.4."""

import sys
import time
from io import BytesIO
from types import SimpleNamespace

import numpy as np

# It would ask the network for kernels, which light does not need.
sys.modules["lkspacecraft"] = SimpleNamespace(TESSSpacecraft=SimpleNamespace)

from tess_backml import bkg_data  # noqa: E402

SECTOR = 99                               # no dark frames are kept for it


class Frames:
    """What tess-backml asks of its cube in the cloud."""

    def __init__(self, sector, camera, ccd):
        self.frames = np.load(sys.argv[1], mmap_mode="r")
        self.nframes = len(self.frames)
        self.time = 1330.0 + np.arange(self.nframes) / 48
        self.cadence_number = np.arange(self.nframes)
        self.quality = np.zeros(self.nframes, dtype=int)
        self.primary_hdu = SimpleNamespace(header={
            "SECTOR": sector, "CAMERA": camera, "CCD": ccd, "TSTART": 1330.0, "TSTOP": 1331.0})

    def get_ffi(self, index):
        # It reads columns 45 to 2092, one too far: the frames are put where it looks.
        whole = np.zeros((2078, 2136), dtype=np.float32)
        whole[:2048, 45:2093] = self.frames[index]
        error = np.sqrt(np.maximum(whole, 1) / 1426 + 0.03)
        return None, SimpleNamespace(data=whole), SimpleNamespace(data=error)

    def get_pixel_timeseries(self, pixels, **_):
        row, column = np.array(pixels).T
        return np.array([frame[row, column - 45] for frame in self.frames])


def main():
    bin_px, rolling = int(sys.argv[3]), bool(int(sys.argv[4]))
    bkg_data.TESSCube = Frames
    # Its cache of dark frames is a file inside the package: leave that alone.
    bkg_data.pickle = SimpleNamespace(load=lambda _: {}, dump=lambda *_: None)
    bkg_data.open = lambda *_: BytesIO()
    cube = bkg_data.BackgroundCube(SECTOR, 3, 2, img_bin=bin_px)
    start = time.process_time()
    cube.get_scatter_light_cube(rolling=rolling, errors=True)
    nodes = np.arange(2048 // bin_px) * bin_px + bin_px / 2      # as it places them
    np.savez(sys.argv[2], flux=cube.scatter_cube, cpu=time.process_time() - start, nodes=nodes)


if __name__ == "__main__":
    main()
