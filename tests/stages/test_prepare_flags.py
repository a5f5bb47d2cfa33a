from pathlib import Path

import numpy as np

from photometry.core.flags import CadenceFlag
from photometry.core.time import Cadences
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.stages.prepare_flags import agreed_flags
from photometry.stages.prepare_plan import Frame
from tests import pipeline
from tests.stages.frames import START, header

FRAMES = [Frame(Path(f"{number}.fits"), header(number)) for number in range(4)]


def cadences(flags, first=0):
    """Return 120 s cadences over the frames, one of them flagged."""
    spacecraft = START - 0.003 + (np.arange(60) + 0.5) * 120 / 86400
    quality = np.zeros(60, dtype=np.int32)
    for index, flag in flags.items():
        quality[index] = flag
    keep = slice(first, None)
    timecorr = np.full(60, 0.0041)               # of the star, not of the CCD
    return Cadences((spacecraft + timecorr)[keep], timecorr[keep], np.arange(60)[keep],
                    quality[keep], np.full(60, 99.0)[keep])


def test_flags_of_the_spacecraft_are_taken_over_by_majority():
    dump, coarse = int(CadenceFlag.DESATURATION), int(CadenceFlag.COARSE_POINT)
    files = [cadences({20: dump, 35: coarse}), cadences({20: dump | 64}), cadences({2: coarse})]
    assert agreed_flags(FRAMES, files).tolist() == [0, dump, 0, 0]
    assert agreed_flags(FRAMES, files[:2]).tolist() == [0, dump, coarse, 0]     # half is enough


def test_flags_of_single_stars_and_of_stray_light_are_not():
    files = [cadences({20: 64 | 512 | 1024 | 2048 | 4096})]
    assert agreed_flags(FRAMES, files).tolist() == [0, 0, 0, 0]


def test_files_without_cadences_do_not_vote():
    dump = int(CadenceFlag.DESATURATION)
    files = [cadences({3: dump}), cadences({}, first=30), cadences({}, first=30)]
    assert agreed_flags(FRAMES, files).tolist() == [dump, 0, 0, 0]


def test_images_without_flags_get_those_of_pixel_files(tmp_path):
    pipeline.simulate(tmp_path, "--size", "61x57", "--frames", "150", "--stars", "12",
                      "--momentum-dumps", "--tica", "--tpf", "--seed", "3")
    pipeline.check(pipeline.cli.prepare_photometry([str(tmp_path), "-q", "--workers", "1"]))
    (_, path), = layout.find_cubes(tmp_path)
    with Cube(path) as cube:
        flagged = cube.cadences.quality & int(CadenceFlag.DESATURATION)
    assert 1 <= np.count_nonzero(flagged) <= 4
