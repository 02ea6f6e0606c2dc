"""The ground truth, against closed forms, exhaustive search, and integrals taken another way."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, special, stats

from vqtheory import reference
from vqtheory.assign import nearest
from vqtheory.reference import _lloyd_max
from vqtheory.reference._partition import best_partition

EPSILON = np.finfo(np.float64).eps
INTEGERS = st.lists(st.integers(-1000, 1000), min_size=1, max_size=12)
REALS = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=40)


class Mixture:
    """A mixture of normal laws; all that `lloyd_max` asks of a distribution."""

    def __init__(self, weights, means, scales):
        self.weights, self.laws = (
            np.array(weights) / np.sum(weights),
            [stats.norm(*law) for law in zip(means, scales, strict=True)],
        )

    def _sum(self, values):
        return np.tensordot(self.weights, values, 1)

    def pdf(self, x):
        return self._sum([law.pdf(x) for law in self.laws])

    def cdf(self, x):
        return self._sum([law.cdf(x) for law in self.laws])

    def support(self):
        return -np.inf, np.inf

    def mean(self):
        return self._sum([law.mean() for law in self.laws])

    def var(self):
        return self._sum([law.var() + law.mean() ** 2 for law in self.laws]) - self.mean() ** 2


def partitions(size, cells):
    """All ways to cut range(size) into nonempty intervals, as edges [cells + 1]."""
    for borders in itertools.combinations(range(1, size), cells - 1):
        yield (0, *borders, size)


def scatter(points, weights):
    return weights @ (points - np.average(points, weights=weights)) ** 2


def least_cost(points, weights, cells):
    edges = partitions(len(points), cells)
    return min(sum(scatter(points[i:j], weights[i:j]) for i, j in itertools.pairwise(cut)) for cut in edges)


def naive_dynamic_program(samples, num_codes):
    """The least distortion by the recursion as it is written, O(K N^2) costs each from its definition."""
    x = np.sort(samples)
    cost = np.full(len(x) + 1, np.inf)
    cost[0] = 0
    for _ in range(num_codes):
        cost = np.array(
            [np.inf, *(min(cost[i] + scatter(x[i:j], np.ones(j - i)) for i in range(j)) for j in range(1, len(x) + 1))]
        )
    return cost[-1] / len(x)


def rounding(samples):
    """What running sums of N squares, and means that are rounded, can change a distortion by."""
    return 8 * len(samples) * EPSILON * np.ptp(samples) ** 2 + (8 * EPSILON * np.max(np.abs(samples))) ** 2


# --- lloyd_max -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_codes", [1, 2, 3, 5, 16, 64])
def test_the_uniform_quantizer_is_the_closed_form(num_codes):
    codes, distortion = reference.lloyd_max(stats.uniform(), num_codes)
    assert codes.shape == (num_codes, 1)
    assert codes.dtype == np.float64
    np.testing.assert_allclose(codes[:, 0], (2 * np.arange(num_codes) + 1) / (2 * num_codes), rtol=0, atol=1e-12)
    assert distortion == pytest.approx(1 / (12 * num_codes**2), rel=1e-12)


@pytest.mark.parametrize("num_codes", [2, 4, 8, 16, 64, 256])
def test_the_normal_codes_are_the_means_of_truncated_normals(num_codes):
    # (phi(a) - phi(b)) / (Phi(b) - Phi(a)) is the mean between a and b; a normal's centroidal codebook is unique.
    codes, distortion = reference.lloyd_max(stats.norm(), num_codes)
    codes = codes[:, 0]
    edges = np.concatenate([[-np.inf], (codes[:-1] + codes[1:]) / 2, [np.inf]])
    mass = np.diff(special.ndtr(-np.abs(edges)) * -np.sign(edges) + (edges > 0))  # no cancellation in either tail
    means = -np.diff(stats.norm.pdf(edges)) / mass
    rounding_of_mean = 4 * EPSILON * (1 + np.abs(codes)) * stats.norm.pdf(codes).max() / mass.min()
    np.testing.assert_allclose(codes, means, rtol=0, atol=rounding_of_mean.max())
    assert distortion == pytest.approx(1 - mass @ codes**2, abs=8 * EPSILON)
    np.testing.assert_allclose(codes, -codes[::-1], rtol=0, atol=1e-12)


def test_the_normal_quantizer_agrees_with_published_values():
    codes, distortion = reference.lloyd_max(stats.norm(), 4)
    np.testing.assert_allclose(codes[:, 0], [-1.5104176087, -0.4527800398, 0.4527800398, 1.5104176087], atol=1e-10)
    codes, _ = reference.lloyd_max(stats.norm(), 2)
    np.testing.assert_allclose(codes[:, 0], [-np.sqrt(2 / np.pi), np.sqrt(2 / np.pi)], atol=1e-14)
    table = {2: 0.3634, 4: 0.1175, 8: 0.03454, 16: 0.009497}  # Max 1960, table I; its last row is off by 4e-4 of itself
    for num_codes, distortion in table.items():
        assert reference.lloyd_max(stats.norm(), num_codes).distortion == pytest.approx(distortion, rel=5e-4)


def exponential_codes(num_codes):
    """Codes for exp(-x), by its lack of memory: beyond its first border the quantizer of K codes is that of K - 1.

    With r_K the first of K codes and the first border at a = r_K + r_(K-1): r_K = 1 - a / (e^a - 1).
    """
    first, codes = 1.0, np.array([1.0])
    for _ in range(num_codes - 1):
        border = optimize.brentq(lambda a, r=first: 1 - a / np.expm1(a) + r - a, 1e-6, 3, xtol=1e-15)
        codes = np.concatenate([[border - first], border + codes])
        first = border - first
    return codes


@pytest.mark.parametrize("num_codes", [1, 2, 3, 8, 32])
def test_the_exponential_and_laplace_quantizers_are_the_memoryless_recursion(num_codes):
    expected = exponential_codes(num_codes)
    codes, distortion = reference.lloyd_max(stats.expon(), num_codes)
    np.testing.assert_allclose(codes[:, 0], expected, rtol=1e-12)
    codes, doubled = reference.lloyd_max(stats.laplace(), 2 * num_codes)
    # Of even K the Hessian is singular, so that rounding moves the codes by its square root.
    np.testing.assert_allclose(codes[:, 0], np.concatenate([-expected[::-1], expected]), rtol=0, atol=1e-6)
    assert doubled == pytest.approx(distortion, rel=1e-13)
    assert num_codes > 1 or doubled == pytest.approx(1, rel=1e-14)


@pytest.mark.parametrize(
    ("distribution", "num_codes"),
    [
        (stats.t(3), 6),
        (stats.t(2.5), 3),
        (stats.beta(0.5, 0.5), 5),
        (stats.gamma(0.5, loc=5), 4),
        (stats.lognorm(1), 7),
        (stats.triang(0.3), 4),
        (Mixture([0.7, 0.3], [-2, 1], [1, 0.2]), 5),
    ],
)
def test_every_code_is_the_mean_of_its_cell_by_another_quadrature(distribution, num_codes):
    codes, distortion = reference.lloyd_max(distribution, num_codes)
    codes = codes[:, 0]
    edges = np.concatenate([distribution.support()[:1], (codes[:-1] + codes[1:]) / 2, distribution.support()[1:]])

    def integral(power):
        cells = zip(codes, edges[:-1], edges[1:], strict=True)
        return np.array(
            [
                integrate.quad(
                    lambda x, c=c: (x - c) ** power * distribution.pdf(x), a, b, epsabs=1e-11, epsrel=1e-9, limit=500
                )[0]
                for c, a, b in cells
            ]
        )

    np.testing.assert_allclose(integral(1), 0, atol=1e-9)
    assert distortion == pytest.approx(integral(2).sum(), rel=1e-7)


def test_a_mixture_gets_the_best_allocation_of_codes():
    # Components so far apart that each has a normal's own quantizer: the optimum is the best split of the codes.
    weights, scales = np.array([0.6, 0.3, 0.1]), np.array([1.0, 0.5, 3.0])
    alone = [reference.lloyd_max(stats.norm(), k).distortion for k in range(1, 8)]
    mixture = Mixture(weights, [-200, 0, 300], scales)
    for num_codes in range(3, 10):
        splits = [k for k in itertools.product(range(1, 8), repeat=3) if sum(k) == num_codes]
        best = min(sum(weights * scales**2 * [alone[n - 1] for n in k]) for k in splits)
        assert reference.lloyd_max(mixture, num_codes).distortion == pytest.approx(best, rel=1e-12)


def test_a_narrow_peak_far_away_is_found():
    mixture = Mixture([0.97, 0.03], [0, 1000], [1, 1e-3])
    codes, distortion = reference.lloyd_max(mixture, 3)
    np.testing.assert_allclose(codes[:, 0], [-np.sqrt(2 / np.pi), np.sqrt(2 / np.pi), 1000], atol=1e-9)
    assert distortion == pytest.approx(0.97 * (1 - 2 / np.pi) + 0.03 * 1e-6, rel=1e-12)


def test_a_histogram_agrees_with_its_quantiles():
    histogram = stats.rv_histogram((np.array([5, 1, 0, 4]), np.array([0.0, 1.0, 2.0, 3.0, 4.5])), density=True)
    samples = histogram.ppf((np.arange(4000) + 0.5) / 4000)
    for num_codes in (1, 2, 5, 11):
        expected = reference.optimal_1d(samples, num_codes).distortion
        # Samples at the middles of 4000 pieces lack the pieces' own variance, and cells end where pieces do.
        assert reference.lloyd_max(histogram, num_codes).distortion == pytest.approx(
            expected, rel=(num_codes / 1000) ** 2 + 1e-5
        )


def test_a_density_without_a_closed_cdf_is_enough():
    class Normal(stats.rv_continuous):
        def _pdf(self, x):
            return np.exp(-x * x / 2) / np.sqrt(2 * np.pi)

    expected = reference.lloyd_max(stats.norm(), 4)
    codes, distortion = reference.lloyd_max(Normal()(), 4)
    np.testing.assert_allclose(codes, expected.codes, atol=1e-13)
    assert distortion == pytest.approx(expected.distortion, rel=1e-13)


@settings(max_examples=30)
@given(loc=st.floats(-1e3, 1e3), scale=st.floats(1e-3, 1e3), num_codes=st.integers(1, 20))
def test_lloyd_max_moves_and_scales_with_the_density(loc, scale, num_codes):
    expected = reference.lloyd_max(stats.norm(), num_codes)
    codes, distortion = reference.lloyd_max(stats.norm(loc, scale), num_codes)
    # x is known to eps |loc|; the Hessian's least eigenvalue is of the order of K^-3 and the pull's rounding of 1/K.
    tolerance = 16 * EPSILON * (1 + abs(loc) / scale) * num_codes**2
    np.testing.assert_allclose((codes - loc) / scale, expected.codes, rtol=0, atol=tolerance)
    assert distortion / scale**2 == pytest.approx(expected.distortion, rel=tolerance * num_codes)


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        (stats.poisson(3), "frozen continuous distribution of one number"),
        (stats.t, "frozen continuous distribution of one number"),
        (stats.norm([0, 1]), "frozen continuous distribution of one number"),
        (stats.multivariate_normal([0, 0]), "frozen continuous distribution of one number"),
        (3.0, "frozen continuous distribution of one number.*Got 3.0"),
        (stats.t(2), "finite variance > 0. Got mean 0 and variance inf"),
        (stats.cauchy(), "finite mean and a finite variance"),
        (stats.norm(scale=-1), "finite mean and a finite variance"),
        (stats.t(2.01), "integrates to 1 and to the variance 201. Got 1 and .*tail is too heavy"),
        (stats.norm(1e15), "integrates to 1 and to the variance 1. .*too far from 0"),
    ],
)
def test_an_unsuitable_distribution_is_refused_in_a_sentence(distribution, message):
    with pytest.raises(ValueError, match=f"The 'distribution' parameter of lloyd_max must .*{message}"):
        reference.lloyd_max(distribution, 2)


def test_codes_that_do_not_settle_are_reported(monkeypatch):
    monkeypatch.setattr(_lloyd_max, "MOST_STEPS", 1)
    with pytest.raises(RuntimeError, match="did not settle: after 1 steps"):
        reference.lloyd_max(stats.norm(), 5)


# --- optimal_1d ------------------------------------------------------------------------------------------------------


@given(st.one_of(INTEGERS, REALS.map(lambda x: x[:9])), st.data())
def test_optimal_1d_is_the_best_of_all_partitions(samples, data):
    points, counts = np.unique(np.array(samples, float), return_counts=True)
    num_codes = data.draw(st.integers(1, min(len(points), 5)))
    codes, distortion = reference.optimal_1d(samples, num_codes)
    assert distortion == pytest.approx(least_cost(points, counts, num_codes) / len(samples), abs=rounding(samples))
    assert codes.shape == (num_codes, 1)
    assert np.all(np.diff(codes[:, 0]) > 0)


@settings(max_examples=30)
@given(REALS, st.data())
def test_optimal_1d_is_the_naive_dynamic_program(samples, data):
    num_codes = data.draw(st.integers(1, len(np.unique(samples))))
    _, distortion = reference.optimal_1d(np.array(samples)[:, None], num_codes)
    assert distortion == pytest.approx(naive_dynamic_program(np.array(samples), num_codes), abs=rounding(samples))


@given(st.one_of(INTEGERS, REALS), st.data())
def test_optimal_1d_is_a_k_means_solution(samples, data):
    num_codes = data.draw(st.integers(1, len(np.unique(samples))))
    codes, distortion = reference.optimal_1d(samples, num_codes)
    latents = np.array(samples, float)[:, None]
    assert np.mean(nearest(latents, codes)[1]) == pytest.approx(distortion, abs=rounding(samples))


@given(INTEGERS, st.integers(-1000, 1000), st.integers(-8, 8), st.randoms(), st.data())
def test_optimal_1d_moves_and_scales_with_the_samples(samples, shift, exponent, random, data):
    # Integers and a power of two: all of it is exact but the last sum, and even ties are cut alike.
    num_codes = data.draw(st.integers(1, len(set(samples))))
    expected = reference.optimal_1d(samples, num_codes)
    shuffled = random.sample(samples, len(samples))
    codes, distortion = reference.optimal_1d((np.array(shuffled) + shift) * 2.0**exponent, num_codes)
    np.testing.assert_allclose(codes * 2.0**-exponent - shift, expected.codes, rtol=0, atol=4 * EPSILON * 3000)
    assert distortion * 4.0**-exponent == pytest.approx(
        expected.distortion, rel=1e-12, abs=rounding([*samples, 0, 3000]) / 1e3
    )


@pytest.mark.parametrize("sign", [-1, 1])
def test_an_outlier_costs_the_others_no_digits(sign):
    samples = sign * np.array([-1e9, 0, 1, 10, 11])
    codes, distortion = reference.optimal_1d(samples, 3)
    np.testing.assert_array_equal(np.sort(sign * codes[:, 0]), [-1e9, 0.5, 10.5])
    assert distortion == pytest.approx(0.2, rel=1e-15)


def test_a_tail_of_tiny_weight_is_cut_as_well_as_the_bulk():
    points = np.array([-3e10, -1e10, 0, 1, 2, 1e10, 2e10, 5e10])
    weights = np.array([1e-20, 1e-20, 1, 1, 1, 1e-20, 1e-20, 1e-21])
    for cells in range(1, 8):
        begins = best_partition(points, weights, cells, inward=True)
        edges = itertools.pairwise([*begins, len(points)])
        cost = sum(scatter(points[i:j], weights[i:j]) for i, j in edges)
        assert cost == pytest.approx(least_cost(points, weights, cells), rel=1e-12)


def test_equal_partitions_are_cut_at_the_lowest_border():
    codes, _ = reference.optimal_1d([0, 1, 2, 3, 4], 3)
    np.testing.assert_array_equal(codes[:, 0], [0, 1.5, 3.5])


def test_optimal_1d_of_a_cut_density_is_the_density_s_optimum():
    # The means of equal parts of the normal distribution; what the law adds to them is the variance within a part.
    parts, num_codes = 20_000, 16
    samples = -parts * np.diff(stats.norm.pdf(stats.norm.ppf(np.linspace(0, 1, parts + 1))))
    codes, distortion = reference.optimal_1d(samples, num_codes)
    distortion += 1 - np.mean(samples**2)
    expected = reference.lloyd_max(stats.norm(), num_codes)
    # A border is off by half a part at most, which costs its square.
    assert expected.distortion <= distortion <= expected.distortion * (1 + (num_codes / parts) ** 2 * 10)
    np.testing.assert_allclose(codes, expected.codes, atol=2e-3)


# --- lloyd -----------------------------------------------------------------------------------------------------------


def test_lloyd_finds_separated_clusters():
    generator = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [0.0, 10.0], [10.0, 0.0], [10.0, 10.0], [20.0, 5.0]])
    labels = np.repeat(np.arange(5), 40)
    latents = centres[labels] + generator.normal(size=(200, 2)) / 2
    means = np.array([latents[labels == k].mean(axis=0) for k in range(5)])
    codes, distortion = reference.lloyd(latents, 5)
    np.testing.assert_allclose(codes, means[np.lexsort(means.T[::-1])], rtol=0, atol=1e-13)
    assert distortion == pytest.approx(np.mean(np.sum((latents - means[labels]) ** 2, axis=1)), rel=1e-13)


def test_lloyd_stops_at_a_centroidal_codebook_and_repeats_to_the_bit():
    latents = np.random.default_rng(1).normal(size=(3000, 3)) + 100
    codes, distortion = reference.lloyd(latents, 20, restarts=2, seed=5)
    assignment, squared = nearest(latents, codes)
    means = np.array([latents[assignment == k].mean(axis=0) for k in range(20)])
    np.testing.assert_allclose(codes, means, rtol=0, atol=100 * 16 * EPSILON)
    assert distortion == squared.mean()
    again = reference.lloyd(latents, 20, restarts=2, seed=5)
    np.testing.assert_array_equal(codes, again.codes)
    assert distortion == again.distortion
    assert not np.array_equal(codes, reference.lloyd(latents, 20, restarts=2, seed=6).codes)


@settings(max_examples=15)
@given(st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=1, max_size=30), st.data())
def test_lloyd_on_the_line_is_no_better_than_the_optimum(samples, data):
    num_codes = data.draw(st.integers(1, len(set(samples))))
    _, optimum = reference.optimal_1d(samples, num_codes)
    latents = np.array(samples)[:, None]
    distortions = [reference.lloyd(latents, num_codes, restarts=restarts).distortion for restarts in (1, 3)]
    assert distortions[0] >= distortions[1] >= optimum - rounding(samples)


def test_codes_beyond_the_distinct_latents_are_refused():
    latents = np.array([[0.0, 1.0], [0.0, 1.0], [2.0, 3.0]])
    with pytest.raises(
        ValueError, match=r"'num_codes' parameter of lloyd must be at most 2, the number of distinct latents. Got 3"
    ):
        reference.lloyd(latents, 3)
    with pytest.raises(
        ValueError, match=r"'num_codes' parameter of optimal_1d must be at most 2, the number of distinct samples. Got 3"
    ):
        reference.optimal_1d(latents[:, 0], 3)
    with pytest.raises(ValueError, match="latents that differ by more than rounding. Got 3"):
        reference.lloyd(np.array([[0.0], [1e-200], [1.0]]), 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reference.lloyd_max(stats.norm(), 0), "The 'num_codes' parameter of lloyd_max must be an int >= 1. Got 0."),
        (
            lambda: reference.optimal_1d([1.0], True),
            "The 'num_codes' parameter of optimal_1d must be an int >= 1. Got True.",
        ),
        (
            lambda: reference.optimal_1d([0.0, np.nan], 1),
            "The 'samples' parameter of optimal_1d must be finite. Got nan at index",
        ),
        (lambda: reference.optimal_1d([], 1), "The 'samples' parameter of optimal_1d must be a "),
        (lambda: reference.optimal_1d(np.ones((2, 2)), 1), "The 'samples' parameter of optimal_1d must be a "),
        (lambda: reference.lloyd(np.ones(3), 1), "The 'latents' parameter of lloyd must be a "),
        (
            lambda: reference.lloyd(np.ones((3, 1)), 1, restarts=0),
            "The 'restarts' parameter of lloyd must be an int >= 1. Got 0.",
        ),
        (lambda: reference.lloyd(np.ones((3, 1)), 1, seed=-1), "The 'seed' parameter of lloyd must be an int >= 0. Got -1."),
        (lambda: reference.panter_dite(stats.norm(), 1.5), "The 'num_codes' parameter of panter_dite must be an int >= 1."),
        (lambda: reference.panter_dite(stats.t(2.1), 2), "The 'distribution' parameter of panter_dite must have a tail"),
        (lambda: reference.zador(0.0, 2, 2), "The 'density_norm' parameter of zador must be a number > 0. Got 0.0."),
        (lambda: reference.zador(1.0, 2, 0), "The 'dim' parameter of zador must be an int >= 1. Got 0."),
        (lambda: reference.zador(1.0, 2, 2, moment=-1), "The 'moment' parameter of zador must be a number > 0. Got -1."),
        (lambda: reference.gaussian_norm(2, scale=np.inf), "The 'scale' parameter of gaussian_norm must be a number > 0."),
        (lambda: reference.cell_moment(0), "The 'dim' parameter of cell_moment must be an int >= 1. Got 0."),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match="^" + message.replace("(", r"\(")):
        call()


# --- high resolution -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distribution", "cubed"),
    [
        (stats.uniform(3, 4), 16),
        (stats.norm(), 6 * np.sqrt(3) * np.pi),
        (stats.expon(), 27),
        (stats.laplace(), 108),
        (stats.beta(2, 2), 6 * special.beta(4 / 3, 4 / 3) ** 3),
        (stats.beta(0.5, 0.5), special.beta(5 / 6, 5 / 6) ** 3 / np.pi),
        (stats.t(3), 2 / (np.pi * np.sqrt(3)) * (np.sqrt(3) * special.beta(1 / 2, 1 / 6)) ** 3),
    ],
)
def test_panter_dite_is_the_integral_in_closed_form(distribution, cubed):
    assert reference.panter_dite(distribution, 10) == pytest.approx(cubed / 1200, rel=1e-10)


@pytest.mark.parametrize("distribution", [stats.norm(), stats.expon(), stats.beta(2, 2), stats.t(5)])
def test_the_optimum_tends_to_panter_dite(distribution):
    ratios = [
        reference.lloyd_max(distribution, k).distortion / reference.panter_dite(distribution, k) for k in (64, 128, 256)
    ]
    errors = np.abs(np.array(ratios) - 1)
    # The error falls like 1/K, up to the logarithm of a tail: by a factor of at least 1.6 where 2 is asymptotic.
    assert np.all(errors[:-1] / errors[1:] > 1.6)
    assert errors[-1] < 0.03


@pytest.mark.parametrize("dim", [1, 2, 3, 8])
def test_the_gaussian_norm_is_its_integral(dim):
    scale, power = 1.7, dim / (dim + 2)

    def shell(radius):
        density = np.exp(-(radius**2) / (2 * scale**2)) / (2 * np.pi * scale**2) ** (dim / 2)
        return density**power * radius ** (dim - 1) * 2 * np.pi ** (dim / 2) / special.gamma(dim / 2)

    integral = integrate.quad(shell, 0, np.inf)[0]
    assert reference.gaussian_norm(dim, scale) == pytest.approx(integral ** (1 / power), rel=1e-8)


def test_zador_on_the_line_is_panter_dite():
    assert reference.zador(reference.gaussian_norm(1, 2.0), 7, 1) == pytest.approx(
        reference.panter_dite(stats.norm(scale=2), 7), rel=1e-12
    )


def test_zador_in_the_plane_is_the_distortion_of_hexagons():
    # K hexagons of area 1/K each hold a mass of 1/K at a mean squared distance of 2 G_2 / K.
    assert reference.zador(1.0, 50, 2) == pytest.approx(2 * 5 / (36 * np.sqrt(3)) / 50, rel=1e-14)
    assert reference.zador(1.0, 50, 2, moment=1 / 12) == pytest.approx(2 / 12 / 50, rel=1e-14)  # squares


@pytest.mark.parametrize(("periods", "size"), [((1,), 1000), ((1, np.sqrt(3)), 400), ((1, 1, 1), 80)])
def test_cell_moments_are_those_of_their_lattices(periods, size):
    # Z, the hexagonal and the body-centred lattice: a box and, beyond one dimension, its centre.
    dim, shifts = len(periods), (0,) if len(periods) == 1 else (0, 0.5)
    grid = np.stack(np.meshgrid(*[(np.arange(size) + 0.5) / size] * dim, indexing="ij"), axis=-1)
    offsets = [(grid - shift - np.round(grid - shift)) * periods for shift in shifts]
    squared = np.min([np.sum(offset**2, axis=-1) for offset in offsets], axis=0)
    volume = np.prod(periods) / len(shifts)
    assert reference.cell_moment(dim) == pytest.approx(squared.mean() / dim / volume ** (2 / dim), rel=3 / size**2 + 1e-6)


def test_cell_moments_lie_between_their_bounds():
    lattices = {4: 13 / (120 * np.sqrt(2)), 8: 929 / 12960}  # D4 and E8
    for dim in range(1, 30):
        lower, upper = reference.cell_moment_bounds(dim)
        assert lower * (1 - EPSILON) <= reference.cell_moment(dim) <= lattices.get(dim, upper) <= upper
    assert reference.cell_moment_bounds(100_000) == pytest.approx((1 / (2 * np.pi * np.e),) * 2, rel=1e-3)


def test_the_module_loads_without_scikit_learn():
    program = "import sys, vqtheory.reference; assert not {'sklearn', 'scipy.stats'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
