"""Runs that lose workers or their master, or are told to stop: nothing is lost or doubled."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from argparse import Namespace
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from unittest import mock

import numpy as np
import pytest

from photometry import cli, console
from photometry.core.deck import Batch
from photometry.core.ids import CcdId, Select
from photometry.core.outcome import Note, Result, Status
from photometry.io import layout
from photometry.io.todo import Todo
from photometry.stages import rounds
from photometry.stages import tessphot as stage
from photometry.stages.prfs import AVERAGE
from photometry.workers import SerialCrew, crew, pull
from tests.pipeline import copy_without_results, run_photometry
from tests.running import (
    BROKEN,
    PATIENCE_S,
    ROOT,
    WORKER,
    Run,
    break_stars,
    fresh,
    kill,
    products,
    rows_of,
    says,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fixed_date")]
TWO = ("--workers", "2")
ENDED = {Status.OK, Status.WARNING, Status.SKIPPED, Status.ERROR}


def described(folder):
    """Return the run that the command would make on a folder."""
    names = [name for name in console.section_names() if name.startswith("methods.")]
    given = console.settings_of(Namespace(settings=None), "tessphot", *names)
    methods = {name.removeprefix("methods."): given[name] for name in names}
    return stage.Run(folder, folder / "lightcurves", given["tessphot"], methods)


# The same products however the work is shared out.


def test_light_is_shared_and_stars_fail_in_what_is_compared(undisturbed):
    files, rows, skipped, _ = undisturbed
    states = [row["status"] for row in rows]
    assert states.count(Status.SKIPPED) == len(skipped) > 10
    assert states.count(Status.ERROR) == 2
    assert len(files) == states.count(Status.OK) + states.count(Status.WARNING) > 40
    assert set(states) <= ENDED


@pytest.mark.parametrize("workers", [2, 4])
def test_processes_give_the_same_bytes(crowd, undisturbed, tmp_path, workers):
    folder = fresh(crowd, tmp_path / "data")
    run_photometry(folder, folder / "lightcurves", "--workers", str(workers))
    assert products(folder) == undisturbed


def test_any_order_gives_the_same_stars(crowd, undisturbed, tmp_path):
    rng = np.random.default_rng(8)

    def draw(function, dealer):
        if not isinstance(dealer, rounds.Dealer):       # what is done before
            return pull(SerialCrew(), function, dealer)
        batches = []
        while (batch := dealer.draw(batches[-1] if batches else None, "")) is not None:
            batches.append(batch)
        stars = [Batch((task,), batch.group, batch.together) for batch in batches
                 for task in batch]
        return pull(SerialCrew(), function, [stars[n] for n in rng.permutation(len(stars))])

    folder = fresh(crowd, tmp_path / "data")
    with Todo(folder) as todo:
        list(rounds.photometry(todo, described(folder), Select(), draw))
    _, rows, skipped, _ = undisturbed
    _, found, found_skipped, _ = products(folder)
    assert [(row["starid"], row["status"], row["mean_flux"]) for row in found] == [
        (row["starid"], row["status"], row["mean_flux"]) for row in rows]
    assert found_skipped == skipped


def test_a_star_takes_over_from_a_brighter_one_that_fails_later(crowd, undisturbed, tmp_path):
    folder = copy_without_results(crowd, tmp_path / "data")
    run_photometry(folder, folder / "lightcurves", *TWO)
    before = set(products(folder)[0])
    break_stars(folder)
    assert cli.tessphot([*(f"--starid={star}" for star in BROKEN), str(folder), "-q"]
                        ) == console.SOME_FAILED
    run_photometry(folder, folder / "lightcurves")
    assert products(folder) == undisturbed
    assert len(before - set(undisturbed[0])) == len(BROKEN)
    assert set(undisturbed[0]) - before


class Bars:
    """Stands in for what shows progress: what it counted at which total, bar by bar."""

    def __init__(self):
        self.counts = []

    def __call__(self, items, total, _):
        steps = []
        self.counts.append(steps)
        for item in items:
            yield item
            steps.append((len(steps) + 1, total()))


def test_one_bar_shows_all_rounds(crowd, undisturbed, tmp_path):
    """Two stars are measured anew and fail: who takes over their light is counted as well."""
    folder = copy_without_results(crowd, tmp_path / "data")
    bars = Bars()
    with Todo(folder) as todo:
        all_rows = sum(todo.count().values())
        draw = partial(pull, SerialCrew())
        list(rounds.photometry(todo, simple(folder), Select(), draw, bars))
        break_stars(folder)
        todo.reset_all(Select(starids=BROKEN))
        list(rounds.photometry(todo, simple(folder), Select(), draw, bars))
    first, second = bars.counts
    assert first == [(done, all_rows) for done in range(1, all_rows + 1)]
    assert second[:2] == [(1, 2), (2, 2)]
    assert len(second) > 2
    assert second[2:] == [(done, len(second)) for done in range(3, len(second) + 1)]


# Deaths.


def test_a_killed_process_does_not_end_the_run(crowd, undisturbed, tmp_path):
    run = Run(fresh(crowd, tmp_path / "data"), *TWO)
    run.wait_for_lightcurve()
    kill(run.workers()[0])
    code, told = run.end()
    assert code == console.SOME_FAILED
    assert "ended by signal 9 (SIGKILL)" in told
    assert products(run.folder) == undisturbed


@pytest.mark.parametrize("options", [(), TWO], ids=["serial", "processes"])
def test_a_killed_master_is_followed_by_the_next(crowd, undisturbed, tmp_path, options, capfd):
    run = Run(fresh(crowd, tmp_path / "data"), *options)
    run.wait_for_lightcurve()
    workers = run.workers()
    run.process.kill()
    assert run.end()[0] == -signal.SIGKILL
    began = time.monotonic()
    while any(says(pid, word) for pid in workers for word in WORKER):   # they leave with it
        assert time.monotonic() - began < PATIENCE_S
    assert products(run.folder) != undisturbed
    assert run.finish() == undisturbed
    assert "stars under way; they are measured again" in capfd.readouterr().err


@pytest.mark.parametrize("seed", [1, 2])
def test_random_kills_change_nothing(crowd, undisturbed, tmp_path, seed):
    chance = random.Random(seed)
    patient = tmp_path / "patient.toml"
    patient.write_text("[tessphot]\nlives = 99\nruns = 99\n")
    options = (*TWO, "--settings", patient)
    run = Run(fresh(crowd, tmp_path / "data"), *options)
    for _ in range(10):
        time.sleep(chance.uniform(0.1, 1.2))
        if run.process.poll() is not None:
            break
        if chance.random() < 0.3:
            run.process.kill()
            run.process.communicate()
            run = Run(run.folder, *options)
        elif workers := run.workers():
            with suppress(ProcessLookupError):
                kill(chance.choice(workers))
    run.process.communicate(timeout=PATIENCE_S)
    assert run.finish() == undisturbed


def simple(folder, **changes):
    """Return such a run that takes its PRF for granted."""
    return replace(described(folder), prf=AVERAGE, **changes)


def poisoned(function, starid, batch):
    """Do a batch in which a star kills whoever looks at it."""
    def look(run, source, task, products):
        if task.starid == starid:
            os.kill(os.getpid(), signal.SIGSEGV)
        return measure(run, source, task, products)

    measure = stage.measure_task
    with mock.patch.object(stage, "measure_task", look):
        return function(batch)


def test_a_star_that_kills_its_workers_is_quarantined(crowd, tmp_path):
    folder = copy_without_results(crowd, tmp_path / "data")
    few = Select(tmag_max=8.2)
    with Todo(folder) as todo, crew(2) as workers:
        star = next(todo.tasks()).starid

        def draw(function, dealer):
            return pull(workers, partial(poisoned, function, star), dealer)

        results = list(rounds.photometry(todo, simple(folder), few, draw))
        (bad,) = [result for result in results if result.task.starid == star]
        assert bad.status == Status.ERROR
        first, second, *others = bad.notes[0].message.splitlines()
        assert "3 workers were lost at this star" in first
        assert "(SIGSEGV)" in first
        assert second == "Fatal Python error: Segmentation fault"
        assert any("in look" in line for line in others)
        assert not layout.traces_folder(todo.path).exists()
        count = todo.count(few)
        assert count[Status.ERROR] == 1
        assert None not in count
        assert rows_of(todo.path, "quarantined") == rows_of(todo.path, "failures")
        todo.reset_interrupted()
        assert todo.count(few) == count                         # --all leaves it alone
        rounds.choose(todo, Select(starids=(star,)), again=False, at_random=False, runs=6)
        assert [task.starid for task in todo.tasks(few)] == [star]  # asked for by number
        assert todo.attempts(next(todo.tasks(few))) == 0


def stuck(function, batch):
    """Do a batch in which every star takes so long that the worker is killed."""
    def look(*_):
        time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGKILL)

    with mock.patch.object(stage, "measure_task", look):
        return function(batch)


def test_a_star_that_hangs_says_where(crowd, tmp_path):
    folder = copy_without_results(crowd, tmp_path / "data")
    with Todo(folder) as todo, crew(2) as workers:
        star = next(todo.tasks())
        run = simple(folder, settings=stage.Settings(lives=1, deadline_s=0.5))

        def draw(function, dealer):
            return pull(workers, partial(stuck, function), dealer)

        (bad,) = rounds.photometry(todo, run, Select(priorities=(star.priority,)), draw)
        first, second, *others = bad.notes[0].message.splitlines()
        assert "(SIGKILL)" in first
        assert second.startswith("Timeout")
        assert any("in look" in line for line in others)


def test_a_star_that_ends_whole_runs_says_where(crowd, tmp_path):
    """Without other processes the program itself crashes, and the next run reads why."""
    folder = copy_without_results(crowd, tmp_path / "data")
    with Todo(folder) as todo:
        star = next(todo.tasks())
    code = (f"import os, signal\nfrom photometry.stages import tessphot as stage\n"
            "def look(*_): os.kill(os.getpid(), signal.SIGSEGV)\n"
            "stage.measure_task = look\nfrom photometry import cli\n"
            f"cli.tessphot(['--priority', '{star.priority}', {str(folder)!r}, '-q', "
            "'--prf', 'average'])")
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT)
    assert done.returncode == -signal.SIGSEGV
    with Todo(folder) as todo:
        rounds.choose(todo, Select(), again=False, at_random=False, runs=1)
    (found,) = rows_of(todo.path, "quarantined")
    assert found[0] == star.starid
    assert "1 runs ended with this star under way" in found[1]
    assert "Segmentation fault" in found[1] and "in look" in found[1]


# Requests to stop.


@pytest.mark.parametrize(("options", "number"), [
    ((), signal.SIGTERM), (TWO, signal.SIGTERM), (TWO, signal.SIGINT), (TWO, signal.SIGUSR1)])
def test_a_signal_drains_the_run(crowd, undisturbed, tmp_path, options, number):
    run = Run(fresh(crowd, tmp_path / "data"), *options)
    run.wait_for_lightcurve()
    for pid in (run.process.pid, *run.workers()):      # as a batch system does
        os.kill(pid, number)
    code, told = run.end()
    assert code == console.INTERRUPTED
    assert told.splitlines()[-1].endswith("run the same command again to do the rest")
    assert run.debris() == []
    counts = run.counts()
    assert Status.STARTED not in counts
    assert 0 < counts[None] < sum(counts.values())
    assert run.finish() == undisturbed


def test_a_second_signal_stops_at_once(crowd, undisturbed, tmp_path):
    run = Run(fresh(crowd, tmp_path / "data"), *TWO)
    run.wait_for_lightcurve()
    for _ in range(2):
        run.process.send_signal(signal.SIGINT)
        time.sleep(0.05)
    assert run.end()[0] == console.INTERRUPTED
    assert run.finish() == undisturbed


def swallowing(run, source, task, products):
    """Measure a star while two signals come, the second where a library makes an error of it."""
    os.kill(os.getpid(), signal.SIGTERM)
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except KeyboardInterrupt:
        note = Note("bug", "RuntimeError: could not compile")
        return Result(task, Status.ERROR, "aperture", notes=(note,))
    raise AssertionError("the second signal was not heard")


def test_a_second_signal_that_is_taken_for_an_error_fails_no_star(crowd, tmp_path):
    folder = copy_without_results(crowd, tmp_path / "data")
    with Todo(folder) as todo:
        star = next(todo.tasks())
        select = Select(priorities=(star.priority,))
        with console.stopping(60.0) as stop, pytest.raises(KeyboardInterrupt), \
                mock.patch.object(stage, "measure_task", swallowing):
            list(rounds.photometry(todo, simple(folder), select, partial(pull, SerialCrew()),
                                   stop=stop))
        assert todo.count(select) == {Status.STARTED: 1}
        todo.reset_interrupted()
        assert todo.count(select) == {None: 1}


# Data that are not there.


def test_stars_without_a_cube_fail_and_the_others_do_not(crowd, tmp_path, capfd):
    folder = copy_without_results(crowd, tmp_path / "data")
    with closing(sqlite3.connect(folder / "todo.sqlite")) as connection, connection:
        for ccd, starid in ((1, 77), (1, 78), (4, 79)):
            connection.execute(
                "INSERT INTO todolist (priority, starid, sector, camera, ccd, cadence, tmag, "
                f"cbv_area) VALUES ({starid}000, {starid}, 1, 1, {ccd}, 1800, 8.5, 111)")
    layout.cube_path(folder, CcdId(1, 1, 4)).write_bytes(b"cut off")
    assert cli.tessphot(["--all", str(folder), "-q", "--tmag-max", "9", "--prf", "average"]
                        ) == console.SOME_FAILED
    told = capfd.readouterr()
    assert "Traceback" not in told.err
    failures = dict(rows_of(folder / "todo.sqlite", "failures"))
    assert set(failures) == {77, 78, 79}
    assert "sector001_camera1_ccd1.hdf5: there is no such cube" in failures[78]
    assert "sector001_camera1_ccd4.hdf5: is not a readable" in failures[79]
    assert "failed: TIC 77, 78 (ffi): InputError" in told.out
    assert "failed: TIC 79 (ffi): InputError" in told.out
    with Todo(folder, readonly=True) as todo:
        counts = todo.count(Select(tmag_max=9.0))
    assert counts[Status.ERROR] == 3
    assert counts[Status.OK] > 5


# Requests that make no sense.


@pytest.mark.parametrize(("options", "problem"), [
    (["--starid", "9" * 30], "no target matches starids"),
    (["--priority", "-" + "9" * 30], "no target matches priorities"),
    (["--starid", "1001", "--tmag-min", "90"], "no target matches starids"),
    (["--all", "--version", "0"], "--version 0: expected 1 to 99"),
    (["--all", "--workers", "0"], "--workers 0: expected 1 or more")])
def test_absurd_arguments_are_named(crowd, tmp_path, capfd, options, problem):
    folder = fresh(crowd, tmp_path / "data")
    assert cli.tessphot([*options, str(folder)]) == console.UNUSABLE
    (line,) = capfd.readouterr().err.splitlines()
    assert problem in line


@pytest.mark.parametrize("setting", ["lives = 0", "tiles_ahead = -1", "deadline_s = nan",
                                     "drain_s = inf", "attempts = 0", "runs = 0"])
def test_absurd_settings_are_named(crowd, tmp_path, capfd, setting):
    (tmp_path / "my.toml").write_text(f"[tessphot]\n{setting}\n")
    assert cli.tessphot(["--all", str(crowd), "--settings", str(tmp_path / "my.toml")]
                        ) == console.UNUSABLE
    (line,) = capfd.readouterr().err.splitlines()
    assert f"{setting}: expected" in line


def test_a_size_that_is_no_number_is_no_mpi(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "many")
    monkeypatch.setenv("PMI_SIZE", "-3")
    assert console.mpi_size() == 1
