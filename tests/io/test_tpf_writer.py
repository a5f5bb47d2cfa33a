import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits

from photometry.core.ffi import FfiHeader, Readout
from photometry.core.flags import ApertureFlag
from photometry.core.ids import CcdId, Target
from photometry.core.pixels import Box
from photometry.core.time import Cadences
from photometry.io.ffi_cards import Extras
from photometry.io.tpf import read_tpf
from photometry.io.tpf_writer import TpfContent, write_tpf
from photometry.scene.simulated_stamp import linear_wcs
from tests.scene.builders import sip_text

BOX = Box(700, 711, 508, 521)     # over the border between outputs A and B
NAME = "tess2018206192942-s0001-0000000182092046-0120-s_tp.fits.gz"


def make_content(n_cadences=8):
    rng = np.random.default_rng(9)
    shape = (n_cadences, *BOX.shape)
    time = 1325.3 + np.arange(n_cadences) / 720
    flux, background = rng.normal(50, 5, shape), rng.normal(90, 1, shape)
    header = FfiHeader(
        ccd=CcdId(1, 4, 1), origin="SPOC", box=BOX, time_start=time[0] - 0.5 / 720,
        time_stop=time[-1] + 0.5 / 720, timecorr=2e-3, cadenceno=70444, quality=0,
        exposure_s=95.04, cadence_s=120,
        readout=Readout(gain=(5.35, 5.22, 5.21, 5.18), read_noise=(10.1, 7.5, 7.3, 9.2),
                        num_frm=60, n_readout=48, crmiten=True, crblksz=10),
        data_rel=1, procver="test-1", background_applied=True,
        wcs_text=linear_wcs(sip_text(), 705.0, 514.0))
    return TpfContent(
        header=header,
        target=Target(182092046, 9.5, 316.0, -29.0, 705.2, 513.7, ra_j2000=316.0001,
                      dec_j2000=-29.0002, pm_ra=10.0, pm_dec=-20.0),
        cadences=Cadences(time, np.full(n_cadences, 2e-3), 70444 + np.arange(n_cadences),
                          np.array([0, 32] * (n_cadences // 2), dtype=np.int32),
                          np.full(n_cadences, 95.04)),
        flux=flux.astype(np.float32), flux_err=np.full(shape, 0.7, dtype=np.float32),
        background=background.astype(np.float32),
        background_err=np.full(shape, 0.2, dtype=np.float32),
        pos_corr=rng.normal(0, 0.1, (n_cadences, 2)),
        aperture=np.where(np.arange(BOX.shape[1]) == 6, 3, 1) * np.ones((11, 1), dtype=int))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / NAME
    write_tpf(path, make_content(), Extras(simulated=True, scconfig=120))
    return path


def test_content_is_read_back(path):
    content, found = make_content(), read_tpf(path)
    assert (found.ccd, found.cadence_s, found.pixels.box) == (CcdId(1, 4, 1), 120, BOX)
    assert found.star.starid == 182092046 and found.star.tmag == pytest.approx(9.5)
    assert found.star.ra_j2000 == pytest.approx(316.0001)
    for name in ("time", "cadenceno", "quality"):
        np.testing.assert_array_equal(getattr(found.pixels.cadences, name),
                                      getattr(content.cadences, name))
    np.testing.assert_array_equal(found.pixels.flux, content.flux)
    np.testing.assert_array_equal(found.pixels.background, content.background)
    np.testing.assert_allclose(found.pixels.flux_err, content.flux_err, rtol=1e-6)
    np.testing.assert_allclose(found.pos_corr, content.pos_corr, atol=1e-6)
    assert found.readout == content.header.readout


def test_aperture_names_the_outputs(path):
    with fits.open(path, memmap=False) as hdus:
        bits = hdus["APERTURE"].data
    assert np.all(bits[:, :4] & ApertureFlag.OUTPUT_A)
    assert np.all(bits[:, 4:] & ApertureFlag.OUTPUT_B) and not np.any(bits[:, 4:] & 32)
    assert np.all(bits[:, 6] & 2)


def test_layout_is_that_of_a_real_file(path, realdata):
    real = realdata / "pixels" / "tess25155310-s01-first-cadences_tp.fits.gz"
    # What only the mission's pipeline measures, or the simulated star does not have.
    unknown = {"CDPP0_5", "CDPP1_0", "CDPP2_0", "CROWDSAP", "FLFRCSAP", "PMTOTAL", "LOGG", "MH",
               "RADIUS", "TEFF"}
    with fits.open(path, memmap=False) as ours, fits.open(real, memmap=False) as theirs:
        assert [hdu.name for hdu in ours] == [hdu.name for hdu in theirs]
        for mine, other in zip(ours, theirs, strict=True):
            assert set(other.header) - set(mine.header) <= unknown
        assert ours[1].columns.names == theirs[1].columns.names
        assert ours[1].columns.units == theirs[1].columns.units
        assert ours[1].columns.disps == theirs[1].columns.disps


def test_equal_content_equal_bytes(path, tmp_path):
    again = tmp_path / "again" / NAME
    write_tpf(again, make_content(), Extras(simulated=True, scconfig=120))
    assert again.read_bytes() == path.read_bytes()


def test_fitsverify_finds_nothing(path):
    program = shutil.which("fitsverify")
    if program is None:
        pytest.skip("needs the program fitsverify")
    found = subprocess.run([program, "-q", path], capture_output=True, text=True, check=False)
    assert found.stdout.startswith("verification OK"), found.stdout
