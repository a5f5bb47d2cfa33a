"""Runs that lose workers or their master, or are told to stop: nothing is lost or doubled."""

import os
import random
import signal
import time
from argparse import Namespace
from contextlib import suppress
from functools import partial

import numpy as np
import pytest

from photometry import cli, console
from photometry.core.deck import Batch
from photometry.core.ids import Select
from photometry.core.outcome import Status
from photometry.io.todo import Todo
from photometry.stages import tessphot as stage
from photometry.workers import SerialCrew, crew, pull
from tests.pipeline import copy_without_results, run_photometry
from tests.running import (
    BROKEN,
    PATIENCE_S,
    WORKER,
    Run,
    break_stars,
    fresh,
    kill,
    products,
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
        batches = []
        while (batch := dealer.draw(batches[-1] if batches else None, "")) is not None:
            batches.append(batch)
        stars = [Batch((task,), batch.group, batch.together) for batch in batches
                 for task in batch]
        return pull(SerialCrew(), function, [stars[n] for n in rng.permutation(len(stars))])

    folder = fresh(crowd, tmp_path / "data")
    with Todo(folder) as todo:
        list(stage.photometry(todo, described(folder), Select(), draw))
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


def poisoned(function, starid, batch):
    """Do a batch, unless a star is in it that kills whoever looks at it."""
    if any(task.starid == starid for task in batch):
        os.kill(os.getpid(), signal.SIGSEGV)
    return function(batch)


def test_a_star_that_kills_its_workers_is_quarantined(crowd, tmp_path):
    folder = copy_without_results(crowd, tmp_path / "data")
    with Todo(folder) as todo, crew(2) as workers:
        star = next(todo.tasks()).starid

        def draw(function, dealer):
            return pull(workers, partial(poisoned, function, star), dealer)

        results = list(stage.photometry(todo, described(folder), Select(), draw))
        (bad,) = [result for result in results if result.task.starid == star]
        assert bad.status == Status.ERROR
        assert "3 workers were lost at this star" in bad.notes[0].message
        assert "SIGSEGV" in bad.notes[0].message
        count = todo.count()
        assert count[Status.ERROR] == 1
        assert None not in count
        todo.reset_interrupted()
        assert todo.count() == count                            # --all leaves it alone
        stage.choose(todo, Select(starids=(star,)), again=False, at_random=False, runs=6)
        assert [task.starid for task in todo.tasks()] == [star]     # asked for by number
        assert todo.attempts(next(todo.tasks())) == 0


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


# Requests that make no sense.


@pytest.mark.parametrize(("options", "problem"), [
    (["--starid", "9" * 30], "no target matches starids"),
    (["--priority", "-" + "9" * 30], "no target matches priorities"),
    (["--starid", "1001", "--tmag-min", "nan"], "no target matches starids"),
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
    assert f"tessphot.{setting}: expected more than 0" in line


def test_a_size_that_is_no_number_is_no_mpi(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "many")
    monkeypatch.setenv("PMI_SIZE", "-3")
    assert console.mpi_size() == 1
