"""A whole sector with all its troubles, 27 days, through all commands."""

import numpy as np
import pytest

from photometry import cli, console
from photometry.core.flags import CadenceFlag, LightCurveFlag
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.io.truth import read_truth
from photometry.scene.motion import Motion
from photometry.scene.pointing import Pointing
from photometry.scene.variability import KINDS
from photometry.stages.truth_tables import ALL
from photometry.stages.validate import clean_frames, frames_of, validate
from tests.pipeline import check, read_all, simulate, write_grid

CCD = CcdId(1, 1, 4)
BOX = Box(1000, 1112, 900, 1026)
N_STARS, MANY = 72, 10
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    write_grid(folder / "stars.csv", CCD, BOX, 14, (8.5, 14.5))
    simulate(folder, "--size", "126x112", "--place", "1000,900", "--frames", "0", "--troubles",
             "--catalog", str(folder / "stars.csv"), "--jitter", "--momentum-dumps",
             "--scattered-light", "--variables")
    check(cli.make_catalog(["1", str(folder), "-q"]))
    # Empty images are named, and that is no success.
    assert cli.prepare_photometry([str(folder), "-q", "--workers", "2"]) == console.SOME_FAILED
    check(cli.make_todo([str(folder), "-q"]))
    check(cli.tessphot(["--all", str(folder), "-q", "--workers", "2"]))
    return folder


class Found:
    """What was found of every frame beside what is true."""

    def __init__(self, folder):
        truth = read_truth(layout.truth_path(folder, CCD))
        with Cube(layout.cube_path(folder, CCD)) as cube:
            self.quality = cube.cadences.quality
            self.motion = Motion(**cube.motion_arrays())
            self.frames = frames_of(truth, cube.cadences.cadenceno)
        self.clean = clean_frames(truth)[self.frames]
        self.blur = truth.pointing["broadening"][self.frames]
        row, column = np.array([1010.0, 1055.0, 1100.0]), np.array([1015.0, 960.0, 910.0])
        pointing = Pointing(**truth.pointing)
        true = np.array([np.stack(pointing.move(frame, row, column), axis=-1)
                         for frame in self.frames]) - np.stack([row, column], axis=-1)
        self.true_shift = true.mean(axis=1)
        away = (self.motion.drift(row, column) - true).mean(axis=1)
        self.away = away - away[self.clean].mean(axis=0)


@pytest.fixture(scope="module")
def found(folder):
    return Found(folder)


def test_frames_are_those_of_a_whole_sector_without_the_missing(found):
    assert len(found.frames) == 1282
    # Six are empty; two are saturated everywhere, at the height of the ramp.
    assert np.count_nonzero(found.quality & CadenceFlag.MANUAL_EXCLUDE) == 8
    assert found.clean.sum() > 1100


def test_motion_is_right_across_the_step(found):
    second = found.frames > 650
    step = np.diff([np.median(found.true_shift[part & found.clean], axis=0)
                    for part in (~second, second)], axis=0)
    assert 0.2 < np.hypot(*step[0]) < 0.5
    assert np.sqrt(np.mean(found.away[found.clean]**2)) < 0.0003                  # 0.00007 px
    # Errors allow stars to differ in what places in pixels do; those of one profile do not.
    error = found.motion.error[found.clean]
    assert 0.1 < np.sqrt(np.mean((found.away[found.clean] / error[:, None])**2)) < 1
    assert np.median(error) < 0.001


def test_motion_within_exposures_is_right(found):
    # What the sharp frames have, too, is part of the PRF.
    sharp = np.quantile(found.blur[found.clean]**2, 0.05)
    whole, coarse = np.hypot(found.motion.jitter, np.sqrt(sharp)), (
        found.quality & CadenceFlag.COARSE_POINT) != 0
    for frames in (found.clean, coarse):                                 # 0.0003 and 0.0005 px
        assert np.sqrt(np.mean((whole - found.blur)[frames]**2)) < 0.001
    # Between the orbits stars are in other places of their pixels; the error knows that.
    beyond = np.sqrt(np.maximum(found.blur**2 - sharp, 0.0))
    assert np.sqrt(np.mean((found.motion.jitter - beyond)[found.clean]**2)) < 0.002     # 0.0008
    step = (found.motion.jitter**2 + sharp - found.blur**2)[found.clean]
    assert np.sqrt(np.mean((step / found.motion.blur_error[found.clean])**2)) < 1.5


def test_excursions_are_coarse_frames_and_dumps(found):
    coarse = (found.quality & CadenceFlag.COARSE_POINT) != 0
    assert found.motion.excursion[coarse].mean() > 0.8
    assert found.motion.excursion[found.clean].mean() < 0.01


def test_every_star_is_measured_in_every_clean_frame(folder, found):
    curves = read_all(folder / "lightcurves")
    assert len(curves) == N_STARS
    for curve in curves.values():
        assert np.isfinite(curve.lightcurve.flux[found.clean]).all()
        assert (curve.lightcurve.flux_err[found.clean] > 0).all()
        excursion = (curve.quality & int(LightCurveFlag.POINTING_EXCURSION)) != 0
        np.testing.assert_array_equal(excursion, found.motion.excursion)


@pytest.fixture(scope="module")
def compared(folder):
    return validate(folder, folder / "lightcurves")


def test_everything_is_delivered_and_nothing_flagged(compared):
    account, = compared.accounts
    assert account.stars == N_STARS
    assert account.delivered_13 >= 0.99 and account.delivered_15 >= 0.97
    assert account.flagged <= 0.01


def test_scatter_is_within_a_fifth_of_that_of_an_ideal_fit(compared):
    """On frames clean in truth, every star counted, under all that happens in a sector."""
    rows = [row for row in compared.rows if (row.method, row.region) == (ALL, ALL)]
    many = [row for row in rows if row.stars >= MANY]
    assert [row.tmag for row in many] == [9, 10, 11, 12, 13]
    for row in rows:
        assert row.per_prf_floor <= 1.2, row
        assert row.per_prf_floor_90 <= 1.5, row


def test_mean_flux_and_errors_are_right(compared):
    for row in compared.rows:
        if (row.method, row.region) == (ALL, ALL) and row.stars >= MANY:
            assert row.bias_50 <= 0.005, row
            assert 0.85 < row.pull < 1.15, row


def test_depths_and_amplitudes_are_right(compared):
    groups = {group.name: group for group in compared.groups}
    for kind in KINDS:
        assert groups[kind].stars >= 4 and groups[kind].deep >= 2
        assert groups[kind].amplitude_90 <= 0.03, groups[kind]
    high = [groups[kind] for kind in KINDS if groups[kind].high]
    assert sum(group.high for group in high) >= 6
    assert all(group.high_90 <= 0.01 for group in high), high


def test_transits_and_eclipses_are_found(compared):
    account, = compared.accounts
    assert account.transits >= 6 and account.found >= 0.97
