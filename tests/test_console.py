import io
import logging
import sys
from argparse import Namespace

import pytest

from photometry import console
from photometry.core.progress import silent


@pytest.fixture
def growing():
    """Items of which there are more than is known at first, and a function that counts them."""
    known = [2]

    def items():
        yield from range(2)
        known[0] = 5
        yield from range(2, 5)

    return items(), lambda: known[0]


def test_a_bar_that_grows_stays_one_bar(growing, monkeypatch):
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    show = console.progress_for(Namespace(quiet=False))
    assert list(show(*growing, "stars")) == list(range(5))
    told = screen.getvalue()
    assert "| 0/2 [" in told and "| 5/5 [" in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("every_s", [-1.0, 1000.0])
def test_lines_of_a_batch_log_know_the_total(growing, monkeypatch, caplog, every_s):
    monkeypatch.setattr(console, "LOG_EVERY_S", every_s)
    log = logging.Logger("lines")      # "photometry" may have been told where to write by others
    log.addHandler(caplog.handler)
    monkeypatch.setattr(console, "logger", log)
    show = console.progress_for(Namespace(quiet=False))
    assert list(show(*growing, "stars")) == list(range(5))
    lines = [record.getMessage() for record in caplog.records]
    assert lines[-1].startswith("stars: 5 of 5, ") and lines[-1].endswith(" per second, 0 s left")
    assert len(lines) == (5 if every_s < 0 else 1)


def test_nothing_is_shown_when_quiet(growing):
    assert console.progress_for(Namespace(quiet=True)) is silent
    assert list(silent(*growing, "stars")) == list(range(5))
