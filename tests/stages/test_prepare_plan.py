from dataclasses import replace

import pytest

from photometry.core.errors import InputError, UsageError
from photometry.core.ids import CcdId, Select
from photometry.core.pixels import Box
from photometry.stages.prepare import plan
from tests.stages.frames import BOX, CCD, make_ffi, write, write_window


def test_any_mix_of_files_is_grouped_by_ccd_in_order_of_time(tmp_path):
    deep = tmp_path / "a" / "b"
    for number in (3, 0):
        write(deep, make_ffi(number), number, gzip=True)
    for number in (2, 1):
        write(tmp_path / "c", make_ffi(number), number)
    other = CcdId(7, 2, 1)
    write(tmp_path, make_ffi(5, ccd=other), 5)
    groups = plan(tmp_path, Select())
    assert [group.ccd for group in groups] == [other, CCD]
    assert [frame.header.cadenceno for frame in groups[1].frames] == [12000, 12001, 12002, 12003]
    assert groups[1].box == BOX and not groups[1].left_out and not groups[1].warnings
    assert [group.ccd for group in plan(tmp_path, Select(ccds=(1,)))] == [other]


def test_nothing_to_do_is_said(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        plan(tmp_path / "missing", Select())
    with pytest.raises(InputError, match="holds no calibrated"):
        plan(tmp_path, Select())
    write_window(tmp_path, 1)
    with pytest.raises(UsageError, match="no image matches"):
        plan(tmp_path, Select(sectors=(8,)))
    with pytest.raises(UsageError, match="no image matches"):
        plan(tmp_path, Select(), origin="TICA")


def test_a_second_kind_of_images_must_be_chosen(tmp_path):
    write_window(tmp_path, 2)
    write(tmp_path, make_ffi(2, box=Box(640, 690, 900, 974)), 2)
    with pytest.raises(UsageError, match=r"columns 900-972 \(2 frames\); .* columns 900-973 \(1"):
        plan(tmp_path, Select())


def test_one_image_of_another_window_is_left_out_by_name(tmp_path):
    for number in range(10):
        write(tmp_path, make_ffi(number), number)
    odd = write(tmp_path, make_ffi(10, box=Box(640, 690, 900, 970)), 10)
    group, = plan(tmp_path, Select())
    assert (group.box, len(group.frames)) == (BOX, 10)
    assert group.left_out == ((odd.name, "has rows 640-689 columns 900-969, most have "
                                         "rows 640-689 columns 900-972"),)


def test_a_cadence_that_changes_leaves_the_fewer_frames_out_by_name(tmp_path):
    usual = write_window(tmp_path, 3)
    usual[0].write_bytes(b"not a FITS file")
    short = [write(tmp_path, make_ffi(number, cadence_s=600, cadenceno=number), place)
             for number, place in ((4, 4), (4, 6), (5, 5))]
    group, = plan(tmp_path, Select())
    assert (group.cadence_s, len(group.frames)) == (1800, 2)
    reason = "has a cadence of 600 s, most have 1800 s (--cadence selects)"
    names = [name for name, _ in group.left_out]
    assert len(set(names)) == len(names) == 4
    assert dict(group.left_out)[short[0].name] == dict(group.left_out)[short[2].name] == reason
    assert "same cadence 4 as" in dict(group.left_out)[names[1]]
    assert [len(group.frames) for group in plan(tmp_path, Select(cadences=(1800,)))] == [2]
    assert [group.cadence_s for group in plan(tmp_path, Select(cadences=(600,)))] == [600]


def test_duplicates_leave_the_later_file_name_out(tmp_path):
    write_window(tmp_path, 3)
    write(tmp_path, make_ffi(1, cadenceno=77), 0, stamp="2019008000000")   # same time
    write(tmp_path, make_ffi(9, cadenceno=12002), 0, stamp="2019009000000")
    group, = plan(tmp_path, Select())
    assert [frame.header.cadenceno for frame in group.frames] == [12000, 12001, 12002]
    reasons = {name[:17]: reason for name, reason in group.left_out}
    assert reasons["tess2019008000000"].startswith("same time as tess2019007000001")
    assert reasons["tess2019009000000"].startswith("same cadence 12002 as")


def test_unreadable_headers_are_left_out_by_name(tmp_path):
    paths = write_window(tmp_path, 3)
    paths[0].write_bytes(b"not a FITS file")
    wrong = write(tmp_path, make_ffi(4, ccd=CcdId(7, 2, 4)), 4)
    wrong.rename(tmp_path / wrong.name.replace("-2-4-", "-2-3-"))
    group, = plan(tmp_path, Select())
    assert len(group.frames) == 2
    assert {name for name, _ in group.left_out} == {
        paths[0].name, wrong.name.replace("-2-4-", "-2-3-")}
    assert any("its header says s0007-c2-ccd4" in reason for _, reason in group.left_out)


def test_a_ccd_without_a_readable_image_does_not_stop_the_others(tmp_path):
    write_window(tmp_path, 2)
    paths = [write(tmp_path, make_ffi(number, ccd=CcdId(7, 1, 1)), number) for number in (0, 1)]
    for path in paths:
        path.write_bytes(b"")
    empty, group = plan(tmp_path, Select())
    assert (empty.ccd, empty.frames) == (CcdId(7, 1, 1), ())
    assert [name for name, _ in empty.left_out] == [path.name for path in paths]
    assert len(group.frames) == 2
    with pytest.raises(InputError, match="none of 2 images"):
        plan(tmp_path, Select(cameras=(1,)))


def test_frames_unlike_the_majority_are_named(tmp_path):
    write_window(tmp_path, 3)
    odd = write(tmp_path, make_ffi(3, data_rel=12), 3)
    group, = plan(tmp_path, Select())
    assert group.warnings == (
        f"1 of 4 frames have another data_rel than 9: {odd.name}",)
    read = replace(make_ffi().header.readout, gain=(5.2, 5.3, 5.2, 5.2))
    others = [write(tmp_path, make_ffi(number, readout=read), number) for number in range(4, 7)]
    group, = plan(tmp_path, Select())
    assert group.warnings[1:] == ("3 of 7 frames have another gain than (5.2, 5.2, 5.2, 5.2): "
                                  + ", ".join(path.name for path in others),)
