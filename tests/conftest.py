"""Fixtures of all tests, and the rule that nothing is skipped in silence."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

import photometry.console  # noqa: F401 - keeps numerical libraries to one thread, as programs are
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from tests.pipeline import contents, make_list, run_chain, run_photometry, simulate, write_grid
from tests.running import fresh, products

ROOT = Path(__file__).resolve().parents[1]
DATE = "1600000000"                    # SOURCE_DATE_EPOCH of files that must be equal
NO_SKIPS = "TESSPHOT_NO_SKIPS"        # environment variable: a skip counts as a failure ...
NO_MOUNT = "cannot mount a small disk"
MAY_BE_ABSENT = ("../shared", NO_MOUNT)     # ... unless its reason names one of these


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of real mission files beside the checkout."""
    folder = ROOT.parent / "shared" / "realdata"
    if not folder.is_dir():
        pytest.skip("needs the real mission files in ../shared/realdata")
    return folder


@pytest.fixture(scope="session")
def sector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated window that has been through the whole chain on `DATE`; not to be changed."""
    folder = tmp_path_factory.mktemp("sector")
    simulate(folder, "--size", "128x96", "--frames", "30", "--stars", "110", "--camera", "2",
             "--ccd", "3", "--seed", "7", "--jitter", "--variables")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", DATE)
        run_chain(folder)
    return folder


@pytest.fixture(scope="session")
def serial(sector: Path) -> dict[str, bytes]:
    """The light curves of `sector`, which one process made."""
    return contents(sector / "lightcurves")


@pytest.fixture(scope="session")
def quiet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lonely stars of Tmag 7-13 under a steady sky, through the whole chain."""
    folder = tmp_path_factory.mktemp("quiet")
    box = Box(900, 1116, 900, 1152)
    write_grid(folder / "stars.csv", CcdId(1, 2, 3), box, 36, (7.0, 13.0))
    simulate(folder, "--size", "252x216", "--place", "900,900", "--frames", "60", "--camera",
             "2", "--ccd", "3",
             "--catalog", str(folder / "stars.csv"))
    run_chain(folder)
    return folder


@pytest.fixture(scope="session")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of stars that share their pixels on several sky tiles, all rows pending."""
    folder = tmp_path_factory.mktemp("crowd")
    write_grid(folder / "stars.csv", CcdId(1, 2, 3), Box(1000, 1096, 900, 1028), 16,
               (8.0, 11.0), pairs=True)
    simulate(folder, "--size", "128x96", "--frames", "16", "--camera", "2", "--ccd", "3",
             "--catalog", str(folder / "stars.csv"))
    make_list(folder)
    return folder


@pytest.fixture(scope="session")
def undisturbed(crowd: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple:
    """What comes of `tests.running.fresh` in one process that nobody disturbs."""
    folder = fresh(crowd, tmp_path_factory.mktemp("undisturbed") / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", DATE)
        run_photometry(folder, folder / "lightcurves")
    return products(folder)


@pytest.fixture(scope="module")
def fixed_date() -> Iterator[None]:
    """Times of writing do not enter the files."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_DATE_EPOCH", DATE)
        yield


def fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure where skips are not allowed."""
    if not os.environ.get(NO_SKIPS) or not report.skipped or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not any(absent in reason for absent in MAY_BE_ABSENT):
        report.outcome = "failed"
        report.longrepr = f"{NO_SKIPS} is set, and this was skipped: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    report = yield
    fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    report = yield
    fail_if_skipped(report)
    return report
