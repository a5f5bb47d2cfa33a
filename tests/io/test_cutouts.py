import gzip
import tracemalloc

import numpy as np
import pytest

from photometry.core.errors import InputError
from photometry.core.pixels import Box
from photometry.io.cutouts import read_cutout, read_cutout_headers
from photometry.io.ephemeris import barycentric_correction, star_correction
from photometry.scene import wcs
from tests.io.cutout_files import (
    BOX,
    CADENCE_S,
    CCD,
    EXPOSURE_S,
    FIRST,
    MIDDLE,
    light,
    whole_wcs,
    write_cutout,
)

NAMES = {False: "tess-s0027-2-3_316.1_-52.7_9x7_astrocut.fits",
         True: "tica-s0027-2-3_316.1_-52.7_9x7_astrocut.fits"}
SPACECRAFT = MIDDLE + np.arange(5) * CADENCE_S / 86400


@pytest.mark.parametrize("tica", [False, True])
def test_images_of_the_current_layout(tmp_path, tica):
    flux = light()
    path = write_cutout(tmp_path / NAMES[tica], flux, tica=tica)
    headers = read_cutout_headers(path)
    first = headers[0]
    assert (first.ccd, first.box, first.cadence_s, first.origin) == (
        CCD, BOX, CADENCE_S, "TICACUT" if tica else "TESSCUT")
    assert [header.cadenceno for header in headers] == list(range(FIRST, FIRST + 5))
    assert first.exposure_s == pytest.approx(EXPOSURE_S)
    assert (first.readout.num_frm, first.readout.n_readout, first.readout.crblksz) == (
        300, 240, 10)
    # TICA's bits are not the mission's.
    assert [header.quality for header in headers] == [0, 0 if tica else 32, 0, 0, 0]
    assert "do not tell where on the CCD" in first.notes[0]
    image = read_cutout(path, 3)
    assert image.header == headers[3]
    np.testing.assert_allclose(image.image, flux[3], rtol=1e-6)
    read_noise = np.array(first.readout.read_noise)[BOX.column0 // 512]
    expected = (np.sqrt(0.844 * (flux[3] * EXPOSURE_S + 240 * read_noise**2)) / EXPOSURE_S
                if tica else np.sqrt(0.844) * np.sqrt(flux[3]) / 20)
    np.testing.assert_allclose(image.error, expected, rtol=1e-3)


@pytest.mark.parametrize("tica", [False, True])
@pytest.mark.parametrize("linear", [False, True])
def test_a_star_has_the_right_time_whatever_the_coordinates(tmp_path, tica, linear):
    text = None if linear else whole_wcs()
    path = write_cutout(tmp_path / NAMES[tica], light(), tica=tica, coordinates=text)
    headers = read_cutout_headers(path)
    timecorr = np.array([header.timecorr for header in headers])
    spacecraft = np.array([header.time for header in headers]) - timecorr
    np.testing.assert_allclose(spacecraft, SPACECRAFT, rtol=0, atol=2e-3 / 86400)
    ra, dec = wcs.to_sky(headers[0].wcs_text, 803, 1204)
    middle = tuple(float(angle[0]) for angle in wcs.to_sky(headers[0].wcs_text, 1023, 1023))
    found = star_correction(spacecraft, timecorr, headers[0].observer, np.full((5, 3), np.nan),
                            middle, ra[0], dec[0])
    # The simulated times are those at the middle of the Earth.
    np.testing.assert_allclose(found, barycentric_correction(spacecraft, ra[0], dec[0]), rtol=0,
                               atol=1e-3 / 86400)


@pytest.mark.parametrize("place", ["aperture", "columns"])
def test_a_place_that_is_told_is_taken(tmp_path, place):
    path = write_cutout(tmp_path / NAMES[False], light(), place=place)
    header = read_cutout_headers(path)[0]
    assert (header.box, header.notes) == (BOX, ())


def test_a_cutout_at_the_edge_keeps_its_place(tmp_path):
    box = Box(800, 807, -4, 5)
    path = write_cutout(tmp_path / NAMES[False], light(box=box), box, place="aperture",
                        coordinates=whole_wcs(box))
    header = read_cutout_headers(path)[0]
    assert (header.box, header.notes) == (Box(800, 807, 0, 5), ())
    np.testing.assert_array_equal(read_cutout(path, 0).image, light(box=box)[0][:, 4:])


def test_early_times_are_known_to_be_wrong_after_astrocut_too(tmp_path):
    path = write_cutout(tmp_path / NAMES[False], light(), primary={"DATA_REL": 2})
    assert read_cutout_headers(path)[0].procver.startswith("spoc-")
    tica = write_cutout(tmp_path / NAMES[True], light(), tica=True)
    assert read_cutout_headers(tica)[0].procver == "1.0.1"


def test_an_empty_frame_has_no_value(tmp_path):
    flux = light()
    flux[2] = 0
    path = write_cutout(tmp_path / NAMES[False], flux)
    assert np.isnan(read_cutout(path, 2).image).all()
    assert np.isfinite(read_cutout(path, 1).image).all()


def test_images_are_read_one_at_a_time_also_gzipped(tmp_path):
    flux = light(300, box=Box(800, 840, 1200, 1240))
    path = write_cutout(tmp_path / NAMES[False], flux, Box(800, 840, 1200, 1240))
    size = path.stat().st_size
    packed = tmp_path / (path.name + ".gz")
    packed.write_bytes(gzip.compress(path.read_bytes(), 1))
    for name in (path, packed):
        tracemalloc.start()
        try:
            assert len(read_cutout_headers(name)) == 300
            for plane in (0, 1, 150, 299, 7):
                np.testing.assert_array_equal(read_cutout(name, plane).image, flux[plane])
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 0.25 * size


@pytest.mark.parametrize("packed", [False, True])
def test_a_cutout_that_ends_early(tmp_path, packed):
    path = write_cutout(tmp_path / NAMES[False], light(20, box=Box(800, 840, 1200, 1240)),
                        Box(800, 840, 1200, 1240))
    content = path.read_bytes()
    content = gzip.compress(content) if packed else content
    path.write_bytes(content[:len(content) // 2])
    with pytest.raises(InputError, match="truncated"):
        read_cutout_headers(path)
