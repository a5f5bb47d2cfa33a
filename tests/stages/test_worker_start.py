"""What a run begins with."""

import platform
import subprocess
import sys

import pytest

AGAIN = """
import resource
import numpy as np
import photometry.stages.worker_start

def measure():
    kept = [np.ones(100_000) for _ in range(12)]

measure()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    measure()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no glibc, whose memory this is")
def test_memory_is_kept_from_star_to_star():
    told = subprocess.run([sys.executable, "-c", AGAIN], check=True, capture_output=True,
                          text=True)
    pages_of_one = 12 * 800_000 // 4096
    assert int(told.stdout) < pages_of_one
