"""The tangent kernel of map rules, the straight-through variant, the dead-code lemma, against independent computations."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqtheory import Batches
from vqtheory.assign import nearest
from vqtheory.rules import EMA, NSVQ, VQ, SimVQ, TransVQ
from vqtheory.theory import (
    never_chosen,
    rigid_lag,
    rigid_usage,
    shared_shift_gain,
    straight_through_gradient,
    straight_through_target,
    tangent_kernel,
)

RANDOM_CODES = np.random.default_rng(0).normal(0.3, 0.004, size=(64, 8))


def codes_of(num_codes, dim):
    return RANDOM_CODES[:num_codes, :dim]


class SharedState(NamedTuple):
    codes: np.ndarray
    step: int
    theta: np.ndarray


class SharedShift:
    """C_k = theta_k + sqrt(beta) theta_shared: Theta = I + beta 1 1^T on every axis. Or the shift alone."""

    def __init__(self, beta, rigid=False):
        self.beta, self.rigid = beta, rigid

    def init(self, codes):
        return SharedState(
            codes, 0, np.append(0 * codes if self.rigid else codes, np.zeros((1, codes.shape[1])), axis=0).ravel()
        )

    def pullback(self, state, gradient):
        own = 0 * gradient if self.rigid else gradient
        return np.append(own, math.sqrt(self.beta) * gradient.sum(axis=0, keepdims=True), axis=0).ravel()

    def advance(self, state, batches):
        parts = state.theta.reshape(-1, state.codes.shape[1])
        own = state.codes if self.rigid else parts[:-1]
        return state._replace(codes=own + math.sqrt(self.beta) * parts[-1]), {}


class TestTangentKernel:
    def test_plain_vq_has_the_identity(self):
        kernel = tangent_kernel(VQ(), VQ().init(codes_of(6, 3)))
        np.testing.assert_array_equal(kernel.matrix, np.eye(18))
        assert (kernel.trace, kernel.rank, kernel.shift_gain, kernel.scaling_gain, kernel.shift_lag) == (18, 18, 1, 1, 1)
        assert kernel.lag(speed=1e-3, step_size=0.05) == pytest.approx(6 * 1e-3 / 0.05)

    @pytest.mark.parametrize("method", ["exact", "gram", "lanczos"])
    @pytest.mark.parametrize(("num_codes", "dim", "beta"), [(5, 2, 0.3), (12, 1, 4.0), (1, 3, 1.0)])
    def test_a_shared_shift(self, num_codes, dim, beta, method):
        """Theta = I + beta 1 1^T: eigenvalues 1 and 1 + beta K; Theta^-1 of a shift is 1 / (1 + beta K)."""
        rule, gain = SharedShift(beta), shared_shift_gain(beta, num_codes)
        kernel = tangent_kernel(rule, rule.init(codes_of(num_codes, dim)), method=method)
        assert kernel.shift_gain == pytest.approx(gain)
        if num_codes > 1:
            assert kernel.scaling_gain == pytest.approx(1)
            assert (kernel.lambda_min, kernel.lambda_max) == pytest.approx((1, gain), rel=1e-8)
        if method == "exact":
            np.testing.assert_allclose(kernel.matrix, np.kron(np.eye(num_codes) + beta, np.eye(dim)), atol=1e-12)
            assert kernel.shift_lag == pytest.approx(1 / gain)
        if method != "lanczos":
            assert kernel.rank == num_codes * dim
            assert kernel.trace == pytest.approx(num_codes * dim * (1 + beta))

    @pytest.mark.parametrize("start", ["matched", "published"])
    @pytest.mark.parametrize("rule", [TransVQ(step_size=1e-6, width=8, optimizer="sgd"), SimVQ(step_size=1e-3)], ids=repr)
    def test_one_update_moves_the_codes_by_it(self, rule, start):
        """-eta Theta G, with a matched start too, up to the second order: a fraction of about eta |Theta|."""
        rule = type(rule)(**{**vars(rule), "start": start})
        state = rule.init(codes_of(6, 2), 1)
        x = state.codes.mean(axis=0) + state.codes.std() * np.random.default_rng(3).normal(size=(20, 2))
        assignment, _ = nearest(x, state.codes)
        gradient = np.zeros((6, 2))
        np.add.at(gradient, assignment, (state.codes[assignment] - x) / 20)
        moved = (rule.advance(state, Batches(x[None]))[0].codes - state.codes).ravel()
        expected = -rule.step_size * tangent_kernel(rule, state).matrix @ gradient.ravel()
        np.testing.assert_allclose(moved, expected, rtol=0, atol=1e-4 * np.abs(expected).max())

    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize(("num_codes", "dim"), [(20, 2), (8, 8), (3, 3), (9, 8), (5, 8)])
    def test_simvq_has_the_rank_of_its_base(self, num_codes, dim, bias):
        """D min(K, D + 1), D min(K, D) without bias; and Theta = (C_0 C_0^T + 1 1^T) (x) I."""
        rule = SimVQ(bias=bias)
        state = rule.init(codes_of(num_codes, dim))
        kernel = tangent_kernel(rule, state, method="exact")
        assert kernel.rank == dim * min(num_codes, dim + bias)
        small = state.base @ state.base.T + bias
        np.testing.assert_allclose(kernel.matrix, np.kron(small, np.eye(dim)), atol=1e-12)
        assert (kernel.lambda_min > 0) == (num_codes <= dim + bias) or kernel.lambda_min < 1e-12
        tracks = bias or num_codes <= dim
        assert (kernel.shift_lag < np.inf) == tracks

    @pytest.mark.parametrize(("num_codes", "dim"), [(16, 1), (20, 3), (64, 8)])
    def test_transvq_is_of_full_rank_from_width_d_plus_2(self, num_codes, dim):
        """The last norm takes two directions of each code, its mean and its length.

        Narrower maps are of full rank only for so few codes that the shared weights make up for it.
        """
        ratios = []
        for width in (dim + 1, dim + 2):
            rule = TransVQ(width=width)
            kernel = tangent_kernel(rule, rule.init(codes_of(num_codes, dim)), method="exact")
            ratios.append(kernel.lambda_min / kernel.lambda_max)
        assert ratios[0] < 1e-12 < 1e-8 < ratios[1]
        assert kernel.rank == num_codes * dim

    @pytest.mark.parametrize(
        ("num_codes", "dim", "width", "positions", "low", "high"),
        [
            (64, 2, 64, True, 1e-3, 4e-3),
            (64, 2, 64, False, 1e-13, 1e-11),
            (64, 8, 64, False, 1e-5, 4e-5),
            (24, 2, 256, True, 0.05, 0.3),
        ],
    )
    def test_conditioning_of_transvq(self, num_codes, dim, width, positions, low, high):
        """Positions are what makes Theta well conditioned, the more the wider; without them it is nearly singular."""
        rule = TransVQ(width=width, positions=positions)
        kernel = tangent_kernel(rule, rule.init(codes_of(num_codes, dim)), method="exact")
        assert low < kernel.lambda_min / kernel.lambda_max < high

    @pytest.mark.parametrize(("width", "gain"), [(64, 73), (256, 286)])
    def test_transvq_takes_a_far_larger_step_than_plain_vq(self, width, gain):
        """trace / KD at the published start: about 1.12 times the width, nearly whatever K and D."""
        for num_codes, dim in [(12, 2), (24, 1)]:
            rule = TransVQ(width=width, start="published")
            kernel = tangent_kernel(rule, rule.init(codes_of(num_codes, dim)), method="exact")
            assert kernel.trace / (num_codes * dim) == pytest.approx(gain, rel=0.03)

    @pytest.mark.parametrize(
        "rule",
        [TransVQ(width=16), TransVQ(width=8, depth=2, heads=2), TransVQ(width=16, positions=False), SimVQ()],
        ids=repr,
    )
    def test_matrix_free_agrees_with_exact(self, rule):
        state = rule.init(codes_of(24, 3))
        exact, free = (tangent_kernel(rule, state, method=method) for method in ("exact", "lanczos"))
        assert free.lambda_max == pytest.approx(exact.lambda_max, rel=1e-8)
        assert free.lambda_min == pytest.approx(exact.lambda_min, rel=0.05, abs=1e-10 * exact.lambda_max)
        assert (free.shift_gain, free.scaling_gain) == (exact.shift_gain, exact.scaling_gain)
        spread = math.sqrt(2 / (exact.effective_rank * 25))  # of a Hutchinson estimate from 25 vectors
        assert free.trace == pytest.approx(exact.trace, rel=4 * spread)
        assert free.effective_rank == pytest.approx(exact.effective_rank, rel=8 * spread + 0.1)

    def test_gram_agrees_with_exact(self):
        rule = SimVQ()
        state = rule.init(codes_of(30, 4))
        exact, gram = (tangent_kernel(rule, state, method=method) for method in ("exact", "gram"))
        np.testing.assert_allclose(gram.eigenvalues, exact.eigenvalues, rtol=1e-8)
        assert (gram.rank, gram.lambda_min, gram.method) == (exact.rank, 0, "gram")

    def test_float32_states_are_taken_in_float64(self):
        rule = TransVQ(width=8)
        single = rule.init(codes_of(8, 2).astype(np.float32))
        kernel = tangent_kernel(rule, single)
        assert kernel.matrix.dtype == np.float64
        assert kernel.rank == 16

    @pytest.mark.parametrize("rule", [EMA(), NSVQ(), VQ(clock="wins")], ids=repr)
    def test_refuses_a_rule_that_is_no_gradient_step(self, rule):
        with pytest.raises(ValueError, match="must be a map rule, with a method 'pullback', or VQ"):
            tangent_kernel(rule, rule.init(codes_of(4, 2)))

    def test_the_lag_needs_the_whole_spectrum(self):
        rule = SimVQ()
        with pytest.raises(ValueError, match="needs a kernel with method='exact'"):
            tangent_kernel(rule, rule.init(codes_of(4, 2)), method="lanczos").lag(1e-3, 0.05)


def lag_of_rigid_codes(speed, step_size, num_codes=400, steps=60_000):
    """The fluid equation of the shift s of codes (2k - 1) / 2K + s under a uniform cloud on [vt, vt + 1]:
    exact integrals over the cells, in the frame of the cloud."""
    codes, shift = (2 * np.arange(num_codes) + 1) / (2 * num_codes), 0.0
    for _ in range(steps):
        placed = codes + shift
        borders = np.clip(np.concatenate([[-np.inf], (placed[1:] + placed[:-1]) / 2, [np.inf]]), 0, 1)
        pull = np.sum(np.diff(borders) * ((borders[1:] + borders[:-1]) / 2 - placed))
        shift += step_size * pull - speed
    return -shift, np.mean(np.diff(borders) > 0)


@pytest.mark.parametrize(("speed", "step_size"), [(2e-4, 0.01), (2e-3, 0.01), (8e-3, 0.01)])
def test_a_rigid_codebook_lags_by_the_law(speed, step_size):
    lag, usage = lag_of_rigid_codes(speed, step_size, steps=5_000)
    assert lag == pytest.approx(rigid_lag(speed, step_size), abs=1 / 400)
    assert usage == pytest.approx(rigid_usage(speed, step_size), abs=2 / 400)


def test_laws_of_rigid_and_shared_shifts_broadcast():
    assert rigid_lag([[1e-3], [2e-3]], [0.1, 0.2, 0.3]).shape == (2, 3)
    np.testing.assert_allclose(rigid_lag(1e-3, 0.1, width=4), 2 * rigid_lag(1e-3, 0.1))
    assert rigid_usage([0.0, 10.0], 0.1).tolist() == [1, 0]
    assert shared_shift_gain([0.5, 1.0], [[2], [4]]).tolist() == [[2, 3], [3, 5]]


class TestStraightThrough:
    @pytest.mark.parametrize("alpha", [1.0, 0.25])
    def test_equals_torch_autograd(self, alpha):
        """z_q = z + a c_q + sg((1 - a) c_q - z), a decoder and the codebook loss, in torch as they are written."""
        torch = pytest.importorskip("torch")
        generator = torch.Generator().manual_seed(0)
        z, codes, decoder, image = (
            torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in [(30, 4), (5, 4), (4, 7), (30, 7)]
        )
        z.requires_grad_()
        codes.requires_grad_()
        chosen = codes[torch.cdist(z, codes).argmin(dim=1)]
        weight = 2 * alpha / z.numel()
        z_q = z + weight * chosen + ((1 - weight) * chosen - z).detach()
        z_q.retain_grad()
        assert torch.allclose(z_q, chosen)
        rest = 50 * ((torch.tanh(z_q @ decoder) - image) ** 2).mean()  # rescaled, so that it can be felt
        (rest + alpha * ((z.detach() - chosen) ** 2).mean()).backward()
        arrays = [tensor.detach().numpy() for tensor in (z, codes, z_q.grad)]
        ours = straight_through_gradient(*arrays, alpha=alpha)
        np.testing.assert_allclose(ours, codes.grad.numpy(), rtol=0, atol=1e-15)
        np.testing.assert_allclose(z.grad.numpy(), z_q.grad.numpy(), rtol=0, atol=1e-15)
        usual = straight_through_gradient(*arrays, alpha=alpha, rescale=0.0)
        assert np.abs(ours - usual).max() > 1e-2 * np.abs(usual).max()

    def test_codes_rest_at_the_means_of_the_targets(self):
        z, gradient = np.random.default_rng(0).normal(size=(2, 12, 3))
        codes = straight_through_target(z, gradient).mean(axis=0, keepdims=True)
        assert np.abs(straight_through_gradient(z, codes, gradient)).max() < 1e-15

    def test_is_of_order_one_over_n_for_mean_losses(self):
        """For a mean of squares over N numbers the target is off by 2 |z_q - y| / N."""
        off = []
        for num in (16, 256, 4096):
            z, y = np.random.default_rng(0).normal(size=(2, num, 4))
            gradient = 2 * (z - y) / z.size
            off.append(np.sqrt(np.mean((straight_through_target(z, gradient) - z) ** 2)))
        np.testing.assert_allclose(np.log(np.array(off[:-1]) / off[1:]) / math.log(16), 1, atol=0.05)

    def test_refuses_gradients_of_another_shape(self):
        with pytest.raises(ValueError, match=r"the latents' shape \(2, 1\). Got \(1, 2\)"):
            straight_through_target([[1.0], [2.0]], [[1.0, 2.0]])


def points(num, dim):
    size = num * dim
    numbers = st.lists(st.integers(-64, 64), min_size=size, max_size=size)
    return numbers.map(lambda values: np.array(values, float).reshape(num, dim) / 16)


class TestNeverChosen:
    @given(
        codes=points(6, 2), center=points(1, 2), radius=st.integers(0, 40), angles=st.lists(st.floats(0, 6.3), max_size=20)
    )
    def test_no_point_of_the_ball_chooses_it(self, codes, center, radius, angles):
        """Nor do the points at which it comes nearest to winning: the far side of the ball from a rival."""
        radius /= 16
        shut_out, center = never_chosen(codes, center[0], radius), center[0]
        directions = [np.array([math.cos(angle), math.sin(angle)]) for angle in angles]
        for j in np.flatnonzero(shut_out):
            away = codes[j] - codes
            length = np.linalg.norm(away, axis=1)
            directions += list(away[length > 0] / length[length > 0, None])
        x = center + radius * (1 - 1e-15) * np.array([[0, 0], *directions])
        chosen, _ = nearest(x, codes)
        assert not shut_out[chosen].any()

    @given(codes=points(5, 2), center=points(1, 2), radius=st.integers(0, 20))
    def test_the_simpler_condition_implies_the_exact_one(self, codes, center, radius):
        simple, exact = (never_chosen(codes, center[0], radius / 16, any_metric=simple) for simple in (True, False))
        assert not (simple & ~exact & (radius > 0)).any()

    @pytest.mark.parametrize("any_metric", [True, False])
    @pytest.mark.parametrize("nearer", [0.0, 0.25, 1.0])
    def test_is_sharp(self, nearer, any_metric):
        """mu between the codes and |c_j - mu| = 2R + |c_i - mu|: a tie at the ball's edge; a hair farther, never."""
        ball = {"center": [5.0, 0.0], "radius": 0.5}
        for excess, expected in [(-1e-9, False), (0.0, False), (1e-9, True)]:
            codes = np.array([[5.0 - nearer, 0.0], [6.0 + nearer + excess, 0.0]])
            assert never_chosen(codes, **ball, any_metric=any_metric).tolist() == [False, expected]
        winner, _ = nearest([[5.5, 0.0]], np.array([[5.0 - nearer, 0.0], [6.0 + nearer - 1e-9, 0.0]]))
        assert winner[0] == 1

    def test_is_exact_for_two_codes(self):
        """Against the best of many points on the edge of the ball."""
        angles = np.linspace(0, 2 * np.pi, 20_001)
        edge = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        for codes in np.random.default_rng(0).normal(0, 2, size=(200, 2, 2)):
            wins = nearest(edge, codes)[0]
            expected = [not (wins == 0).any(), not (wins == 1).any()]
            assert never_chosen(codes, [0.0, 0.0], 1.0).tolist() == expected

    def test_several_rivals_together_are_beyond_it(self):
        """A code that no single rival shuts out, but three do: False is not a proof of life."""
        rivals = 1.2 * np.array([[math.cos(a), math.sin(a)] for a in (0.5, 1.57, 2.6)])
        codes = np.vstack([rivals, [[0.0, 2.4]]])
        angles = np.linspace(0, 2 * np.pi, 2001)
        ball = np.vstack([radius * np.stack([np.cos(angles), np.sin(angles)], axis=1) for radius in (0.5, 1.0)])
        assert not (nearest(ball, codes)[0] == 3).any()

    def test_dead_now_is_not_dead_for_ever(self):
        """Uniform on [0.2, 1] standing still: the lemma holds for the first code until its rivals have moved off."""
        codes, ball = np.array([[0.05], [0.34], [0.5]]), {"center": [0.6], "radius": 0.4}
        assert never_chosen(codes, **ball).tolist() == [True, False, False]
        x = 0.2 + 0.8 * (np.arange(400) + 0.5) / 400
        rule = VQ(step_size=0.5)
        state, hits = rule.init(codes), []
        for _ in range(60):
            state, info = rule.advance(state, Batches(np.repeat(x[None, :, None], 5, axis=0)))
            hits.append(info["hits"][0])
            if hits[-1] == 0:
                assert state.codes[0, 0] == 0.05  # frozen, to the bit, for as long
        assert hits[0] == 0
        assert hits[-1] > 0

    def test_in_blocks(self, monkeypatch):
        codes = np.random.default_rng(0).normal(0, 3, size=(300, 2))
        whole = never_chosen(codes, [0.0, 0.0], 0.5)
        monkeypatch.setattr("vqtheory.theory.dead_codes._BLOCK", 1000)
        np.testing.assert_array_equal(never_chosen(codes, [0.0, 0.0], 0.5), whole)
        assert 0 < whole.sum() < 300

    def test_bad_input(self):
        with pytest.raises(ValueError, match="'radius' parameter of never_chosen must be a number >= 0. Got -1"):
            never_chosen([[0.0]], [0.0], -1)
        with pytest.raises(ValueError, match=r"'center' parameter of never_chosen must be a \[rows, 2\]"):
            never_chosen([[0.0, 1.0]], [0.0], 1)
