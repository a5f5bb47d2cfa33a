from photometry.core.flags import CadenceFlag
from photometry.core.ids import Select
from photometry.sky.anomalies import Exclude
from photometry.stages.prepare_notes import empty_frames, notes
from photometry.stages.prepare_plan import plan
from tests.stages.frames import BOX, make_ffi, write, write_window


def test_only_frames_that_the_program_excluded_are_empty(tmp_path):
    write_window(tmp_path, 3)
    write(tmp_path, make_ffi(3, quality=int(CadenceFlag.MANUAL_EXCLUDE)), 3)
    group, = plan(tmp_path, Select())
    names = [frame.path.name for frame in group.frames]
    excluded = int(CadenceFlag.MANUAL_EXCLUDE)
    assert [name for name, _ in empty_frames(group, names, [0, excluded, 0, excluded])
            ] == names[1:2]


def test_excluded_regions_are_told_where_they_touch_the_window(tmp_path):
    write_window(tmp_path, 3)
    group, = plan(tmp_path, Select())
    after = group.frames[0].header.time + 1e-3
    elsewhere = Exclude("far", columns=(BOX.column1, 2047))
    half = Exclude("half", columns=(BOX.column0 + 2, 2047))
    later = Exclude("later", time_start=after)
    past = Exclude("past", time_stop=0.0)
    assert notes(group, (elsewhere, half, later, past)) == (
        f"rows 0-2047, columns {BOX.column0 + 2}-2047 are excluded in 3 of 3 frames: half",
        "all pixels are excluded in 2 of 3 frames: later")
