from dataclasses import replace

import numpy as np
import pytest
from astropy.table import Table

from photometry.core import sphere
from photometry.core.errors import InputError, UsageError
from photometry.core.flags import CadenceFlag
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.core.progress import silent
from photometry.core.time import years_since_j2000
from photometry.io import layout
from photometry.io.ephemeris import barycentric_correction
from photometry.io.ffi import read_ffi
from photometry.io.source_tables import LocalSource
from photometry.io.tpf import read_tpf
from photometry.io.truth import read_truth
from photometry.scene import wcs
from photometry.scene.detector import bleed, strap_profile
from photometry.scene.pointing import Pointing
from photometry.scene.simulated_prf import GaussianPrf
from photometry.scene.simulated_sky import Sky
from photometry.scene.variability import Variable, brightness
from photometry.stages.simulate import Settings, simulate

BUSY = Settings(size=(96, 70), origin=(1960, 1020), frames=6, scattered_light=True, jitter=True,
                momentum_dumps=True, variables=True, seed=3, sector=27, camera=2, ccd=3,
                cadence_s=600, density=3000.0, gzip=True)
CCD = CcdId(27, 2, 3)


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return simulate(tmp_path_factory.mktemp("busy"), BUSY)


@pytest.fixture(scope="module")
def truth(out):
    return read_truth(layout.truth_path(out, CCD))


@pytest.fixture(scope="module")
def images(out):
    return [read_ffi(path) for _, path in layout.find_ffis(out)]


def test_files_have_the_missions_names(out, images):
    found = layout.find_ffis(out)
    assert [ccd for ccd, _ in found] == [CCD] * 6
    assert all(path.name.endswith("-s0027-2-3-0146-s_ffic.fits.gz") for _, path in found)
    assert layout.star_list_path(out, CCD).is_file()


def test_headers_agree_with_the_truth(images, truth):
    headers = [ffi.header for ffi in images]
    assert {header.ccd for header in headers} == {CCD}
    assert {header.box for header in headers} == {Box(1960, 2030, 1020, 1116)} == {truth.box}
    assert {header.cadence_s for header in headers} == {600}
    assert [header.exposure_s for header in headers] == pytest.approx([475.2] * 6)
    for name in ("time", "timecorr", "cadenceno", "quality"):
        np.testing.assert_allclose([getattr(header, name) for header in headers],
                                   truth.frames[name], rtol=0, atol=1e-10)
    assert np.all(np.diff(truth.frames["cadenceno"]) == 1)


def test_a_dump_is_flagged_and_blurred(truth):
    dumped = (truth.frames["quality"] & CadenceFlag.DESATURATION) > 0
    assert dumped.any() and not dumped.all()
    broadening = truth.pointing["broadening"]
    assert broadening[dumped].min() > 2 * broadening[~dumped].max()


def test_times_are_those_of_the_middle_of_the_ccd(images):
    header = images[2].header
    ra, dec = wcs.to_sky(header.wcs_text, 1023.5, 1023.5)
    expected = barycentric_correction([header.time - header.timecorr], ra[0], dec[0])
    # The frame's own pointing is a fraction of a pixel off.
    assert header.timecorr == pytest.approx(expected[0], abs=1e-7)


def test_star_list_leads_to_the_true_positions(out, images, truth):
    listed, = LocalSource(layout.star_list_path(out, CCD)).blocks([], silent)
    order = np.argsort(truth.stars["starid"])
    np.testing.assert_array_equal(listed.starid, truth.stars["starid"][order])
    np.testing.assert_allclose(listed.tmag, truth.stars["tmag"][order], atol=1e-4)
    frames = Pointing(**truth.pointing)
    for index in (0, 5):
        years = years_since_j2000(truth.frames["time"].mean())
        ra, dec = sphere.propagate(listed.ra, listed.dec, listed.pm_ra, listed.pm_dec, years)
        found = wcs.to_pixels(images[index].header.wcs_text, ra, dec)
        true = frames.move(index, truth.stars["row"][order], truth.stars["column"][order])
        np.testing.assert_allclose(found, true, atol=1e-3)


def test_truth_explains_every_image_to_its_noise(images, truth):
    """Rebuild the images from the truth file alone and look at what is left."""
    frames, sky = Pointing(**truth.pointing), Sky(**truth.sky)
    prf = GaussianPrf(*truth.sky["axis"])
    flux = np.array([truth.flux(star) for star in range(len(truth.stars["flux"]))])
    for index, ffi in enumerate(images):
        row, column = frames.move(index, truth.stars["row"], truth.stars["column"])
        stars = prf(truth.box, row, column, flux[:, index], truth.pointing["broadening"][index])
        model, _ = bleed(stars + sky.evaluate(index, truth.box))
        pulls = (ffi.image - model) / ffi.error
        plain = stars < 2000      # bright pixels would show the straps' share of starlight
        assert pulls[plain].std() == pytest.approx(1.0, abs=0.03)
        assert pulls[plain].mean() == pytest.approx(0.0, abs=0.06)


def test_variables_follow_their_parameters(images, truth):
    kinds = truth.variables["kind"]
    assert set(kinds) == {"transit", "eclipse", "pulsation"}
    numbers = {name: truth.variables[name] for name in
               ("period", "epoch", "depth", "duration", "second_depth", "ingress")}
    for index, kind in enumerate(kinds):
        star = Variable(str(kind), **{name: float(numbers[name][index]) for name in numbers})
        # The star's own barycentric time differs from that of the middle of the CCD by seconds.
        time = truth.frames["time"]
        light = brightness(star, time - 300 / 86400, time + 300 / 86400)
        np.testing.assert_allclose(light, truth.variables["variation"][index], atol=0.01)


def test_same_seed_same_bytes(out, tmp_path):
    again = simulate(tmp_path, BUSY)
    first = sorted(path for path in out.rglob("*") if path.is_file())
    assert len(first) == 9
    for path in first:
        assert path.read_bytes() == (again / path.relative_to(out)).read_bytes(), path.name


def test_another_seed_is_another_sky(out, tmp_path):
    other = simulate(tmp_path, replace(BUSY, seed=4, frames=1))
    stars = [layout.star_list_path(folder, CCD).read_text() for folder in (out, other)]
    assert stars[0] != stars[1]


def test_quiet_scene_has_no_motion_and_no_glare(tmp_path):
    quiet = Settings(size=(60, 45), frames=3, gzip=True)
    truth = read_truth(layout.truth_path(simulate(tmp_path, quiet), CcdId(1, 1, 4)))
    assert not truth.frames["quality"].any()
    for name in ("shift", "gradient", "broadening"):
        assert not truth.pointing[name].any()
    assert not truth.sky["level"].any() and not truth.sky["glow"].any()
    assert len(truth.variables["index"]) == 0
    assert truth.sky["zodiacal"][0] > 40


def test_two_ccds_share_a_folder(tmp_path):
    small = Settings(size=(40, 33), frames=2)
    simulate(tmp_path, small)
    simulate(tmp_path, replace(small, ccd=2))
    assert [str(ccd) for ccd, _ in layout.find_ffis(tmp_path)] == [
        "s0001-c1-ccd2"] * 2 + ["s0001-c1-ccd4"] * 2
    stars = [set(next(LocalSource(path).blocks([], silent)).starid.tolist())
             for path in sorted((tmp_path / layout.CATALOGS_FOLDER).iterdir())]
    assert len(stars) == 2 and not stars[0] & stars[1]


def test_images_of_one_ccd_are_replaced_or_refused_but_never_mixed(tmp_path):
    small = Settings(size=(40, 33), frames=3)
    simulate(tmp_path, small)
    simulate(tmp_path, replace(small, frames=4, seed=2))
    for other in (replace(small, frames=2), replace(small, gzip=True, frames=4)):
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
        with pytest.raises(UsageError, match="images of s0001-c1-ccd4 that these would not"):
            simulate(tmp_path, other)
        assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}


def test_a_given_star_list_is_used(tmp_path):
    given = Settings(size=(60, 45), frames=1)
    ccd = CcdId(1, 1, 4)
    first = layout.star_list_path(simulate(tmp_path / "random", given), ccd)
    lines = first.read_text().splitlines()
    # Any table that catalogs are made of will do.
    Table.read(lines[:9], format="ascii.csv").write(tmp_path / "mine.vot", format="votable")
    second = simulate(tmp_path / "given", replace(given, catalog=str(tmp_path / "mine.vot")))
    stars = read_truth(layout.truth_path(second, ccd)).stars
    assert sorted(stars["starid"].tolist()) == [int(line.split(",")[0]) for line in lines[1:9]]


def test_mission_prf_models_are_used(tmp_path, realdata):
    plain = Settings(size=(60, 45), frames=1)
    folders = [simulate(tmp_path / name, replace(plain, prf=prf)) for name, prf in
               (("analytic", ""), ("mission", str(realdata / "prf" / "sectors1-3")))]
    images = [read_ffi(layout.find_ffis(folder)[0][1]).image for folder in folders]
    assert images[0].sum() == pytest.approx(images[1].sum(), rel=0.05)
    assert np.abs(images[0] - images[1]).max() > 100


def test_stars_gain_over_straps_as_much_as_the_truth_says(tmp_path):
    settings = Settings(size=(40, 33), origin=(1000, 960), frames=1, stars=30)
    images = []
    for gain in (0.0, 0.5):
        out = simulate(tmp_path / str(gain), replace(settings, strap_stars=gain))
        assert read_truth(layout.truth_path(out, CcdId(1, 1, 4))).settings["strap_stars"] == gain
        images.append(read_ffi(layout.find_ffis(out)[0][1]).image)
    gained = np.abs(images[1] - images[0]).max(axis=0) > 0
    np.testing.assert_array_equal(gained, strap_profile(np.arange(960, 1000)) > 0)


def test_header_positions_may_be_wrong_on_purpose(tmp_path):
    settings = Settings(size=(40, 33), frames=1, wcs_error_px=0.5)
    ccd = CcdId(1, 1, 4)
    out = simulate(tmp_path, settings)
    truth = read_truth(layout.truth_path(out, ccd))
    text = read_ffi(layout.find_ffis(out)[0][1]).header.wcs_text
    row, column = wcs.to_pixels(text, *wcs.to_sky(truth.wcs_text, 1010.0, 920.0))
    assert np.hypot(row[0] - 1010, column[0] - 920) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("change, message", [
    ({"cadence_s": 1000}, "cadence is 1000 s, expected one of"),
    ({"frames": -1}, "number of frames is -1"),
    ({"frames": 5000}, "5000 frames .* expected at most"),
    ({"camera": 5}, "camera must be 1 to 4, got 5"),
    ({"size": (300, 0)}, "window of 300 x 0 pixels"),
    ({"origin": (2000, 900)}, "rows 2000 to 2199 .* expected 0 to 2047"),
    ({"origin": (-1, 900)}, "origin of 0 or more"),
    ({"stars": -1}, "stars is -1, expected 0 or more"),
    ({"seed": -1}, "seed is -1, expected 0 or more"),
    ({"missing": 2.0}, "missing is 2.0, expected a share from 0 to 1"),
])
def test_senseless_settings_are_refused(tmp_path, change, message):
    with pytest.raises(UsageError, match=message):
        simulate(tmp_path, replace(Settings(), **change))
    assert not list(tmp_path.iterdir())


def test_unusable_star_lists_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        simulate(tmp_path, Settings(catalog=str(tmp_path / "none.csv")))
    empty = tmp_path / "empty.csv"
    empty.write_text("ID,ra,dec,Tmag\n")
    with pytest.raises(InputError, match=r"empty\.csv: has no stars"):
        simulate(tmp_path, Settings(catalog=str(empty)))
    elsewhere = tmp_path / "far.csv"
    elsewhere.write_text("ID,ra,dec,Tmag\n1,10.0,60.0,9\n")
    with pytest.raises(UsageError, match="none of its 1 stars is on the window"):
        simulate(tmp_path, Settings(catalog=str(elsewhere)))


def test_target_pixel_files_show_the_same_stars(tmp_path):
    settings = Settings(size=(96, 70), frames=2, tpf=True, tpf_targets=2, density=2000.0,
                        jitter=True, momentum_dumps=True)
    out, ccd = simulate(tmp_path, settings), CcdId(1, 1, 4)
    truth = read_truth(layout.truth_path(out, ccd))
    found = layout.find_tpfs(out)
    assert len(found) == 2
    images = [read_ffi(path) for _, path in layout.find_ffis(out)]
    for sector, starid, path in found:
        tpf = read_tpf(path)
        assert (sector, tpf.cadence_s, tpf.star.starid) == (1, 120, starid)
        assert len(tpf.pixels.cadences) == 30
        assert (tpf.pixels.cadences.quality & CadenceFlag.DESATURATION).any()
        star = truth.stars["starid"].tolist().index(starid)
        assert tpf.star.row == pytest.approx(truth.stars["row"][star], abs=0.02)
        assert tpf.star.column == pytest.approx(truth.stars["column"][star], abs=0.02)
        # The mean of 15 short exposures is the long one, apart from the pointing in between.
        where = tpf.pixels.box.slices(truth.box.offset)
        for index, image in enumerate(images):
            part = slice(15 * index, 15 * (index + 1))
            short = (tpf.pixels.flux + tpf.pixels.background)[part].mean(axis=0)
            np.testing.assert_allclose(short.sum(), image.image[where].sum(), rtol=2e-3)
        middle = tpf.pixels.cadences.time[:15].mean()
        assert middle == pytest.approx(truth.frames["time"][0], abs=60 / 86400)
