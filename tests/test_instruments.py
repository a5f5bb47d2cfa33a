"""Cutouts, and images of another instrument, through all four commands as the mission's images."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from photometry import cli, console
from photometry.core.ids import CcdId
from photometry.core.pixels import Box, ccd_column, ccd_row
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.io.ffi import read_ffi
from photometry.scene import wcs
from tests.pipeline import read_all, run_chain, simulate

CCD = CcdId(1, 2, 3)
N_FRAMES = 14
PART = Box(1010, 1070, 910, 974)      # of the window, for the cutout
PROFILE = """
name = "OTHERCAM"
files = "obs*.fit*"
camera = "CAM"                        # cards ...
ccd = 3                               # ... and values
time_mid = "MJD-MID"
time_format = "mjd"
time_scale = "utc"
exposure = "EXPT"
cadence_s = 1800
flux_hdu = "SCI"
mask_hdu = "BAD"
unit = "BUNIT"
gain = "EGAIN"
read_noise = "RDN"
rows = [2, 97]                        # beyond are overscan and padding
columns = [3, 130]
row = 1000
column = 900
quality = "STATUS"
quality_bits = 6
"""


@pytest.fixture(scope="module")
def mission(tmp_path_factory):
    """A window through the whole chain as the mission's images."""
    folder = tmp_path_factory.mktemp("mission")
    simulate(folder, "--size", "128x96", "--frames", str(N_FRAMES), "--stars", "70", "--camera",
             "2", "--ccd", "3", "--seed", "7", "--jitter")
    run_chain(folder)
    return folder


@pytest.fixture(scope="module")
def images(mission):
    return [read_ffi(path) for _, path in layout.find_ffis(mission)]


def with_stars(mission, folder):
    """Make a folder with the same star list."""
    stars = layout.star_list_path(mission, CCD)
    copy = layout.star_list_path(folder, CCD)
    copy.parent.mkdir(parents=True)
    copy.write_bytes(stars.read_bytes())
    return folder


def shifted(text, row, column):
    """Return WCS cards with the reference pixel counted from a file's first pixel."""
    header = fits.Header.fromstring(text)
    header["CRPIX1"] -= column
    header["CRPIX2"] -= row
    return header


def foreign(path, ffi, status=0):
    """Write an image in counts with margins, as another instrument might."""
    head, gain = ffi.header, 2.5
    pixels = np.pad(ffi.image * head.exposure_s / gain, ((2, 4), (3, 1)), constant_values=-7.0)
    bad = np.zeros(pixels.shape, np.uint8)
    bad[2 + 50, 3 + 60] = 1
    card = shifted(head.wcs_text, head.box.row0 - 2, head.box.column0 - 3)
    middle = Time(head.time - head.timecorr + 2457000, format="jd", scale="tdb").utc.mjd
    card.update({"CAM": 2, "MJD-MID": middle, "EXPT": head.exposure_s, "BUNIT": "ADU",
                 "EGAIN": gain, "RDN": 240.0, "STATUS": status})
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.round(pixels).astype(np.int32), card, "SCI"),
                  fits.ImageHDU(bad, name="BAD")]).writeto(path)


@pytest.mark.slow
def test_a_stack_that_a_profile_describes(mission, images, tmp_path, capfd):
    folder = with_stars(mission, tmp_path)
    (folder / "profile.toml").write_text(PROFILE)
    for number, ffi in enumerate(images):
        name = f"obs{(5 * number) % N_FRAMES:02d}.fits" + (".gz" if number % 2 else "")
        foreign(folder / name, ffi, status=4 if number == 6 else 1)
    output = run_chain(folder)
    (_, path), = layout.find_cubes(folder)
    with Cube(path) as cube, Cube(layout.cube_path(mission, CCD)) as usual:
        assert (cube.observation.origin, cube.box) == ("OTHERCAM", usual.box)
        assert (cube.ccd, cube.cadence_s, len(cube.cadences)) == (CCD, 1800, N_FRAMES)
        flux, error, _ = cube.read(cube.box)
        same, _, _ = usual.read(cube.box)
        assert np.isnan(flux[:, 50, 60]).all()
        assert np.count_nonzero(np.isnan(flux)) == N_FRAMES
        known = np.isfinite(flux)
        np.testing.assert_allclose(flux[known], same[known], atol=0.6 * 2.5 / 1425.6)
        np.testing.assert_allclose(error[known], np.sqrt(
            np.maximum(flux[known], 0) * 1425.6 + 240.0**2) / 1425.6, rtol=1e-5)
        np.testing.assert_allclose(cube.cadences.time_spacecraft, usual.cadences.time_spacecraft,
                                   atol=1e-3 / 86400)
        assert np.flatnonzero(cube.cadences.quality).tolist() == [6]
        assert cube.observation.observer == "earth"
    ours, theirs = read_all(output), read_all(mission / "lightcurves")
    assert len(ours.keys() & theirs.keys()) > 0.9 * len(theirs) > 20
    for star in ours.keys() & theirs.keys():
        assert ours[star].header["XPOSURE"] == pytest.approx(1425.6)
        assert "INT_TIME" not in ours[star].header and "FILTER" not in ours[star].header
        assert ours[star].header["TELESCOP"] == ours[star].header["INSTRUME"] == "OTHERCAM"
        assert np.abs(ours[star].cadences.time - theirs[star].cadences.time).max() * 86400 < 1.3
    ratio = [np.nanmedian(ours[star].lightcurve.flux) / np.nanmedian(
        theirs[star].lightcurve.flux) for star in ours.keys() & theirs.keys()]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.005)
    # The same with the profile somewhere else.
    elsewhere = (folder / "profile.toml").rename(mission / "mine.toml")
    given = [str(folder), "-q"]
    assert cli.prepare_photometry([*given, "--dry-run"]) == console.UNUSABLE
    assert "images with a profile.toml" in capfd.readouterr().err
    told = ["--profile", str(elsewhere)]
    assert cli.prepare_photometry([*given, "--dry-run", *told]) == console.DONE
    assert f"OTHERCAM rows 1000-1095 columns 900-1027 ({N_FRAMES} frames)" in (
        capfd.readouterr().out)
    assert cli.make_catalog(["1", *given, "-o", *told]) == console.DONE
    assert f"footprint: {N_FRAMES} images" in capfd.readouterr().out


def cutout(path, images, box):
    """Write a cutout as TESScut does: no sector's number, rows counted, one WCS."""
    inside = box.slices(images[0].header.box.offset)
    heads = [ffi.header for ffi in images]
    cubes = [np.array([getattr(ffi, name)[inside] for ffi in images])
             for name in ("image", "error")]
    size, dim = box.shape[0] * box.shape[1], f"({box.shape[1]},{box.shape[0]})"
    table = fits.BinTableHDU.from_columns([
        fits.Column("TIME", "D", array=[head.time for head in heads]),
        fits.Column("TIMECORR", "E", array=[head.timecorr for head in heads]),
        fits.Column("CADENCENO", "J", array=np.arange(1, len(heads) + 1)),
        *(fits.Column(name, f"{size}E", dim=dim, array=cube)
          for name, cube in zip(("FLUX", "FLUX_ERR"), cubes, strict=True)),
        fits.Column("QUALITY", "J", array=[head.quality for head in heads])], name="PIXELS")
    aperture = fits.ImageHDU(np.ones(box.shape, np.int32), name="APERTURE",
                             header=shifted(heads[0].wcs_text, *box.offset))
    aperture.header.update({"CRPIX1P": 1, "CRPIX2P": 1, "CRVAL1P": int(ccd_column(box.column0)),
                            "CRVAL2P": int(ccd_row(box.row0))})
    ra, dec = wcs.to_sky(heads[0].wcs_text, np.mean(box.rows), np.mean(box.columns))
    primary = fits.PrimaryHDU(header=fits.Header({
        "SECTOR": "", "CAMERA": 2, "CCD": 3, "RA_OBJ": ra[0], "DEC_OBJ": dec[0],
        "TSTART": heads[0].time_start, "TSTOP": heads[-1].time_stop, "CRMITEN": True,
        "CRBLKSZ": 10, "PROCVER": "test", "DATA_REL": 9}.items()))
    fits.HDUList([primary, table, aperture]).writeto(path)
    return path


def test_a_cutout_is_a_small_window(mission, images, tmp_path):
    folder = with_stars(mission, tmp_path)
    path = cutout(folder / "tess-s0001-2-3_64.5_-63.6_64x60_astrocut.fits", images, PART)
    output = run_chain(folder)
    (_, cube_path), = layout.find_cubes(folder)
    with Cube(cube_path) as cube, Cube(layout.cube_path(mission, CCD)) as usual:
        assert (cube.box, cube.observation.origin) == (PART, "TESSCUT")
        np.testing.assert_array_equal(cube.read(PART)[0], usual.read(PART)[0])
        np.testing.assert_array_equal(cube.cadences.cadenceno, usual.cadences.cadenceno)
        np.testing.assert_allclose(cube.cadences.time, usual.cadences.time, atol=1e-9)
        assert cube.image_names[3] == f"{path.name}[3]"
    ours, theirs = read_all(output), read_all(mission / "lightcurves")
    assert len(ours) > 7
    # With few stars on it the small window has another PRF, and may choose other methods.
    both = ours.keys() & theirs.keys()
    away = {star: own_flux(ours[star]) / own_flux(theirs[star]) - 1 for star in both}
    assert len(away) > 7
    assert np.median(np.abs(list(away.values()))) < 0.02
    for star in both:
        sigma = np.hypot(ours[star].header["FLUX_SYS"], theirs[star].header["FLUX_SYS"])
        assert abs(away[star]) < max(0.02, 3 * sigma), star


def own_flux(star):
    """Return the median flux of all of a star's light, and of no other's."""
    header = star.header
    return np.nanmedian(star.lightcurve.flux) * header["CROWDSAP"] / header["FLFRCSAP"]


def test_a_real_cutout(realdata, tmp_path):
    source = next(realdata.glob("pixels/*astrocut.fits"))
    (tmp_path / source.name).symlink_to(source)
    (tmp_path / "stars.csv").write_text("ID,ra,dec,Tmag\n1,107.27,-70.0,14.9\n"
                                        "2,107.272,-70.003,17\n")
    arguments = [str(tmp_path), "-q"]
    assert cli.make_catalog(["1", *arguments, "--source", str(tmp_path / "stars.csv")]) == 0
    assert cli.prepare_photometry([*arguments, "--workers", "1"]) == 0
    assert cli.make_todo(arguments) == 0
    assert cli.tessphot(["--all", *arguments]) in (console.DONE, console.SOME_FAILED)
    (ccd, path), = layout.find_cubes(tmp_path)
    with Cube(path) as cube:
        assert (ccd, cube.box, len(cube.cadences)) == (CcdId(1, 4, 3), Box(1901, 1906, 883, 888),
                                                       1282)
        assert cube.cadences.cadenceno[0] == 4697
        assert cube.observation.timestamp_shift_s == pytest.approx(-1.979 + 1.0 + 0.04)
        with fits.open(source) as hdus:
            np.testing.assert_array_equal(cube.read(cube.box)[0], hdus[1].data["FLUX"])
    assert layout.find_lightcurves(tmp_path / "lightcurves")
