"""Stars that vary: transits, eclipses and pulsations, each with exactly known light."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KINDS = ("transit", "eclipse", "pulsation")
HOST_TMAG = (7.5, 13.0)           # of stars made variable
HOST_SHARE = 0.3                  # of the stars in that range
HOSTS_AT_LEAST = 9
_SUBSAMPLES = 15                  # per exposure
_HOUR = 1 / 24

# Quadratic limb darkening of a solar-type star in the TESS band (Claret 2017, A&A 600, A30).
LIMB_DARKENING = (0.30, 0.27)


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable star; unused numbers are zero."""

    kind: str
    period: float                 # days
    epoch: float                  # BTJD of mid-transit, of primary eclipse, or of zero phase
    depth: float                  # relative: of mid-transit, primary eclipse; amplitude
    duration: float = 0.0         # days, first to last contact
    second_depth: float = 0.0     # secondary eclipse; amplitude of the first overtone
    ingress: float = 0.15         # share of the duration from first to second contact


def brightness(star: Variable, start: NDArray, stop: NDArray) -> NDArray[np.float64]:
    """Return the flux (T,) relative to quiet light, averaged over exposures.

    Parameters
    ----------
    start, stop : (T,)
        BTJD.
    """
    steps = (np.arange(_SUBSAMPLES) + 0.5) / _SUBSAMPLES
    time = start[:, None] + (stop - start)[:, None] * steps
    return _LIGHT[star.kind](star, time).mean(axis=1)


def _transit(star: Variable, time: NDArray) -> NDArray[np.float64]:
    distance = np.abs(_phase_time(star, time)) / (0.5 * star.duration)
    # A chord across the middle of the star: its limb is at the middle of the ingress.
    position = np.clip(distance / (1 - star.ingress), 0.0, 1.0)
    mu = np.sqrt(1 - position**2)
    u1, u2 = LIMB_DARKENING
    intensity = 1 - u1 * (1 - mu) - u2 * (1 - mu) ** 2
    return 1 - star.depth * intensity * _covered(star, distance)


def _eclipse(star: Variable, time: NDArray) -> NDArray[np.float64]:
    primary = np.abs(_phase_time(star, time)) / (0.5 * star.duration)
    secondary = np.abs(_phase_time(star, time + 0.5 * star.period)) / (0.5 * star.duration)
    return (1 - star.depth * _covered(star, primary)
            - star.second_depth * _covered(star, secondary))


def _pulsation(star: Variable, time: NDArray) -> NDArray[np.float64]:
    phase = 2 * np.pi * (time - star.epoch) / star.period
    return 1 + star.depth * np.sin(phase) + star.second_depth * np.sin(2 * phase + 0.7)


_LIGHT = {"transit": _transit, "eclipse": _eclipse, "pulsation": _pulsation}


def _phase_time(star: Variable, time: NDArray) -> NDArray[np.float64]:
    """Return the time from the nearest event, days."""
    return (time - star.epoch + 0.5 * star.period) % star.period - 0.5 * star.period


def _covered(star: Variable, distance: NDArray) -> NDArray[np.float64]:
    """Return 1 between second and third contact, 0 outside first and last, linear between."""
    return np.clip((1 - distance) / (2 * star.ingress), 0.0, 1.0)


def choose_hosts(tmag: NDArray, allowed: NDArray, rng: np.random.Generator,
                 host_tmag: tuple[float, float] = HOST_TMAG) -> NDArray[np.int64]:
    """Return which stars (V,) are made variable, brightest first: those in a range of Tmag."""
    fit = np.flatnonzero(allowed & (tmag > host_tmag[0]) & (tmag < host_tmag[1]))
    count = min(len(fit), max(HOSTS_AT_LEAST, round(HOST_SHARE * len(fit))))
    chosen = rng.choice(fit, count, replace=False)
    return chosen[np.argsort(tmag[chosen], kind="stable")].astype(np.int64)


def draw(kind: str, begin: float, end: float, rng: np.random.Generator) -> Variable:
    """Draw a variable star whose events fall between two times, BTJD."""
    span = end - begin
    epoch = begin + span * rng.uniform(0.15, 0.85)
    if kind == "transit":
        return Variable(kind, period=rng.uniform(0.6, 6.0), epoch=epoch,
                        depth=10 ** rng.uniform(-2.5, -1.7), duration=rng.uniform(2, 4) * _HOUR)
    if kind == "eclipse":
        depth = rng.uniform(0.05, 0.4)
        return Variable(kind, period=rng.uniform(0.8, 4.0), epoch=epoch, depth=depth,
                        duration=rng.uniform(3, 5) * _HOUR,
                        second_depth=depth * rng.uniform(0.2, 0.8), ingress=0.35)
    amplitude = 10 ** rng.uniform(-2.5, -1.3)
    return Variable("pulsation", period=10 ** rng.uniform(-0.9, 0.0), epoch=epoch,
                    depth=amplitude, second_depth=0.3 * amplitude)
