"""The law of a drift that changes: its limits are the steady laws, and it is the mean motion where that is known."""

import math
import re

import numpy as np
import pytest
from scipy import special, stats

import vqtheory.theory.continuum as continuum
from vqtheory import theory
from vqtheory.reference import cell_moment
from vqtheory.rules import VQ
from vqtheory.schedules import exponential
from vqtheory.streams import Gaussian
from vqtheory.theory import transient_codes


@pytest.mark.parametrize(
    ("density", "speed", "direction"),
    [(None, 1e-4, 1), (None, -1e-4, 1), (Gaussian(dim=1), 3e-4, 1), (stats.triang(0.2), 3e-4, -1)],
)
def test_a_long_steady_drift_leaves_the_survivors_of_the_exact_law(density, speed, direction):
    alive = transient_codes(48, 1.0, velocity=direction * speed, density=density, steps=150_000, records=1).alive
    law = theory.surviving_codes(abs(speed), 1.0, density=density, direction=direction)
    assert alive.tolist() == [48, law]


def test_a_steady_drift_of_a_large_codebook_leaves_as_many_as_high_resolution(monkeypatch):
    monkeypatch.setattr(continuum, "MOST_NODES", 128)
    alive = transient_codes(512, 1.0, velocity=1e-6, steps=5_000_000, records=1).alive[-1]
    assert alive == pytest.approx(theory.high_resolution_codes(1e-6), abs=512 / 128)


def test_a_cloud_that_grows_or_shrinks_steadily_keeps_as_many_as_the_steady_laws_say():
    grown = transient_codes(64, 1.0, growth=1e-3, steps=20_000, records=1)
    assert grown.alive[-1] == pytest.approx(theory.uncrowded_codes(1e-3, 1.0), abs=1)
    for num_codes, rate in ((32, 1e-3), (33, 1e-3), (33, 1e-2)):
        shrunk = transient_codes(num_codes, 1.0, growth=-rate, steps=50_000, records=1).alive[-1]
        assert theory.shrink_surviving_codes(rate, 1.0) - shrunk in (0, 1)  # codes are lost in pairs


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_ball_that_grows_or_shrinks_steadily_keeps_the_integral_of_the_density_of_codes(dim, sign):
    """K = integral of (eta M f / (Phi - Phi_min))^(D/(D+2)) with Phi = g |u|^2 / 2, in shells of radius q of a unit ball."""
    growth, power = 1e-3, dim / (dim + 2)
    volume = math.pi ** (dim / 2) / math.gamma(dim / 2 + 1)
    shells = special.beta(dim / 2, 1 - power) / 2 if sign < 0 else 1 / (dim - 2 * power)
    law = dim * volume * (2 * cell_moment(dim) / (volume * growth)) ** power * shells
    codes = transient_codes(200, 1.0, growth=sign * growth, dim=dim, steps=15_000, records=1)
    assert codes.alive[-1] == pytest.approx(law, rel=0.05)


def test_a_ball_of_one_dimension_is_the_line():
    codes = np.sort(np.random.default_rng(0).uniform(0, 0.7, 12))  # the last ones are outside of the cloud
    line, ball = continuum._line("test", 24, stats.uniform()), continuum._ball(12, 1)
    both = np.concatenate([-codes[::-1], codes])
    np.testing.assert_allclose(ball.push(2 * codes) / 16, line.push(both)[12:], rtol=0, atol=1e-15)
    np.testing.assert_allclose(ball.masses(2 * codes) / 2, line.masses(both)[12:], rtol=0, atol=1e-15)
    np.testing.assert_allclose(ball.start / 2, line.start[12:], rtol=0, atol=1e-12)


def test_one_dimension_is_the_mean_motion_of_the_codes():
    speed = exponential(1e-3, half_life=1000)
    transient = transient_codes(16, 1.0, velocity=speed, steps=2000, records=40)
    start = theory.fixed_point(VQ(1.0), stats.uniform(), np.linspace(0.1, 0.9, 16))
    motion = theory.mean_motion(VQ(1.0), stats.uniform(), start, 2000, speed=speed, records=40)
    np.testing.assert_array_equal(transient.times, motion.times)
    difference = np.abs(transient.alive - motion.alive.sum(axis=1))
    assert difference.max() <= 1
    assert np.sum(difference) <= 2  # a code that is lost close to a record
    assert len(set(transient.alive)) > 5


def test_fewer_places_stand_for_more_codes(monkeypatch):
    growth = np.repeat([math.log(40) / 4000, 0.0], 4000)
    every = [transient_codes(240, 1.0, growth=growth, velocity=1e-5, records=8).carrying]
    monkeypatch.setattr(continuum, "MOST_NODES", 80)
    every.append(transient_codes(240, 1.0, growth=growth, velocity=1e-5, records=8).carrying)
    np.testing.assert_allclose(*every, rtol=0, atol=1.5 * 240 / 80)


@pytest.mark.parametrize(("num_codes", "dim"), [(32, 1), (96, 2)])
def test_codes_that_growth_has_crowded_out_come_back_at_rest(num_codes, dim):
    growth = np.repeat([math.log(40) / 2000, 0.0], [2000, 100_000])
    codes = transient_codes(num_codes, 1.0, growth=growth, dim=dim, records=51)
    assert codes.carrying[1] < 0.7 * num_codes
    assert np.all(np.diff(codes.carrying[1:]) >= 0)
    assert codes.carrying[-1] == codes.alive[-1] == num_codes


def test_what_a_drift_has_left_behind_does_not_come_back_at_rest():
    speeds = np.concatenate([np.repeat([1e-4, 1e-3, 3e-4], 5000), np.zeros(20_000)])
    alive = transient_codes(32, 1.0, velocity=speeds, records=35).alive
    assert alive[-1] == theory.surviving_codes(1e-3, 1.0)
    assert np.all(np.diff(alive) <= 0)


def test_a_short_jump_is_not_stepped_over():
    """Eight of sixteen codes are behind the cloud, and the others spread, whatever the run's length."""
    for steps in (2000, 200_000):
        speeds = np.zeros(steps)
        speeds[steps // 2 : steps // 2 + 5] = 0.1
        alive = transient_codes(16, 1.0, velocity=speeds, records=1).alive[-1]
        assert alive - theory.jump_surviving_codes(16, 0.5) in (0, 1)  # the law is a lower bound


def test_numbers_schedules_and_arrays_are_one_and_fast_noise_is_averaged():
    steps = 3000
    noise = 1e-3 * (-1.0) ** np.arange(steps)
    ways = [
        {"velocity": 1e-3, "steps": steps},
        {"velocity": lambda t: 1e-3 + 0 * t, "steps": steps},
        {"velocity": np.full(steps, 1e-3)},
        {"velocity": (1e-3 + noise).tolist(), "step_size": np.ones(steps)},
    ]
    alive = [transient_codes(24, **{"step_size": 1.0, **way}, records=20).alive for way in ways]
    for other in alive[1:]:
        np.testing.assert_allclose(other, alive[0], rtol=0, atol=1)
    assert alive[0][-1] == 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: transient_codes(4, 1.0), "The 'steps' parameter of transient_codes must be given where no array says"),
        (lambda: transient_codes(4, 1.0, velocity=[0.1, np.nan]), "must be finite. Got nan at index (1,)."),
        (
            lambda: transient_codes(4, 1.0, velocity=np.ones(3), growth=np.ones(2)),
            "The 'growth' parameter of transient_codes must be an array of 3 numbers, one for each update.",
        ),
        (
            lambda: transient_codes(4, [0.1, -0.1]),
            "The 'step_size' parameter of transient_codes must be a number >= 0 and <= 100. Got -0.1.",
        ),
        (lambda: transient_codes(4, 1.0, growth=20.0, steps=3), "must be a number >= -10 and <= 10. Got 20.0."),
        (
            lambda: transient_codes(4, 1.0, velocity=0.1, dim=2, steps=3),
            "The 'velocity' parameter of transient_codes must be 0 where dim > 1",
        ),
        (
            lambda: transient_codes(4, 1.0, density=stats.norm(), dim=2, steps=3),
            "The 'density' parameter of transient_codes must be None where dim > 1",
        ),
        (lambda: transient_codes(4, 1.0, dim=65, steps=3), "of transient_codes must be an int in [1, 64]. Got 65."),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
