"""What each drift means, in its own numbers."""

import numpy as np
import pytest
from scipy import stats

from vqtheory.streams import Fading, Gaussian, Jump, Oscillation, RandomWalk, Rotation, Scaling, Stream, Translation, Uniform


def positions(drift, steps, dim=1, seed=0):
    return drift.motion(0, steps, dim, seed).shift


def test_translation_stops_at_its_limit():
    assert positions(Translation(speed=-0.5, limit=1.2), 5).ravel().tolist() == [0, -0.5, -1, -1.2, -1.2]


def test_scaling_multiplies_the_distance_from_the_mean():
    law = Stream(Uniform(2), Scaling(rate=np.log(2))).at(3)
    assert law.mean.tolist() == [0.5, 0.5]
    np.testing.assert_allclose(law.density(np.array([[-3.4, 4.4], [-3.6, 0]])), [1 / 64, 0])
    np.testing.assert_allclose(law.now.apply(np.array([[[1.0, 0.75]]]), law.mean), [[[4.5, 2.5]]])


@pytest.mark.parametrize(("rate", "limit"), [(0.1, 3.0), (-0.1, 0.2)])
def test_scaling_stops_at_its_limit(rate, limit):
    factor = Scaling(rate, limit).motion(0, 100, dim=1, seed=0).factor
    assert factor[1] == pytest.approx(np.exp(rate), rel=1e-12)
    np.testing.assert_allclose(factor[20:], limit)
    assert (np.diff(factor) * np.sign(rate) >= 0).all()


@pytest.mark.parametrize("rate", [1.0, -1.0])
def test_scaling_on_and_on_stays_finite(rate):
    stream = Stream(Gaussian(1), Scaling(rate))
    assert np.isfinite(stream.draw(0, 5000, 1, seed=0, displacement=True).x ** 2).all()
    law = stream.at(5000)
    assert 0 < law.density(law.mean[None])[0] < np.inf


def test_scaling_scales_the_optimum_by_its_square():
    source = Uniform(1)
    object.__setattr__(source, "optimum", lambda num_codes: 1 / (12 * num_codes**2))  # known, without computing it
    assert Stream(source, Scaling(rate=np.log(3))).at(1).optimum(2) == pytest.approx(9 / 48)


def test_rotation_turns_the_first_two_axes_about_the_mean():
    law = Stream(Uniform(3), Rotation(rate=np.pi / 4)).at(2)
    np.testing.assert_allclose(law.now.apply(np.array([[[1.0, 0.5, 0.9]]]), law.mean), [[[0.5, 1.0, 0.9]]])
    assert not law.velocity.any()  # a cloud that turns about its mean does not drift


def test_random_walk_increments_are_independent_normals():
    scale, steps = 0.3, 30_000
    moves = np.diff(positions(RandomWalk(scale), steps, dim=2, seed=4), axis=0) / scale
    squares = (moves**2).sum()
    assert 1e-4 < stats.chi2.cdf(squares, moves.size) < 1 - 1e-4
    for one, other in [(moves[:, 0], moves[:, 1]), (moves[1:, 0], moves[:-1, 0]), (moves[8192:, 0], moves[:-8192, 0])]:
        assert abs(one @ other) < 4 * np.sqrt(len(one))  # the sum of products of independent normals
    assert stats.kstest(moves.ravel(), "norm").pvalue > 1e-4


def test_random_walk_depends_on_the_seed_and_not_on_the_samples():
    walk = RandomWalk(0.1)
    assert not np.array_equal(positions(walk, 50, seed=0), positions(walk, 50, seed=1))
    laws = [Stream(source, walk).at(40, seed=3) for source in (Uniform(2), Gaussian(2))]
    assert np.array_equal(laws[0].now.shift, laws[1].now.shift)


def test_oscillation_is_a_sine():
    shift = positions(Oscillation(amplitude=2.0, period=8, direction=[0, -1]), 9, dim=2)
    np.testing.assert_allclose(shift[:, 1], -2 * np.sin(np.pi / 4 * np.arange(9)), atol=1e-14)
    assert not shift[:, 0].any()
    late = Oscillation(amplitude=1.0, period=7.0).motion(7 * 10**12, 7, dim=1, seed=0).shift
    assert np.array_equal(late, positions(Oscillation(amplitude=1.0, period=7.0), 7))


def test_jump_moves_once():
    stream = Stream(Uniform(1), Jump(at=3, by=-2.0))
    moved = stream.draw(0, 6, 2, seed=0, displacement=True).displacement
    assert np.flatnonzero(moved[:, 0, 0]).tolist() == [3]
    np.testing.assert_allclose(moved[3], -2)
    assert positions(Jump(at=1, by=(1.0, 2.0)), 2, dim=2).tolist() == [[0, 0], [1, 2]]


@pytest.mark.parametrize("half_life", [0.01, 1, 7.5, 1e9])
def test_fading_is_the_sum_of_its_moves(half_life):
    shift = positions(Fading(speed=0.3, half_life=half_life), 60).ravel()
    assert shift[1] == 0.3
    moves = 0.3 * 2.0 ** (-np.arange(59) / half_life)
    np.testing.assert_allclose(shift[1:], np.cumsum(moves), rtol=1e-13)


def test_directions_are_normalised():
    for drift in (Translation(1.0, [3, 4]), Fading(1.0, 1, [3, 4])):
        np.testing.assert_allclose(positions(drift, 2, dim=2)[1], [0.6, 0.8])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Translation(speed="fast"), "The 'speed' parameter of Translation must be a finite number. Got 'fast'."),
        (lambda: Translation(1.0, limit=-1), "The 'limit' parameter of Translation must be a number >= 0. Got -1."),
        (lambda: Translation(1.0, direction=[0, 0]), "The 'direction' parameter of Translation must be .* not all zero"),
        (lambda: Translation(1.0, direction=["a"]), "The 'direction' parameter of Translation must be a sequence of finite"),
        (lambda: Scaling(rate=np.nan), "The 'rate' parameter of Scaling must be a finite number. Got nan."),
        (lambda: Scaling(rate=1.0, limit=0), "The 'limit' parameter of Scaling must be a number > 0. Got 0."),
        (lambda: Scaling(rate=1.0, limit=0.5), "The 'limit' parameter of Scaling must be >= 1 where the rate is positive"),
        (lambda: Scaling(rate=-1.0, limit=2), "The 'limit' parameter of Scaling must be <= 1 where the rate is negative"),
        (lambda: Rotation(rate=None), "The 'rate' parameter of Rotation must be a finite number. Got None."),
        (lambda: RandomWalk(scale=-1), "The 'scale' parameter of RandomWalk must be a number >= 0. Got -1."),
        (lambda: Oscillation(1.0, period=0), "The 'period' parameter of Oscillation must be a number > 0. Got 0."),
        (
            lambda: Oscillation(np.inf, period=1),
            "The 'amplitude' parameter of Oscillation must be a finite number. Got inf.",
        ),
        (lambda: Jump(at=-1, by=1.0), "The 'at' parameter of Jump must be an int >= 0. Got -1."),
        (lambda: Jump(at=1.5, by=1.0), "The 'at' parameter of Jump must be an int >= 0. Got 1.5."),
        (lambda: Jump(at=1, by=[np.nan]), "The 'by' parameter of Jump must be a sequence of finite floats"),
        (lambda: Jump(at=1, by=[[1.0], [1.0, 2.0]]), "The 'by' parameter of Jump must be a sequence of finite floats"),
        (lambda: Fading(1.0, half_life=-3), "The 'half_life' parameter of Fading must be a number > 0. Got -3."),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
