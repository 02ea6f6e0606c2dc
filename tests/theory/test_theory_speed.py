"""The collapse law beside independent ways to the same figures."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

import vqtheory as vq
from vqtheory.reference import cell_moment
from vqtheory.rules import VQ
from vqtheory.theory import (
    adam_critical_speed,
    adam_lag,
    adam_surviving_codes,
    critical_shrink_rate,
    critical_speed,
    high_resolution_codes,
    jump_surviving_codes,
    largest_codebook,
    mean_motion,
    required_step_size,
    shrink_surviving_codes,
    steady_state,
    surviving_codes,
    tail_edges,
    uncrowded_codes,
    weight_decay_speed,
)
from vqtheory.theory.transients import _limit

DENSITIES = {
    "normal": stats.norm(),
    "exponential": stats.expon(),
    "beta": stats.beta(2, 5),
    "logistic": stats.logistic(),
    "arcsine": stats.arcsine(),
    "two humps": vq.streams.Mixture([[-3.0], [3.0]], 0.5),
}
BOTH_WAYS = list(itertools.product(DENSITIES, (1, -1)))


class TestUniform:
    def test_two_codes_to_twelve_digits(self):
        assert critical_speed(2, 0.05) == pytest.approx(0.05 * math.sqrt(3) / 36, rel=1e-12)

    def test_many_codes(self):
        assert critical_speed(128, 1.0) == pytest.approx(9 / 32 * 128**-3.0, rel=1e-3)
        assert critical_speed(1000, 1.0) == pytest.approx(9 / 32 * 1e-9 * (1 + 0.624 * 1000**-1.5), rel=1e-6)

    def test_one_code_is_never_lost_and_all_broadcast(self):
        found = critical_speed([[1], [2], [3]], [0.1, 0.2])
        assert found.shape == (3, 2)
        assert np.isinf(found[0]).all()
        np.testing.assert_allclose(found[1:, 1], 2 * found[1:, 0], rtol=1e-15)

    @pytest.mark.parametrize("num_codes", [2, 3, 5, 9])
    def test_the_relaxed_law_agrees_with_the_closed_form(self, num_codes):
        """Two solvers that share nothing."""
        closed, relaxed = critical_speed(num_codes, 1.0), critical_speed(num_codes, 1.0, density=stats.uniform())
        assert relaxed == pytest.approx(closed, rel=1e-9)

    @given(num_codes=st.integers(2, 300), width=st.floats(0.01, 100), eta=st.floats(1e-4, 1))
    @settings(max_examples=50)
    def test_survivors_invert_the_critical_speed(self, num_codes, width, eta):
        at = critical_speed(num_codes, eta, width=width)
        assert surviving_codes(at * (1 - 1e-9), eta, width=width) == num_codes
        assert surviving_codes(at * (1 + 1e-9), eta, width=width) == num_codes - 1
        assert required_step_size(num_codes, at, width=width) == pytest.approx(eta, rel=1e-12)

    def test_survivors_are_at_most_the_codes_there_are(self):
        assert surviving_codes([1e-5, 0.0], 0.05, num_codes=8).tolist() == [8, 8]
        assert largest_codebook(1e-5, 0.05) == surviving_codes(1e-5, 0.05, num_codes=1024) == 11


class TestAnyDensity:
    @pytest.mark.parametrize(("name", "direction"), BOTH_WAYS)
    def test_a_steady_state_obeys_its_equation(self, name, direction):
        """p_k (m_k - u_k) = a, by scipy's quadrature."""
        density = DENSITIES[name]
        lag = 0.5 * critical_speed(6, 1.0, density=density, direction=direction)
        codes = steady_state(6, lag, density=density, direction=direction)
        law = density.distribution() if hasattr(density, "distribution") else density
        borders = np.concatenate([[-np.inf], (codes[:-1] + codes[1:]) / 2, [np.inf]])
        low, high = law.support()
        for code, left, right in zip(codes, np.clip(borders[:-1], low, high), np.clip(borders[1:], low, high), strict=True):
            pull, _ = integrate.quad(lambda x, code=code: (x - code) * law.pdf(x), left, right, limit=200)
            assert pull == pytest.approx(direction * lag, abs=2e-7)

    @pytest.mark.parametrize(("name", "direction"), BOTH_WAYS)
    def test_the_mean_motion_agrees_on_either_side_of_the_threshold(self, name, direction):
        """Integrated by an ODE solver from the optimum: none of 3 codes dies just below v_c, one just above."""
        density = DENSITIES[name]
        law = density.distribution() if hasattr(density, "distribution") else density
        speed = critical_speed(3, 0.1, density=density, direction=direction)
        start = vq.reference.lloyd_max(law, 3).codes
        for share, left in ((0.93, 3), (1.07, 2)):
            motion = mean_motion(VQ(0.1), law, start, 60 / speed, speed=share * direction * speed)
            assert motion.alive[-1].sum() == left

    @pytest.mark.parametrize(("lag", "num_codes"), [(0.10231, 2), (0.011584, 4), (0.0013852, 8), (1.6359e-4, 16)])
    def test_the_normal_law(self, lag, num_codes):
        assert critical_speed(num_codes, 1.0, density=stats.norm()) == pytest.approx(lag, rel=1e-4)

    @given(shift=st.floats(-100, 100), scale=st.floats(0.01, 100))
    @settings(max_examples=5)
    def test_shifted_and_scaled(self, shift, scale):
        reference = critical_speed(4, 1.0, density=stats.beta(2, 5))
        moved = critical_speed(4, 1.0, density=stats.beta(2, 5, loc=shift, scale=scale))
        assert moved == pytest.approx(scale * reference, rel=1e-6)

    def test_mirrored(self):
        one = critical_speed([2, 7], 1.0, density=stats.beta(2, 5))
        other = critical_speed([2, 7], 1.0, density=stats.beta(5, 2), direction=-1)
        np.testing.assert_allclose(one, other, rtol=1e-8)


class TestHighResolution:
    @pytest.mark.parametrize("name", ["uniform", "beta", "arcsine", "triangle"])
    @pytest.mark.parametrize("direction", [1, -1])
    def test_within_one_code_of_the_discrete_law(self, name, direction):
        density = {"uniform": stats.uniform(), "triangle": stats.triang(0.3)}.get(name) or DENSITIES[name]
        for num_codes in (8, 64):
            lag = critical_speed(num_codes, 1.0, density=density, direction=direction)
            assert high_resolution_codes(lag, density=density, direction=direction) == pytest.approx(num_codes, abs=1)

    @pytest.mark.parametrize("name", ["normal", "logistic"])
    def test_a_tail_needs_an_edge_and_has_one(self, name):
        density = DENSITIES[name]
        with pytest.raises(ValueError, match="pass edge='tail'"):
            high_resolution_codes(1e-6, density=density)
        for num_codes in (16, 64):
            lag = critical_speed(num_codes, 1.0, density=density)
            assert high_resolution_codes(lag, density=density, edge="tail") == pytest.approx(num_codes, abs=1.5)

    def test_the_edge_of_a_tail_obeys_its_equation(self):
        (edge,) = tail_edges(1e-6, density=stats.norm())
        assert stats.norm.pdf(edge) == pytest.approx(0.02504 * 1e-6 * edge**2, rel=1e-4)

    def test_the_uniform_law_is_the_integral(self):
        by_quadrature = high_resolution_codes(1e-5, density=stats.uniform())
        assert by_quadrature == pytest.approx(high_resolution_codes(1e-5), rel=1e-8)


class TestDimensions:
    @pytest.mark.parametrize("dim", [2, 3, 8])
    def test_the_scaling_law(self, dim):
        K = np.array([100, 1000])
        law = cell_moment(dim) * ((dim + 2) / 2) ** ((dim + 2) / dim) * K ** (-(dim + 2.0) / dim)
        np.testing.assert_allclose(critical_speed(K, 0.1, dim=dim), 0.1 * law, rtol=1e-12)
        assert surviving_codes(0.1 * law * (1 - 1e-9), 0.1, dim=dim).tolist() == K.tolist()

    def test_on_the_line_it_is_the_limit_of_the_exact_law(self):
        from vqtheory.theory._cube import Cube

        assert Cube(1).critical_lag(np.array(500)) == pytest.approx(critical_speed(500, 1.0), rel=1e-4)


class TestFiniteStepSize:
    def test_noise_takes_off_a_share_that_grows_as_the_step_to_two_thirds(self):
        shares = [1 - critical_speed(4, eta, steps=int(1e7 / eta)) / critical_speed(4, eta) for eta in (1e-3, 8e-3)]
        assert 4 < shares[1] / shares[0] < 4.4  # the logarithm grows by half that of the share, 0.7 of about 10

    def test_a_batch_counts_like_a_smaller_step(self):
        one = critical_speed(4, 1e-3, steps=10**9) / 1e-3
        many = critical_speed(4, 0.1, batch_size=100, steps=10**7) / 0.1
        assert one == pytest.approx(many, rel=1e-9)

    def test_the_share_tends_to_the_published_constant(self):
        from vqtheory.theory._conditions import law_of
        from vqtheory.theory._escape import escape

        law = law_of("test", 1, None, 1)
        shares = [escape(law.density, *law.fold(K)).share for K in (2, 8, 64, 512)]
        assert shares == sorted(shares)
        assert shares[0] == pytest.approx(0.310, abs=1e-3)
        assert 0.42 < shares[-1] < 0.445

    def test_the_required_step_is_the_least_that_is_enough(self):
        eta = required_step_size(4, 1e-5, steps=10**7)
        assert critical_speed(4, eta, steps=10**7) == pytest.approx(1e-5, rel=1e-9)
        assert math.isnan(required_step_size(64, 1e-6, steps=10**7))


class TestTransients:
    @pytest.mark.parametrize("num_codes", [3, 6])
    def test_a_shrinking_cloud_loses_a_code_above_its_rate_and_not_below(self, num_codes):
        """The mean motion in the frame that shrinks along: du = p (m - u) + rho u, integrated."""

        def velocity(t, u, rate):
            order = np.argsort(u)
            inner = (u[order][:-1] + u[order][1:]) / 2
            borders = np.clip(np.concatenate([[-0.5], inner, [0.5]]), -0.5, 0.5)
            pull = np.empty_like(u)
            pull[order] = ((borders[1:] - u[order]) ** 2 - (borders[:-1] - u[order]) ** 2) / 2
            return pull + rate * u

        critical = critical_shrink_rate(num_codes, 1.0)
        start = ((np.arange(num_codes) + 0.5) / num_codes - 0.5) * 0.99 + 1e-3
        for share, all_live in ((0.97, True), (1.03, False)):
            end = integrate.solve_ivp(velocity, [0, 300 / critical], start, "LSODA", args=(share * critical,), rtol=1e-8).y[
                :, -1
            ]
            assert (np.abs(end).max() < 0.5) == all_live

    def test_rates_fall_to_the_limit(self):
        rates = critical_shrink_rate([2, 8, 64, 1024, 1025, 10**6], 1.0)
        shares = rates / [_limit(K) for K in (2, 8, 64, 1024, 1025, 10**6)]
        assert (np.diff(shares) > 0).all()
        assert shares[-1] == pytest.approx(1, abs=1e-5)
        assert np.isinf(critical_shrink_rate(1, 1.0))

    @given(rate=st.floats(1e-9, 1), eta=st.floats(0.01, 1))
    @settings(max_examples=30)
    def test_survivors_of_shrinking_invert_the_rate(self, rate, eta):
        K = shrink_surviving_codes(rate, eta)
        assert critical_shrink_rate(K, eta) >= rate > critical_shrink_rate(K + 1, eta)

    def test_a_growing_cloud_keeps_the_mass_of_as_many_codes(self):
        """By the spacing (6 rho u^2)^(1/3) half of them are outside of the middle eighth; the others crowd in it."""
        rate = 4 * 18 / 64**3
        codes = _growing(64, rate)
        assert np.sum(np.abs(codes) > 1 / 16) == pytest.approx(uncrowded_codes(rate, 1.0) / 2, abs=1)
        assert (np.diff(codes) > 0).all()

    def test_jumps(self):
        assert jump_surviving_codes([4, 10], [[0.3], [0.05]]).tolist() == [[3, 7], [4, 10]]
        for jump in (0.1, 0.3, 0.55, 1.5):
            motion = mean_motion(VQ(1.0), stats.uniform(), (np.arange(10) + 0.5) / 10 - jump, 3000.0)
            assert motion.alive[-1].sum() >= jump_surviving_codes(10, jump)


def _growing(num_codes, rate):
    """Codes at rest in a cloud on [-1/2, 1/2] that grows: p_k (m_k - u_k) = rho u_k."""

    def velocity(t, u):
        borders = np.concatenate([[-0.5], (u[1:] + u[:-1]) / 2, [0.5]])
        return ((borders[1:] - u) ** 2 - (borders[:-1] - u) ** 2) / 2 - rate * u

    start = (np.arange(num_codes) + 0.5) / num_codes - 0.5
    return integrate.solve_ivp(velocity, [0, 20 / rate + 200 * num_codes], start, "LSODA", rtol=1e-8, atol=1e-12).y[:, -1]


class TestAdam:
    def test_the_lag_solves_its_definition(self):
        """r = E g / sqrt(E g^2), with the moments of a batch by simulation of the sum over a cell."""
        p, s, N, r = 0.2, 0.3, 64, 0.5
        lag = adam_lag(r, p, s, N)
        random = np.random.default_rng(0)
        inside = random.random((200_000, N)) < p
        gradients = np.where(inside, random.normal(lag, s, inside.shape), 0).mean(axis=1)
        assert gradients.mean() / np.sqrt(np.mean(gradients**2)) == pytest.approx(r, abs=4 * 200_000**-0.5)

    @pytest.mark.parametrize(
        ("pair", "law"), [((8, 64), 0.600), ((8, 256), 0.832), ((16, 256), 0.525), ((16, 1024), 0.777), ((32, 1024), 0.431)]
    )
    def test_critical_speeds(self, pair, law):
        assert adam_critical_speed(pair[0], 1.0, pair[1]) == pytest.approx(law, abs=1e-3)

    def test_the_chain_at_the_threshold_fits_exactly(self):
        """Solved again by scipy: K cells, each p/2 - e = l(p), from the least of all first codes."""
        K, N = 8, 256
        ratio = adam_critical_speed(K, 1.0, N)

        def total(offset):
            mass = 0.0
            for _ in range(K):
                least = ratio**2 / (N * (1 - ratio**2) + ratio**2)
                lag = lambda p, e=offset: p / 2 - e - adam_lag(ratio, p, p / math.sqrt(12), N)  # noqa: E731
                p = optimize.brentq(lag, max(least * (1 + 1e-12), 2 * offset), 0.999, xtol=1e-14)
                mass, offset = mass + p, p - offset
            return mass

        least = optimize.minimize_scalar(total, bounds=(-1 / K, 0.5 / K), method="bounded").fun
        assert least == pytest.approx(1, abs=1e-6)

    def test_limits(self):
        assert adam_critical_speed(1024, 1e-3, 1024) == pytest.approx(3e-3 * 32 * 1024**-1.5, rel=0.01)
        assert adam_critical_speed(1, 0.1, 8) == 0.1
        assert adam_critical_speed([4, 8, 16, 32], 1.0, 64).tolist() == sorted(
            adam_critical_speed([4, 8, 16, 32], 1.0, 64), reverse=True
        )
        assert np.isinf(adam_lag(1.0, 0.5, 1.0, 10))

    @given(speed=st.floats(0.2, 0.9), batch_size=st.integers(2, 4096))
    @settings(max_examples=20)
    def test_survivors_invert_the_critical_speed(self, speed, batch_size):
        K = adam_surviving_codes(speed, 1.0, batch_size)
        assert adam_critical_speed(K, 1.0, batch_size) >= speed > adam_critical_speed(K + 1, 1.0, batch_size)

    def test_weight_decay(self):
        assert weight_decay_speed(0.1, [0.0, 0.5], 2.0).tolist() == [0.0, 0.1]


REFUSED = [
    (lambda: critical_speed(0, 0.1), "'num_codes' parameter of critical_speed must be an int >= 1. Got 0"),
    (lambda: critical_speed(2, [0.1, 0.0]), "'step_size' parameter of critical_speed must be a number > 0. Got 0.0"),
    (lambda: critical_speed(2, 0.1, density=stats.cauchy()), "variance"),
    (lambda: critical_speed(2, 0.1, density=stats.norm(), width=2.0), "'width'.*where a density is given"),
    (lambda: critical_speed(2, 0.1, density=stats.norm(), dim=2), "'dim'.*where a density in one dimension is given"),
    (lambda: critical_speed(2, 0.1, density=vq.streams.Gaussian(dim=2)), "in one dimension whose density is known"),
    (lambda: critical_speed(2, 0.1, dim=2, steps=10), "'steps'.*in one dimension only"),
    (lambda: critical_speed(2, 0.1, direction=0), "'direction'.*1 or -1. Got 0"),
    (lambda: surviving_codes(0.0, 0.1), "'speed' parameter of surviving_codes must be a number > 0"),
    (lambda: high_resolution_codes(1e-5, density=stats.expon(), edge="tial"), "did you mean 'tail'|known: tail"),
    (lambda: tail_edges(1e-5, density=stats.expon()), "the cloud ends without a tail"),
    (lambda: adam_critical_speed(20_000, 0.1, 8), "16384. Got 20000"),
    (lambda: critical_shrink_rate(2.5, 0.1), "'num_codes' parameter of critical_shrink_rate must be an int >= 1. Got 2.5"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_bad_input_gets_one_clear_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
