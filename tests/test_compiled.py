import subprocess
import sys
from pathlib import Path

import numpy as np

from photometry.compiled import compiled

PACKAGE = Path(__file__).parents[1]
SCRIPT = """
import numpy as np
from photometry.compiled import compiled

def double(values):
    total = 0.0
    for value in values:
        total += 2.0 * value
    return total

print(compiled(double)(np.arange(4.0)))
"""


def test_a_compiled_function_gives_what_the_plain_one_does():
    def largest_step(values):
        largest = 0.0
        for place in range(1, len(values)):
            largest = max(largest, abs(values[place] - values[place - 1]))
        return largest

    values = np.random.default_rng(1).normal(size=50)
    assert compiled(largest_step)(values) == largest_step(values)


def test_division_by_zero_is_infinite_as_in_numpy():
    def inverse(value):
        return 1.0 / value

    assert compiled(inverse)(0.0) == np.inf


def test_it_works_where_machine_code_cannot_be_kept():
    # A function that is in no file has no place for it.
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=PACKAGE, text=True,
                          capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, "12.0\n"), done.stderr
