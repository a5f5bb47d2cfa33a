"""What a target pixel file of a simulated star shows."""

from dataclasses import replace

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from photometry.core.flags import ApertureFlag
from photometry.core.pixels import Box
from photometry.scene import wcs
from photometry.scene.detector import SATURATION
from photometry.scene.pointing import Pointing
from photometry.scene.simulate import Scene, ideal_image, observe

BRIGHTEST_TMAG = 7.0              # stars below it bleed out of a stamp
EDGE_PX = 7                       # targets keep this distance from the edges of the box
HALF_SIZE = 5                     # stamps are 11 x 11 pixels, as the mission's
REACH_PX = 30                     # stars this far outside a stamp shine into it
APERTURE_SHARE = 0.02             # of a star's light in a pixel of its optimal aperture


def choose_targets(scene: Scene, tmag: NDArray, count: int) -> NDArray[np.int_]:
    """Return the brightest unsaturated stars (`count` at most) well inside a box."""
    inside = scene.box.contains(scene.row, scene.column, -EDGE_PX)
    fit = np.flatnonzero(inside & (tmag > BRIGHTEST_TMAG))
    return fit[np.argsort(tmag[fit], kind="stable")][:count]


def stamp_scene(scene: Scene, star: int) -> Scene:
    """Return the part of a scene that matters for one star's stamp."""
    row, column = round(scene.row[star]), round(scene.column[star])
    box = Box(row - HALF_SIZE, row + HALF_SIZE + 1, column - HALF_SIZE, column + HALF_SIZE + 1)
    near = np.flatnonzero(box.contains(scene.row, scene.column, REACH_PX)
                          | (scene.flux > SATURATION))
    varies = np.isin(scene.variable_index, near)
    return replace(
        scene, box=box, row=scene.row[near], column=scene.column[near], flux=scene.flux[near],
        variable_index=np.searchsorted(near, scene.variable_index[varies]),
        variation=scene.variation[varies])


def observe_stamp(scene: Scene, rng: np.random.Generator,
                  background_error: float) -> tuple[NDArray, NDArray, NDArray]:
    """Return flux with the background taken off, its error, and the background; (T, R, C).

    Parameters
    ----------
    background_error
        Relative, of the background in all pixels of a cadence together.
    """
    images, errors, sky = [], [], []
    for index in range(len(scene.pointing.shift)):
        image, error = observe(ideal_image(scene, index), scene.box, scene.readout, rng)
        off = background_error * rng.standard_normal()
        background = scene.sky.evaluate(index, scene.box) * (1.0 + off)
        images.append(image - background)
        errors.append(error)
        sky.append(background)
    return tuple(np.array(cube, dtype=np.float32) for cube in (images, errors, sky))


def aperture(scene: Scene, row: float, column: float) -> NDArray[np.int32]:
    """Return the aperture image (R, C): collected pixels, and those that hold the star."""
    share = scene.prf(scene.box, np.array([row]), np.array([column]), np.ones(1), 0.0)
    optimal = int(ApertureFlag.PHOTOMETRY | ApertureFlag.CENTROID)
    return np.where(share > APERTURE_SHARE, optimal, 0).astype(np.int32) | ApertureFlag.COLLECTED


def resampled(pointing: Pointing, time: NDArray, finer: NDArray) -> Pointing:
    """Return the pointing at other times, interpolated; dumps are left out.

    Parameters
    ----------
    time : (T,)
        Of the frames of `pointing`, days.
    finer : (K,)
    """
    def at(values: NDArray) -> NDArray:
        flat = values.reshape(len(time), -1)
        return np.stack([np.interp(finer, time, column) for column in flat.T],
                        axis=1).reshape(len(finer), *values.shape[1:])

    return Pointing(at(pointing.shift), at(pointing.gradient), pointing.center,
                    at(pointing.broadening), np.zeros(len(finer), dtype=bool))


def linear_wcs(text: str, row: float, column: float) -> str:
    """Return a plain tangential projection that agrees with a WCS at one position."""
    ra, dec = (float(angle[0]) for angle in wcs.to_sky(text, row, column))
    step = 0.5
    around = wcs.to_sky(text, row + step * np.array([0, 0, 1, -1]),
                        column + step * np.array([1, -1, 0, 0]))
    plane = _gnomonic(*around, ra, dec)
    cd = np.stack([plane[:, 0] - plane[:, 1], plane[:, 2] - plane[:, 3]], axis=1) / (2 * step)
    scale = float(np.sqrt(np.abs(np.linalg.det(cd))))
    header = fits.Header()
    header.update({
        "WCSAXES": 2, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": column + 1,
        "CRPIX2": row + 1, "CRVAL1": ra, "CRVAL2": dec, "CUNIT1": "deg", "CUNIT2": "deg",
        "CDELT1": -scale, "CDELT2": scale,
        "PC1_1": -cd[0, 0] / scale, "PC1_2": -cd[0, 1] / scale,
        "PC2_1": cd[1, 0] / scale, "PC2_2": cd[1, 1] / scale,
        "RADESYS": "ICRS", "EQUINOX": 2000.0})
    return header.tostring(endcard=False, padding=False)


def _gnomonic(ra: NDArray, dec: NDArray, ra0: float, dec0: float) -> NDArray[np.float64]:
    """Return standard coordinates (2, N), degrees, about a tangent point."""
    away, dec, dec0 = np.radians(ra - ra0), np.radians(dec), np.radians(dec0)
    depth = np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(away)
    east = np.cos(dec) * np.sin(away)
    north = np.sin(dec) * np.cos(dec0) - np.cos(dec) * np.sin(dec0) * np.cos(away)
    return np.degrees(np.array([east, north]) / depth)
