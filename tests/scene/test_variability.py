import numpy as np
import pytest

from photometry.scene.variability import KINDS, Variable, brightness, choose_hosts, draw

START = 1325.0 + np.arange(0, 3, 200 / 86400)
STOP = START + 200 / 86400


def test_transit_has_its_depth_duration_and_period():
    star = Variable("transit", period=1.4, epoch=1325.6, depth=0.01, duration=0.125)
    light = brightness(star, START, STOP)
    assert light.min() == pytest.approx(0.99, abs=1e-5)
    dip = 0.5 * (START + STOP)[light < 1 - 1e-9]
    first = dip[dip < 1326.0]
    assert np.ptp(first) == pytest.approx(0.125, abs=0.005)
    assert first.mean() == pytest.approx(1325.6, abs=0.002)
    assert dip[dip > 1326.0].mean() == pytest.approx(1327.0, abs=0.002)


def test_transit_is_deeper_in_the_middle_than_at_the_limb():
    star = Variable("transit", period=5.0, epoch=1325.6, depth=0.01, duration=0.125)
    light = brightness(star, START, STOP)
    near_limb = light[np.argmin(np.abs(START - 1325.6 + 0.045))]
    assert 0.99 + 5e-4 < near_limb < 0.999


def test_eclipses_alternate():
    star = Variable("eclipse", period=1.0, epoch=1325.3, depth=0.3, duration=0.15,
                    second_depth=0.1, ingress=0.35)
    light = brightness(star, START, STOP)
    assert light[np.argmin(np.abs(START - 1325.3))] == pytest.approx(0.7, abs=1e-3)
    assert light[np.argmin(np.abs(START - 1325.8))] == pytest.approx(0.9, abs=1e-3)
    assert light[np.argmin(np.abs(START - 1325.55))] == 1


def test_exposures_average_the_light():
    star = Variable("pulsation", period=0.1, epoch=1325.0, depth=0.05)
    long = brightness(star, np.array([1325.2]), np.array([1325.3]))
    assert long[0] == pytest.approx(1.0, abs=1e-12)
    half = brightness(star, np.array([1325.2]), np.array([1325.25]))
    assert half[0] == pytest.approx(1 + 0.05 * 2 / np.pi, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_drawn_stars_vary_within_the_frames(kind):
    rng = np.random.default_rng(8)
    for _ in range(10):
        light = brightness(draw(kind, START[0], STOP[-1], rng), START, STOP)
        assert np.ptp(light) > 0.002
        assert light.min() > 0.3


def test_hosts_are_unsaturated_and_allowed():
    tmag = np.linspace(4, 16, 200)
    allowed = np.arange(200) % 2 == 0
    hosts = choose_hosts(tmag, allowed, np.random.default_rng(3))
    assert len(hosts) >= 9 and len(set(hosts)) == len(hosts)
    assert np.all(allowed[hosts]) and np.all(np.diff(tmag[hosts]) > 0)
    assert tmag[hosts].min() > 7.5 and tmag[hosts].max() < 13
    fainter = choose_hosts(tmag, allowed, np.random.default_rng(3), (7.5, 15.0))
    assert 13 < tmag[fainter].max() < 15
    assert len(choose_hosts(tmag, np.zeros(200, dtype=bool), np.random.default_rng(3))) == 0
