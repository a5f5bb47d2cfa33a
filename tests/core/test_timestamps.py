import pytest

from photometry.core.ids import CcdId
from photometry.core.timestamps import timestamp_shifts_s


@pytest.mark.parametrize("data_rel, procver, ccd, is_image, start_s", [
    (1, "spoc-3.3.31-20180902", CcdId(1, 1, 1), True, -1.969),
    (26, "spoc-4.0.5-20190910", CcdId(19, 2, 4), True, -1.969 + 1.5 + 0.06),
    (26, "spoc-4.0.5-20190910", CcdId(19, 2, 4), False, -1.969),
    (27, "spoc-4.0.14-20200108", CcdId(20, 4, 2), True, -1.969 + 1.0 + 0.02),
    (27, "spoc-4.0.26-20200323", CcdId(20, 4, 2), True, 0.0),
    (29, "spoc-4.0.17-20200130", CcdId(21, 3, 3), True, -1.969),
    (29, "spoc-4.0.26-20200323", CcdId(21, 3, 3), True, 0.0),
    (30, "spoc-4.0.21-20200227", CcdId(22, 3, 3), True, 0.0),
    (1, "tessphot-0.1.0", CcdId(1, 1, 1), True, 0.0),
    (0, "", CcdId(1, 1, 1), True, 0.0),
])
def test_shift_by_release_and_version(data_rel, procver, ccd, is_image, start_s):
    start, stop = timestamp_shifts_s(ccd, data_rel, procver, is_image)
    assert start == pytest.approx(start_s)
    assert stop == pytest.approx(start_s - (0.02 if start_s else 0.0))
