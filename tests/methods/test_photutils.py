"""Sums and centroids against those of photutils."""

import numpy as np
import pytest
from photutils.segmentation import SegmentationImage, SourceCatalog

from photometry.core.flags import ApertureFlag
from photometry.methods import aperture
from tests.factories import make_stamp


@pytest.mark.parametrize("tmag", [8.0, 11.0])
def test_fluxes_and_centroids_agree_with_photutils(tmag):
    stamp, _ = make_stamp(tmag=tmag, shape=(23, 25), cadences=6, jitter=0.05)
    found = aperture.measure(stamp)
    mask = (found.aperture & int(ApertureFlag.PHOTOMETRY)) > 0
    core = (found.aperture & int(ApertureFlag.CENTROID)) > 0
    segment, middle = (SegmentationImage(part.astype(int)) for part in (mask, core))
    for cadence, frame in enumerate(stamp.pixels.flux):
        (theirs,) = SourceCatalog(frame.astype(float), segment)
        assert found.lightcurve.flux[cadence] == pytest.approx(theirs.segment_flux, rel=1e-6)
        (their_core,) = SourceCatalog(frame.astype(float), middle)
        column, row = np.array(their_core.centroid) + stamp.pixels.box.offset[::-1]
        assert found.lightcurve.row[cadence] == pytest.approx(row, abs=1e-4)
        assert found.lightcurve.column[cadence] == pytest.approx(column, abs=1e-4)
