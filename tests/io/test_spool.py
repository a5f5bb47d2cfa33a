from contextlib import closing

import numpy as np
import pytest

from photometry.core.errors import OutputError
from photometry.io.spool import Spool


def test_values_come_back_in_order_and_leave_nothing(tmp_path):
    with closing(Spool(tmp_path)) as spool:
        assert not spool
        for number in range(3):
            spool.append((np.arange(number), {"name": np.array([None, "x"], dtype=object)}))
        assert len(spool) == 3
        for _ in range(2):
            assert [len(values) for values, _ in spool] == [0, 1, 2]
        assert next(iter(spool))[1]["name"].tolist() == [None, "x"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match="none: cannot be written"):
        Spool(tmp_path / "none")
