"""The law of the potential: its special cases in closed form, the estimate from latents, and what is refused."""

import math

import numpy as np
import pytest
from scipy import stats

from vqtheory.claims.laws.potential import Ball, Skewed
from vqtheory.reference import cell_moment
from vqtheory.rules import EMA, NSVQ, VQ, TrainedVQ
from vqtheory.schedules import exponential
from vqtheory.streams import Distribution, Gaussian, Mixture, Source, Uniform
from vqtheory.theory import (
    critical_drift,
    critical_shrink_rate,
    critical_speed,
    high_resolution_codes,
    live_codes,
    surviving_codes,
    uncrowded_codes,
)
from vqtheory.theory._levels import level_integral, level_power

LATENTS = 2**14


def codes(cloud, **drift) -> float:
    return live_codes(cloud, **{"step_size": 1.0, "trailing_layer": False} | drift).codes


class TestSpecialCases:
    """Each earlier law of many codes is this one, to the error of its integral."""

    @pytest.mark.parametrize("cloud", [stats.uniform(), stats.norm(), stats.gamma(5), stats.expon(), stats.beta(2, 5)])
    @pytest.mark.parametrize("direction", [1, -1])
    def test_a_translation_in_one_dimension(self, cloud, direction):
        """Edges at which the density vanishes or rises as a power differ by a few hundredths of the spacing there."""
        edge = "tail" if np.isinf(cloud.support()[0 if direction == 1 else 1]) else None
        accuracy = 0.012 if cloud.dist.name == "beta" else 0.006
        for lag in (1e-4, 1e-6):
            wanted = high_resolution_codes(lag, density=cloud, direction=direction, edge=edge)
            assert codes(cloud, velocity=direction * lag) == pytest.approx(wanted, rel=accuracy)

    def test_growth_and_shrinking_in_one_dimension(self):
        assert codes(stats.uniform(), growth=1e-6) == pytest.approx((18 / 1e-6) ** (1 / 3), rel=2e-3)
        rate = critical_shrink_rate(300, step_size=1.0)
        assert codes(stats.uniform(), growth=-rate) == pytest.approx(300, rel=2e-3)
        assert uncrowded_codes(1e-6, step_size=1.0) == pytest.approx(codes(stats.uniform(), growth=1e-6), rel=2e-2)

    @pytest.mark.parametrize("dim", [2, 3, 4])
    def test_a_cube_along_an_axis(self, dim):
        lag = critical_speed(1000, 1.0, dim=dim)
        for velocity in (lag, [*[0.0] * (dim - 1), -lag]):
            answer = live_codes(Uniform(dim), velocity=velocity, step_size=1.0, trailing_layer=False)
            assert answer.codes == pytest.approx(1000, abs=max(5 * answer.error, 6))
        factor = critical_drift(Uniform(dim), 500, velocity=1e-5, trailing_layer=False)
        assert factor * 1e-5 == pytest.approx(critical_speed(500, 0.05, dim=dim), rel=0.02)

    @pytest.mark.parametrize("dim", [2, 3])
    @pytest.mark.parametrize("rule", [EMA(decay=0.9), TrainedVQ(1e-3), VQ(0.3)], ids=["ema", "adam", "vq"])
    def test_a_ball(self, dim, rule):
        """V_(D-1) 2^(D-e) B((D+1)/2, (D+1)/2 - e) f^(D/(D+2) (c / v)^e, with f^(2/(D+2)) in the potential of EMA."""
        moment, volume, slab = cell_moment(dim), {2: math.pi, 3: 4 / 3 * math.pi}[dim], {2: 2.0, 3: math.pi}[dim]
        exponent, scale = {
            "ema": (dim / 2, moment * (dim + 2) * 0.1 / 2 * volume ** (2 / (dim + 2))),
            "adam": (2 * dim / (dim + 2), 2e-3 * math.sqrt(moment * 1024)),
            "vq": (dim / (dim + 2), 0.3 * moment),
        }[rule.key or "adam"]
        beta = math.gamma((dim + 1) / 2) * math.gamma((dim + 1) / 2 - exponent) / math.gamma(dim + 1 - exponent)
        wanted = slab * 2 ** (dim - exponent) * beta * volume ** (-dim / (dim + 2)) * (scale / 1e-5) ** exponent
        found = live_codes(Ball(dim), velocity=1e-5, rule=rule, trailing_layer=False)
        assert found.codes == pytest.approx(wanted, abs=5 * found.error, rel=0.01)

    def test_a_component_of_a_support_with_a_gap_has_its_own_end(self):
        """Two intervals far apart keep as many codes as each by itself, of half the mass."""

        class Two(stats.rv_continuous):
            def _pdf(self, x):
                return np.where((x < 1) | (x > 9), 0.5, 0.0)

            def _cdf(self, x):
                return np.where(x < 1, 0.5 * x, np.where(x > 9, 0.5 + 0.5 * (x - 9), 0.5))

            def _stats(self):
                return 5.0, 0.5 * (1 / 3) + 0.5 * (271 / 3) - 25, None, None

        half = codes(stats.uniform(), velocity=2e-6)
        assert codes(Two(a=0.0, b=10.0)(), velocity=1e-6) == pytest.approx(2 * half, rel=5e-3)

    def test_distances_have_no_unit(self):
        for cloud, wide in ((stats.norm(), stats.norm(3, 40)), (Mixture([[0.0, 0]], 1.0), Mixture([[2.0, 5]], 40.0))):
            assert codes(wide, velocity=4e-3) == pytest.approx(codes(cloud, velocity=1e-4), rel=2e-2)


class TestFields:
    def test_a_rotation_of_an_isotropic_cloud_is_no_drift(self):
        turn = np.array([[0, -1e-4], [1e-4, 0]])
        assert math.isinf(live_codes(Gaussian(2), matrix=turn).codes)
        assert codes(Gaussian(2), matrix=turn, growth=1e-4) == pytest.approx(codes(Gaussian(2), growth=1e-4), rel=0.02)

    def test_a_rotation_of_an_ellipse_is_a_strain(self):
        """A = Omega (1 - 1.6 S^-1) with S = diag(4, 1): the off-diagonal 0.6 of the rate, twice."""
        ellipse = np.random.default_rng(0).standard_normal((LATENTS, 2)) * [2, 1]
        turn = 1e-4 * np.array([[0, -1], [1, 0]])
        strain = 0.6e-4 * np.array([[0, 1], [1, 0]])
        assert codes(ellipse, matrix=turn) == pytest.approx(codes(ellipse, matrix=strain), rel=0.1)

    def test_a_matrix_is_growth_where_it_is_the_unit(self):
        assert codes(Gaussian(3), matrix=1e-4 * np.eye(3)) == codes(Gaussian(3), growth=1e-4)


class TestLatents:
    @pytest.mark.parametrize("dim", [1, 2, 3, 4])
    @pytest.mark.parametrize("source", [Uniform, Gaussian, Skewed])
    def test_the_estimate_of_a_known_density(self, source, dim):
        """Within 5 % for what grows, whose Phi_min is inside; by an edge the estimate is blurred, more so in 3 and 4."""
        accuracy = {1: 0.08, 2: 0.12, 3: 0.2, 4: 0.3}[dim]
        latents = source(dim).sample(np.random.default_rng(1), LATENTS)
        beside = np.concatenate([latents, np.zeros((LATENTS, 2))], axis=1)  # two axes that the latents do not fill
        assert codes(beside, growth=1e-4) == pytest.approx(codes(source(dim), growth=1e-4), rel=0.08)
        along = np.linalg.eigh(np.cov(beside.T))[1][:, -1] if dim > 1 else np.array([1.0, 0, 0])
        shift = along[:dim] if dim > 1 else along[0]
        wanted = codes(source(dim), velocity=1e-4 * shift)
        found = codes(beside, velocity=1e-4 * along)
        assert found == pytest.approx(wanted, rel=accuracy)

    def test_as_many_dimensions_as_cells_resolve(self):
        thin = np.random.default_rng(0).random((LATENTS, 3)) * [1, 1, 0.01]
        answer = live_codes(thin, velocity=1e-4 * np.eye(3)[0], step_size=1.0)
        assert answer.dim == 2
        assert answer.codes == pytest.approx(live_codes(Uniform(2), velocity=1e-4, step_size=1.0).codes, rel=0.1)

    def test_the_error_covers_another_subsample(self):
        latents = np.random.default_rng(0).standard_normal((100_000, 3))
        first, second = (live_codes(latents, growth=1e-4, seed=seed) for seed in (0, 1))
        assert 0 < abs(first.codes - second.codes) < 5 * first.error < 0.1 * first.codes


class TestAnswers:
    def test_exact_survivors_of_few_codes(self):
        """A tail has up to about one code fewer than the law of many, and a staircase goes down by up to one more."""
        for lag in (1e-3, 1e-4, 1e-5):
            exact = surviving_codes(lag, 1.0, density=stats.norm())
            assert exact <= codes(stats.norm(), velocity=lag) < exact + 2

    def test_codes_without_mass_are_told_apart(self):
        """h^3 = 6 g u^2 and K^3 = 18 / g: h < 0.1 / K up to u = (0.1 / 108^(1/3))^(3/2), on (2u)^(1/3) of the codes."""
        answer = live_codes(stats.uniform(), growth=1e-6, step_size=1.0)
        edge = (0.1 / 108 ** (1 / 3)) ** 1.5
        assert answer.carrying / answer.codes == pytest.approx(1 - (2 * edge) ** (1 / 3), rel=5e-3)
        still = live_codes(stats.uniform(), velocity=1e-6, step_size=1.0)
        assert still.carrying > 0.99 * still.codes

    def test_no_drift(self):
        answer = live_codes(Uniform(2))
        assert (answer.codes, answer.validity) == (math.inf, "Nothing drifts, and no code is lost.")
        assert critical_drift(Uniform(2), 8) == math.inf

    def test_codes_of_ema_never_run_out_about_an_inner_minimum(self):
        assert live_codes(stats.uniform(), growth=1e-3, rule=EMA(decay=0.9)).codes == math.inf

    @pytest.mark.parametrize("rule", [EMA(decay=0.9), TrainedVQ(1e-4)])
    def test_where_the_first_layers_hold_most_codes_there_is_no_law(self, rule):
        answer = live_codes(Uniform(3), velocity=1e-5, rule=rule)
        assert answer.codes is None
        assert "first layers" in answer.validity
        assert math.isnan(critical_drift(Uniform(3), 64, velocity=1e-5, rule=rule))
        corner = np.full(3, 1e-5 / math.sqrt(3))
        assert live_codes(Uniform(3), velocity=corner, rule=rule).codes > 8

    def test_a_tail_ends_no_codebook_of_ema(self):
        assert "tail" in live_codes(stats.norm(), velocity=1e-4, rule=EMA(decay=0.9)).validity
        assert "uniform sources" in live_codes(Gaussian(2), growth=1e-4, rule=EMA(decay=0.9)).validity

    def test_a_critical_drift_where_faster_ones_have_no_law(self):
        """Adam's law ends where a drift nears its rate."""
        rule = TrainedVQ(1e-5)
        factor = critical_drift(stats.uniform(), 64, velocity=1e-7, rule=rule)
        assert live_codes(stats.uniform(), velocity=factor * 1e-7, rule=rule).codes == pytest.approx(64, rel=1e-3)

    def test_too_few_layers(self):
        with pytest.warns(UserWarning, match="fewer than two to an axis in 4 dimensions"):
            assert live_codes(Uniform(4), velocity=1.0).codes is None

    def test_too_few_latents(self):
        with pytest.warns(UserWarning, match="300 latents are fewer than ten to each of"):
            assert live_codes(np.random.default_rng(0).random((300, 2)), velocity=1e-5).codes > 30

    def test_hyperparameters_of_a_rule(self):
        momentum = live_codes(Gaussian(2), velocity=1e-5, rule=TrainedVQ(0.05, optimizer="sgd", momentum=0.5))
        assert momentum == live_codes(Gaussian(2), velocity=1e-5, step_size=0.1)


class Unnormalised(Uniform):
    def density(self, x):
        return 2 * super().density(x)


class Secret(Source):
    dim, mean = 2, np.zeros(2)

    def sample(self, generator, size):
        return generator.random((size, 2))


REFUSED = [
    (lambda: live_codes(Unnormalised(2), velocity=1e-5), "density integrates to 1"),
    (lambda: live_codes(Secret(), velocity=1e-5), "a source whose density is known, or latents"),
    (lambda: live_codes("uniform", velocity=1e-5), "'cloud' parameter of live_codes"),
    (lambda: live_codes(np.zeros((100, 2)), velocity=1e-5), "not all at one place"),
    (lambda: live_codes(np.random.default_rng(0).random((9, 2)), velocity=1e-5), "at least 20 latents"),
    (lambda: live_codes(np.full((100, 2), np.nan), velocity=1e-5), "'cloud' parameter of live_codes"),
    (lambda: live_codes(Uniform(2), velocity=[1e-5]), "'velocity' parameter of live_codes"),
    (lambda: live_codes(Uniform(2), velocity=math.nan), "'velocity' parameter of live_codes"),
    (lambda: live_codes(Uniform(2), matrix=np.eye(3)), "'matrix' parameter of live_codes"),
    (lambda: live_codes(Uniform(2), matrix=np.ones((3, 2))), "'matrix' parameter of live_codes"),
    (lambda: live_codes(Uniform(2), growth="fast"), "'growth' parameter of live_codes"),
    (lambda: live_codes(Uniform(2), velocity=1e-5, step_size=0), "'step_size' parameter of live_codes"),
    (lambda: live_codes(Uniform(2), velocity=1e-5, rule=NSVQ(bandwidth=1.0)), "VQ, EMA or TrainedVQ"),
    (lambda: live_codes(Uniform(2), velocity=1e-5, rule=VQ(exponential(0.1, half_life=3))), "that are numbers"),
    (lambda: critical_drift(Uniform(2), 1, velocity=1e-5), "'num_codes' parameter of critical_drift"),
    (lambda: live_codes(Distribution("uniform"), velocity=[1e-5, 0]), "'velocity' parameter of live_codes"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_bad_input_gets_one_clear_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize(("power", "exponent"), [(1.0, 0.6), (0.5, 1 / 3), (3.0, 1.0), (2.0, 1.5)])
def test_a_singular_power_is_integrated_between_points(power, exponent):
    """W(z) = z^q on [0, 1]: the integral of z^-e dW is q / (q - e), from evenly weighted points."""
    z = ((np.arange(2**14) + 0.5) / 2**14) ** (1 / power)
    weights = np.full(len(z), 1 / len(z))
    assert level_power(z, weights) == pytest.approx(power, rel=2e-3)
    assert level_integral(z, weights, exponent) == pytest.approx(power / (power - exponent), rel=2e-3)
    assert level_integral(z, weights, power + 0.1) == math.inf
