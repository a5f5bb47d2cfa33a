from dataclasses import replace
from pathlib import Path

import numpy as np

from photometry.core.flags import CadenceFlag
from photometry.core.ids import CcdId
from photometry.core.time import Cadences
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.stages import prepare_flags
from photometry.stages.prepare_flags import agreed_flags
from photometry.stages.prepare_plan import Frame
from tests import pipeline
from tests.io.tpf_files import tpf_arrays, write_tpf
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


def test_files_are_from_all_over_the_list_and_of_every_ccd(tmp_path):
    # Hundreds of files of one CCD, damaged ones, and at the end some of another.
    ccds = [CcdId(1, 4, 1)] * 300 + [CcdId(1, 4, 2)] * 3
    for number, ccd in enumerate(ccds):
        path = tmp_path / layout.tpf_name(1000 + number, 1, "2018206045859", 120)[:-3]
        write_tpf(path, primary={"CAMERA": ccd.camera, "CCD": ccd.ccd, "TICID": number},
                  arrays=tpf_arrays(n_cadences=2))
        if number % 7 == 0:
            path.write_bytes(path.read_bytes()[:5000 if number % 2 else 100])
    found = prepare_flags._qualities(tmp_path, set(ccds) | {CcdId(1, 1, 1)})
    assert {ccd: len(files) for ccd, files in found.items()} == {
        CcdId(1, 4, 1): 5, CcdId(1, 4, 2): 2, CcdId(1, 1, 1): 0}
    order = [path.name for path in prepare_flags._spread(sorted(tmp_path.iterdir()))]
    assert len(set(order)) == 303
    assert [int(name[24:40]) - 1000 for name in order[:4]] == [0, 256, 128, 64]


def test_times_of_early_releases_are_compared_as_mended():
    early = [replace(frame, header=replace(frame.header, procver="spoc-3.3", data_rel=5))
             for frame in FRAMES]
    late = cadences({15: int(CadenceFlag.DESATURATION)})
    # The cadence in the middle is half in the next image by the times in the headers.
    mended = replace(late, time=late.time + 59.5 / 86400 - 1.979 / 86400)
    assert agreed_flags(early, [mended]).tolist() == [0, 32, 0, 0]


def test_images_without_flags_get_those_of_pixel_files(tmp_path):
    pipeline.simulate(tmp_path, "--size", "61x57", "--frames", "20", "--stars", "12",
                      "--momentum-dumps", "--tica", "--tpf", "--seed", "3")
    pipeline.check(pipeline.cli.prepare_photometry([str(tmp_path), "-q", "--workers", "1"]))
    (_, path), = layout.find_cubes(tmp_path)
    with Cube(path) as cube:
        flagged = cube.cadences.quality & int(CadenceFlag.DESATURATION)
    assert 1 <= np.count_nonzero(flagged) <= 4
