"""What each source of closed form means."""

import numpy as np
import pytest
from scipy import stats

from vqtheory.streams import Distribution, Gaussian, Mixture, Ring, Stream, Uniform


def samples(source, size=20_000, seed=0):
    return source.sample(np.random.default_rng(seed), size)


def test_uniform_and_gaussian_are_what_they_say():
    for source, law in [(Uniform(2), stats.uniform()), (Gaussian(2), stats.norm())]:
        for axis in samples(source).T:
            assert stats.kstest(axis, law.cdf).pvalue > 1e-5


def test_ring_is_uniform_on_its_area():
    source = Ring(radius=2, width=1)
    x = samples(source)
    distance, angle = np.hypot(*x.T), np.arctan2(x[:, 1], x[:, 0])
    assert distance.min() >= 1.5
    assert distance.max() <= 2.5
    assert stats.kstest(distance**2, stats.uniform(1.5**2, 2.5**2 - 1.5**2).cdf).pvalue > 1e-5
    assert stats.kstest(angle, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-5
    assert source.density(np.array([[2.0, 0.0]]))[0] == pytest.approx(1 / (2 * np.pi * 2 * 1))  # circumference times width


def test_a_ring_of_full_width_is_a_disc():
    assert Ring(radius=1, width=2).density(np.zeros((1, 2)))[0] == pytest.approx(1 / (4 * np.pi))


def test_mixture_scale_is_a_standard_deviation_and_weights_are_shares():
    source = Mixture(means=[[0.0, 0.0], [100.0, 0.0]], scale=2.0, weights=[3, 1])
    x = samples(source, 40_000)
    far = x[:, 0] > 50
    assert abs(far.mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / len(x))
    spread = x[~far].std()
    assert abs(spread - 2) < 5 * 2 / np.sqrt(2 * 2 * (~far).sum())  # the error of a normal's standard deviation
    assert source.mean.tolist() == [25, 0]


def test_mixture_on_the_line_as_a_distribution():
    source = Mixture(means=[[-1.0], [2.0]], scale=0.5, weights=[1, 3])
    law = source.distribution()
    x = np.linspace(-4, 5, 50)
    parts = [stats.norm(-1, 0.5), stats.norm(2, 0.5)]
    for name in ("pdf", "cdf", "sf"):
        expected = 0.25 * getattr(parts[0], name)(x) + 0.75 * getattr(parts[1], name)(x)
        np.testing.assert_allclose(getattr(law, name)(x), expected, rtol=1e-12)
    assert law.mean() == source.mean[0] == 1.25
    assert law.var() == pytest.approx(0.25 + 0.25 * 0.75 * 9)
    np.testing.assert_allclose(law.cdf(law.ppf([0.1, 0.5])), [0.1, 0.5])
    assert Mixture(means=[[0.0, 1.0]], scale=1.0).distribution() is None


def test_equal_mixtures_are_equal():
    one, other = (Mixture(means=means, scale=1) for means in ([[0, 1]], np.array([[0.0, 1.0]])))
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (Distribution("norm", loc=1), "Distribution('norm', loc=1.0)"),
        (Distribution(stats.beta(2, b=5)), "Distribution('beta', 2.0, 5.0)"),
        (Distribution(stats.gamma(2, 1, 3)), "Distribution('gamma', 2.0, loc=1.0, scale=3.0)"),
        (Distribution(stats.t(df=5, scale=2)), "Distribution('t', 5.0, scale=2.0)"),
    ],
)
def test_distribution_is_named_by_its_parameters(source, text):
    assert repr(source) == text
    law = source.distribution()
    assert stats.kstest(samples(source)[:, 0], law.cdf).pvalue > 1e-5
    assert source.mean == law.mean()
    np.testing.assert_allclose(Stream(source).at(0).density(np.array([[1.5]])), law.pdf(1.5))


def test_distribution_never_gives_infinity():
    class Zeros:
        def random(self, shape):
            return np.zeros(shape)

    assert np.isfinite(Distribution("norm").sample(Zeros(), 3)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(0), "The 'dim' parameter of Uniform must be an int >= 1. Got 0."),
        (lambda: Gaussian(1.5), "The 'dim' parameter of Gaussian must be an int >= 1. Got 1.5."),
        (lambda: Ring(radius=0), "The 'radius' parameter of Ring must be a number > 0. Got 0."),
        (lambda: Ring(radius=1, width=2.1), "The 'width' parameter of Ring must be a number > 0 and <= 2. Got 2.1."),
        (lambda: Mixture([0.0, 1.0], 1.0), r"The 'means' parameter of Mixture must be a \[rows, columns\] array"),
        (
            lambda: Mixture([[0.0], [np.nan]], 1.0),
            r"The 'means' parameter of Mixture must be finite. Got nan at index \(1, 0\)",
        ),
        (lambda: Mixture([[0.0]], 0), "The 'scale' parameter of Mixture must be a number > 0. Got 0."),
        (lambda: Mixture([[0.0]], 1, weights=[1, 2]), "The 'weights' parameter of Mixture must be a sequence of 1 numbers"),
        (
            lambda: Mixture([[0.0], [1.0]], 1, weights=[0, 0]),
            "The 'weights' parameter of Mixture must be a sequence of 2 numbers",
        ),
        (
            lambda: Mixture([[0.0], [1.0]], 1, weights=[1, -1]),
            "The 'weights' parameter of Mixture must be a number >= 0. Got -1.",
        ),
        (
            lambda: Mixture([[0.0], [1.0]], 1, weights=3),
            "The 'weights' parameter of Mixture must be a sequence of 2 numbers",
        ),
        (lambda: Distribution("nrom"), "The 'd' parameter of Distribution .*; did you mean 'norm'"),
        (
            lambda: Distribution("binom", 3, 0.5),
            "The 'd' parameter of Distribution must be one of the known names. Got 'binom'",
        ),
        (
            lambda: Distribution(stats.poisson(3)),
            "must be a frozen continuous distribution of scipy.stats or the name of one",
        ),
        (lambda: Distribution(stats.norm), "must be a frozen continuous distribution of scipy.stats or the name of one"),
        (lambda: Distribution(stats.norm(), loc=2), "The 'd' parameter of Distribution must be a name where shapes, loc or"),
        (lambda: Distribution("beta", 2), r"'beta' takes 2 shape parameters \(a, b\). Got 1."),
        (lambda: Distribution("norm", 2), "'norm' takes 0 shape parameters. Got 1."),
        (lambda: Distribution("norm", scale=-1), "The 'scale' parameter of Distribution must be a number > 0. Got -1."),
        (lambda: Distribution("cauchy"), r"Distribution\('cauchy'\) has no finite variance"),
        (lambda: Distribution("beta", -1, 2), "or its parameters are outside their domain"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
