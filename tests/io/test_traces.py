import faulthandler
import os
import platform
import signal
import subprocess
import sys
import time

from photometry.core.work import process_name
from photometry.io.traces import LONGEST, take_trace, take_traces, traced

CRASH = """
import os, sys
from pathlib import Path
from photometry.io.traces import traced

def deep():
    os.kill(os.getpid(), {number})

print(os.getpid(), flush=True)
with traced(Path(sys.argv[1]), 60.0):
    deep()
"""


def crash(folder, number):
    """Return the name of a process that has ended itself with a signal."""
    done = subprocess.run([sys.executable, "-c", CRASH.format(number=int(number)), folder],
                          capture_output=True, text=True, check=False)
    assert done.returncode == -number
    return process_name(platform.node(), int(done.stdout))


def test_a_crash_is_written_down(tmp_path):
    folder = tmp_path / "traces"
    process = crash(folder, signal.SIGSEGV)
    told = take_trace(folder, process)
    assert told.startswith("Fatal Python error: Segmentation fault")
    assert "in deep" in told
    assert "Extension modules" not in told
    assert take_trace(folder, process) == ""          # it was taken
    assert take_trace(None, process) == ""


def test_who_is_killed_leaves_nothing(tmp_path):
    process = crash(tmp_path / "traces", signal.SIGKILL)
    assert take_trace(tmp_path / "traces", process) == ""
    assert not list((tmp_path / "traces").iterdir())


def test_all_that_was_left_behind_is_taken(tmp_path):
    folder = tmp_path / "traces"
    assert take_traces(folder) == ""
    folder.mkdir()
    for name, text in {"a-1": "first", "a-2": "", "b-1": "third" * LONGEST}.items():
        (folder / f"{name}.txt").write_text(text)
    assert take_traces(folder).startswith("first\nthird")
    assert not folder.exists()


def test_who_takes_too_long_is_written_down_as_long_as_it_lasts(tmp_path):
    folder = tmp_path / "traces"
    path = folder / f"{process_name(platform.node(), os.getpid())}.txt"
    was_enabled = faulthandler.is_enabled()
    with traced(folder, 0.05):
        assert faulthandler.is_enabled()
        began = time.monotonic()
        while "test_traces.py" not in path.read_text():
            assert time.monotonic() - began < 60
            time.sleep(0.01)
    assert not path.exists()
    assert faulthandler.is_enabled() == was_enabled


def test_where_nothing_can_be_written_work_goes_on(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (None, tmp_path / "file" / "traces", tmp_path / "no" / "traces"):
        with traced(folder, 60.0):
            pass
