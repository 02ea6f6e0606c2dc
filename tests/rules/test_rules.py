"""One conformance table that every rule passes, and what each rule is known for."""

import pickle
import re
import tracemalloc
from pathlib import Path

import numba
import numpy as np
import pytest
import table

from vqtheory import Batches, measure, rules
from vqtheory._base.config import parse
from vqtheory.assign import nearest
from vqtheory.rules import CVQ, EMA, FSCL, NSVQ, SOM, VQ, Conscience, CosineVQ, NeuralGas, TrainedVQ
from vqtheory.schedules import exponential, harmonic, linear
from vqtheory.testing import check_rule

every_rule = pytest.mark.parametrize("rule", table.RULES, ids=repr)


def batches(rule, steps=8, batch_size=4, dim=2, dtype=np.float64, seed=0):
    random = np.random.default_rng(seed)
    x, moved = random.normal(size=(2, steps, batch_size, dim)).astype(dtype)
    return Batches(x, 0.1 * moved if rule.needs_displacement else None)


def each(parts, cut):
    """A cut of the steps of some batches."""
    return Batches(*(None if part is None else part[cut] for part in parts))


def codes_for(num_codes=6, dim=2, dtype=np.float64):
    return np.random.default_rng(1).normal(size=(num_codes, dim)).astype(dtype)


def test_the_list_and_the_page_have_every_rule():
    public = {name for name in rules.__all__ if name != "Rule"}
    assert {type(rule).__name__ for rule in table.RULES} == public
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == public


@every_rule
class TestConformance:
    def test_keeps_its_contract_and_its_claims(self, rule):
        report = check_rule(rule)
        assert report.ok, report

    def test_state_and_info_have_the_contract_s_shape(self, rule):
        state = rule.init(codes_for(), seed=3)
        after, info = rule.advance(state, batches(rule))
        assert type(after) is type(state)
        assert after._fields[:2] == ("codes", "step")
        assert (state.step, after.step) == (0, 8)
        assert after.codes.shape == (6, 2)
        assert info["hits"].shape == (6,)
        assert info["hits"].sum() == 32
        assert info["distortion"].shape == (8,)
        np.testing.assert_array_equal(info["last_hit"] >= 0, info["hits"] > 0)
        assert info["assignment"].shape == (4,)

    def test_no_updates_leave_the_state_as_it_is(self, rule):
        state = rule.init(codes_for(), seed=3)
        after, info = rule.advance(state, each(batches(rule), slice(0)))
        assert type(after) is type(state)
        for one, other in zip(after, state, strict=True):
            np.testing.assert_array_equal(one, other)
        assert info["hits"].tolist() == [0] * 6
        assert info["distortion"].shape == (0,)

    def test_a_state_comes_back_from_another_process(self, rule):
        """By pickle, and goes on to the same bits."""
        state, _ = rule.advance(rule.init(codes_for(), seed=3), batches(rule))
        again = pickle.loads(pickle.dumps(state))
        assert type(again) is type(state)
        for one, other in zip(*(rule.advance(part, batches(rule, seed=1))[0] for part in (state, again)), strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.filterwarnings("ignore:Replacement has at least")
    @pytest.mark.parametrize(("num_codes", "groups"), [(6, 1), (520, 32)])  # which goes by tiles, and by products
    def test_weights_count_like_copies(self, rule, num_codes, groups):
        """Of three samples the first with weight 2 and the third with weight 0: as if the first were there twice."""
        if getattr(rule, "clock", "step") == "wins":
            pytest.skip("a weight of 2 is one win with twice the gain")
        x, moved = np.random.default_rng(0).normal(size=(2, 3, groups, 3, 2))
        weight = np.broadcast_to([2.0, 1.0, 0.0], (3, groups, 3)).reshape(3, -1)
        weighted, copied = (
            Batches(*(part[:, :, samples].reshape(3, -1, 2) for part in (x, moved)), weight=shares)
            for samples, shares in (([0, 1, 2], weight), ([0, 0, 1], None))
        )
        state = rule.init(codes_for(num_codes), seed=3)
        (one, first), (other, second) = (rule.advance(state, part) for part in (weighted, copied))
        np.testing.assert_allclose(first["distortion"], second["distortion"], rtol=1e-12)
        counts = {"wins", "recent_hits", "last_hits", "seen", "reservoir"}  # every sample is a win, and one latent
        for name in set(one._fields) - counts:
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-12, err_msg=name)

    def test_repr_is_read_back(self, rule):
        assert parse(repr(rule)) == rule

    def test_refuses_what_does_not_fit(self, rule):
        state = rule.init(codes_for(), seed=3)
        good = batches(rule)
        bad = good.x.copy()
        bad[2, 1, 0] = np.nan
        with pytest.raises(ValueError, match=r"index \(2, 1, 0\)"):
            rule.advance(state, good._replace(x=bad))
        with pytest.raises(ValueError, match=r"\(8, 4, 3\) and codes of shape \(6, 2\)"):
            rule.advance(state, good._replace(x=np.zeros((8, 4, 3))))
        with pytest.raises(ValueError, match="dtype of the codes, float64. Got float32"):
            rule.advance(state, good._replace(x=good.x.astype(np.float32)))
        with pytest.raises(ValueError, match="codes"):
            rule.init(np.zeros((0, 2)))


class TestIdentities:
    """Online k-means, exactly."""

    x = np.random.default_rng(2).normal(size=(1, 64, 3))
    codes = np.random.default_rng(3).normal(size=(8, 3))

    def lloyd_step(self):
        assignment, _ = nearest(self.x[0], self.codes)
        return np.array(
            [self.x[0][assignment == k].mean(axis=0) if (assignment == k).any() else self.codes[k] for k in range(8)]
        )

    def test_ema_without_memory_is_a_lloyd_step(self):
        rule = EMA(decay=0.0)
        after, _ = rule.advance(rule.init(self.codes), Batches(self.x))
        np.testing.assert_allclose(after.codes, self.lloyd_step(), rtol=0, atol=1e-14)

    def test_vq_with_a_row_s_own_step_is_a_lloyd_step(self):
        rule = VQ(step_size=1.0)
        after, info = rule.advance(rule.init(self.codes), Batches(self.x))
        share = np.maximum(info["hits"], 1)[:, None] / 64
        np.testing.assert_allclose(self.codes + (after.codes - self.codes) / share, self.lloyd_step(), rtol=0, atol=1e-13)

    def test_macqueen_leaves_each_code_at_the_mean_of_what_it_won(self):
        rule, x = VQ(harmonic(1.0), clock="wins"), self.x.reshape(64, 1, 3)
        state, won = rule.init(self.codes), [[] for _ in range(8)]
        for sample in x:
            state, info = rule.advance(state, Batches(sample[None]))
            won[info["assignment"][0]].append(sample[0])
        means = [np.mean(samples, axis=0) if samples else code for samples, code in zip(won, self.codes, strict=True)]
        np.testing.assert_allclose(state.codes, means, rtol=0, atol=1e-14)

    def test_a_weight_multiplies_the_gain_by_wins(self):
        weighted = Batches(self.x, weight=np.full((1, 64), 0.5))
        quick, slow = VQ(0.8, clock="wins"), VQ(0.4, clock="wins")
        after, info = quick.advance(quick.init(self.codes), weighted)
        expected, unweighted = slow.advance(slow.init(self.codes), Batches(self.x))
        np.testing.assert_array_equal(after.codes, expected.codes)
        np.testing.assert_allclose(info["distortion"], unweighted["distortion"], rtol=1e-14)

    def test_gains_by_wins_need_no_table_from_zero(self):
        """Codes far apart in their counts: the gains are those of the counts, not of the table's order."""
        rule = VQ(harmonic(1.0), clock="wins")
        wins = np.array([10**12, 5, 0, 7, 10**12 + 1, 6, 3, 10**6])
        state = rule.init(self.codes)._replace(wins=wins)
        after, info = rule.advance(state, Batches(self.x[:, :1]))
        k = info["assignment"][0]
        expected = self.codes[k] + (self.x[0, 0] - self.codes[k]) / (1 + wins[k])
        np.testing.assert_allclose(after.codes[k], expected, rtol=1e-14)

    def test_one_sample_a_step_equals_steps_of_one_sample(self):
        rule = VQ(step_size=0.1)
        online = Batches(self.x.reshape(64, 1, 3))
        state, _ = rule.advance(rule.init(self.codes), online)
        codes = self.codes.copy()
        for sample in self.x[0]:
            k, _ = nearest(sample[None], codes)
            codes[k[0]] += 0.1 * (sample - codes[k[0]])
        np.testing.assert_allclose(state.codes, codes, rtol=0, atol=1e-14)


class TestDeadCodes:
    def dead_run(self, rule, steps):
        """One code beside the latents and one far from them, which never wins."""
        x = 5 + 0.1 * np.random.default_rng(0).normal(size=(steps, 8, 1))
        state, info = rule.advance(rule.init(np.array([[5.0], [1.0]])), Batches(x))
        assert info["hits"][1] == 0
        return state

    def test_ema_without_smoothing_leaves_it(self):
        state = self.dead_run(EMA(decay=0.5), steps=1200)
        assert state.codes[1, 0] == 1.0
        assert state.counts[1] == 0.0  # underflown, and no 0/0

    def test_ema_with_smoothing_takes_it_to_the_origin(self):
        """c(t) = c(0) gamma^t / (gamma^t + eps) (S + K eps) / S: half way after ln(1/eps) / ln(1/gamma)."""
        half_way = 52
        state = self.dead_run(EMA(decay=0.8, smoothing=1e-5), steps=half_way)
        share = 0.8**half_way / (0.8**half_way + 1e-5)
        total = state.counts.sum()
        np.testing.assert_allclose(state.codes[1, 0], share * (total + 2e-5) / total, rtol=1e-12)
        assert abs(self.dead_run(EMA(decay=0.8, smoothing=1e-5), steps=200).codes[1, 0]) < 1e-12

    def test_a_revived_code_jumps_to_what_it_wins(self):
        rule = EMA(decay=0.5)
        state = self.dead_run(rule, steps=1200)
        state, _ = rule.advance(state, Batches(np.array([[[1.5]]])))
        np.testing.assert_allclose(state.codes[1, 0], 1.5)


class TestNSVQ:
    def test_becomes_vq_as_the_bandwidth_shrinks(self):
        part, codes = batches(VQ()), codes_for()
        plain, _ = VQ(0.25).advance(VQ(0.25).init(codes), part)
        for form in ("gaussian", "softmax"):
            rule = NSVQ(0.25, bandwidth=1e-6, form=form)
            narrow, _ = rule.advance(rule.init(codes), part)
            np.testing.assert_array_equal(narrow.codes, plain.codes)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @pytest.mark.parametrize("bandwidth", [1e-300, exponential(1.0, half_life=1e-3), linear(1.0, 0.0, steps=1)])
    @pytest.mark.parametrize("form", ["gaussian", "softmax"])
    def test_a_kernel_narrower_than_any_number_is_vq(self, form, bandwidth, dtype):
        part, codes = batches(VQ(), dtype=dtype), codes_for(dtype=dtype)
        start = VQ(0.25).init(codes)._replace(step=np.int64(5))
        plain, _ = VQ(0.25).advance(start, part)
        rule = NSVQ(0.25, bandwidth, form=form)
        with np.errstate(over="ignore"):  # compiled kernels say nothing
            narrow, _ = rule.advance(rule.init(codes)._replace(step=np.int64(5)), part)
        np.testing.assert_array_equal(narrow.codes, plain.codes)

    @pytest.mark.parametrize("form", ["gaussian", "softmax", "propagate", "normalised"])
    @pytest.mark.parametrize("batch_size", [1, 5])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_chunks_make_no_difference_to_many_codes(self, form, batch_size, dtype):
        rule = NSVQ() if form == "normalised" else NSVQ(0.25, exponential(2.0, half_life=3), form=form)
        part, whole = batches(rule, 6, batch_size, 3, dtype), rule.init(codes_for(200, 3, dtype))
        expected, _ = rule.advance(whole, part)
        state = rule.advance(rule.advance(whole, each(part, slice(0, 2)))[0], each(part, slice(2, 6)))[0]
        np.testing.assert_array_equal(state.codes, expected.codes)

    @pytest.mark.parametrize("batch_size", [1, 5])
    def test_many_codes_are_assigned_and_move_as_those_of_vq(self, batch_size):
        """Codes 10 and 150 are one point: the lower one wins."""
        rule, part, codes = NSVQ(0.25, bandwidth=1e-6), batches(VQ(), 20, batch_size), codes_for(200)
        codes[150] = codes[10] = part.x[0, 0]
        narrow, found = rule.advance(rule.init(codes), part)
        plain, expected = VQ(0.25).advance(VQ(0.25).init(codes), part)
        np.testing.assert_array_equal(narrow.codes, plain.codes)
        assert found["hits"][10] > found["hits"][150]
        for name, value in expected.items():
            np.testing.assert_array_equal(found[name], value)

    @pytest.mark.parametrize(("dtype", "edge"), [(np.float64, 8.49), (np.float32, 5.65)])
    def test_a_code_out_of_reach_stays(self, dtype, edge):
        """sqrt(2 ln(kappa / u)) is 8.490 in float64 and 5.647 in float32; a code beside 0 shows the least move."""
        rule = NSVQ(0.5, bandwidth=1.0)
        for x, moves in ((edge - 0.01, True), (edge + 0.01, False)):
            after, _ = rule.advance(rule.init(np.array([[x], [0.0]], dtype)), Batches(np.array([[[x]]], dtype)))
            assert (after.codes[1, 0] > 0) == moves

    @pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="20,000 codes")
    @pytest.mark.parametrize("form", ["gaussian", "softmax", "propagate", "normalised"])
    @pytest.mark.parametrize("batch_size", [1, 4])
    def test_needs_one_copy_of_the_codes(self, form, batch_size):
        rule = NSVQ(form=form)
        part, state = batches(rule, 1, batch_size, 16), rule.init(codes_for(20_000, 16))
        rule.advance(rule.init(codes_for(2, 16)), part)  # compiles
        tracemalloc.start()
        rule.advance(state, part)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # a copy, and three integers for each code: hits, last_hit, and where a batch's winner is summed; normalised, also
        # its count, the weight of what it wins, and the distance to its nearest latent
        numbers = 6 if form == "normalised" else 3
        assert peak < state.codes.nbytes + numbers * 8 * len(state.codes) + 100_000

    def test_propagate_passes_a_rigid_translation_on_whole(self):
        """All codes move by the encoder's displacement, those that win nothing too, whatever the speed."""
        rule, speed = NSVQ(1e-9, bandwidth=3.0, form="propagate"), 2.5
        x = np.random.default_rng(0).normal(size=(20, 16, 2)) + speed * np.arange(20)[:, None, None]
        moved = np.full_like(x, speed)
        codes = codes_for() - 2
        state, _ = rule.advance(rule.init(codes), Batches(x, moved))
        np.testing.assert_allclose(state.codes, codes + 20 * speed, rtol=1e-7)

    def test_propagate_leaves_a_code_that_no_sample_reaches(self):
        rule = NSVQ(0.1, bandwidth=0.01, form="propagate")
        state, _ = rule.advance(rule.init(np.array([[0.0], [1e3]])), Batches(np.zeros((1, 4, 1)), np.ones((1, 4, 1))))
        np.testing.assert_allclose(state.codes.ravel(), [1.0, 1e3], rtol=1e-15)

    def test_propagate_asks_for_the_displacement(self):
        rule = NSVQ(form="propagate")
        with pytest.raises(ValueError, match="displacement"):
            rule.advance(rule.init(codes_for()), Batches(np.zeros((1, 4, 2))))

    def test_recovers_from_exact_ties(self):
        """Codes merged to the same bits: one of them wins and parts from the rest; distinct codes grow again."""
        rule = NSVQ(0.5, bandwidth=exponential(1.0, half_life=50))
        state = rule.init(np.zeros((8, 2)))
        x = np.random.default_rng(0).normal(size=(600, 16, 2))
        state, _ = rule.advance(state, Batches(x))
        assert measure.distinct(state.codes) == 8


class TestNormalisedNSVQ:
    @pytest.mark.parametrize(
        ("rule", "same"),
        [
            (NSVQ(), NSVQ(form="normalised")),
            (NSVQ(bandwidth=0.3), NSVQ(0.05, 0.3, form="gaussian")),
            (NSVQ(0.1), NSVQ(0.1, 1.0, form="gaussian")),
            (NSVQ(form="softmax"), NSVQ(0.05, 1.0, form="softmax")),
        ],
    )
    def test_a_step_size_or_a_bandwidth_makes_it_gaussian(self, rule, same):
        assert rule == same
        assert len(repr(rule)) <= len(repr(same)) < len("NSVQ(bandwidth=0.3, form='gaussian')")

    def test_an_update_by_hand(self):
        """Latents -1 and 2 of codes 0, 1 and 4, kappa = gamma = 1/2: tau = 1, and softmaxes exp(-d^2) over their sums."""
        rule, near, far = NSVQ(strength=0.5, decay=0.5), np.exp(-3), np.exp(-24)
        state, info = rule.advance(rule.init(np.array([[0.0], [1.0], [4.0]])), Batches(np.array([[[-1.0], [2.0]]])))
        first, second = 1 + near + far, 1 + 2 * near
        kernel = 0.5 * np.array([near / second, near / first, far / first + near / second])
        pulls = 0.5 * np.array([2 * near / second, -2 * near / first, -5 * far / first - 2 * near / second])
        counts = np.array([1 + kernel[0] / 2, 1 + kernel[1] / 2, 5.5 * kernel[2]])  # 1 is 10 times more than the third's
        np.testing.assert_allclose(state.counts, counts, rtol=1e-14)
        np.testing.assert_allclose(
            state.codes.ravel(), [0, 1, 4] + 0.5 / counts * (np.array([-1, 1, 0]) + pulls), rtol=1e-14, atol=1e-15
        )
        assert info["distortion"] == [1.0]

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_a_code_out_of_all_reach_comes_back(self, dtype):
        """Where no weight is a number: with x the nearest latent, c(t) - x = (c(0) - x) 10 gamma^t / (1 + 9 gamma^t)."""
        rule, x = NSVQ(decay=0.5), np.random.default_rng(0).uniform(-1, 1, (1, 64, 1)).astype(dtype)
        state, left = rule.init(np.array([[0.0], [1e4]], dtype)), 0.5**10
        state, info = rule.advance(state, Batches(x.repeat(10, axis=0)))
        assert state.codes[1, 0] - x.max() == pytest.approx((1e4 - x.max()) * 10 * left / (1 + 9 * left), rel=1e-5)
        assert info["hits"][1] == 0
        state, info = rule.advance(state, Batches(x.repeat(30, axis=0)))
        assert info["hits"].min() > 0

    def test_codes_at_one_point_part(self):
        rule, x = NSVQ(), np.random.default_rng(0).normal(size=(60, 64, 2))
        state, info = rule.advance(rule.init(np.zeros((8, 2))), Batches(x))
        assert measure.distinct(state.codes) == 8
        assert info["hits"].min() > 0

    def test_latents_without_weight_and_latents_on_codes_move_nothing(self):
        rule, codes = NSVQ(), codes_for()
        for batch in (Batches(np.ones((2, 3, 2)), weight=np.zeros((2, 3))), Batches(codes[None].repeat(2, axis=0))):
            state, _ = rule.advance(rule.init(codes), batch)
            np.testing.assert_array_equal(state.codes, codes)


BAD = [
    (lambda: VQ(step_size=0), "The 'step_size' parameter of VQ must be a number > 0. Got 0."),
    (lambda: VQ(step_size=-1), "The 'step_size' parameter of VQ must be a number > 0. Got -1."),
    (lambda: VQ(step_size="fast"), "The 'step_size' parameter of VQ must be a number > 0. Got 'fast'."),
    (lambda: VQ(clock="hits"), "did you mean 'wins'|known: step, wins"),
    (lambda: EMA(decay=1.0), "The 'decay' parameter of EMA must be a number >= 0 and < 1"),
    (lambda: NSVQ(bandwidth=0), "The 'bandwidth' parameter of NSVQ must be a number > 0. Got 0."),
    (lambda: VQ(linear(0.1, -1.0, steps=5)), "The 'step_size' parameter of VQ must be a number >= 0. Got -1.0."),
    (lambda: EMA(linear(0.9, 1.5, steps=5)), "or a schedule that starts and ends there"),
    (lambda: NSVQ(form="gausian"), "did you mean 'gaussian'"),
    (lambda: NSVQ(0.1, strength=-1), "The 'strength' parameter of NSVQ must be a number >= 0. Got -1."),
    (lambda: NSVQ(strength=0), "The 'strength' parameter of NSVQ must be a number > 0. Got 0."),
    (lambda: NSVQ(0.1, form="normalised"), "'step_size' parameter of NSVQ must be left out with form='normalised'"),
    (lambda: NSVQ(bandwidth=1.0, form="normalised"), "'bandwidth' parameter of NSVQ must be left out with form='normal"),
    (lambda: NSVQ(decay=1.0), "The 'decay' parameter of NSVQ must be a number >= 0 and < 1. Got 1."),
    (lambda: NSVQ(0.1, decay=0.5), "'decay' parameter of NSVQ must be left out with form='gaussian', which keeps no"),
    (lambda: TrainedVQ(momentum=0.9), "below 1, and 0 with optimizer='adam'. Got 0.9"),
    (lambda: TrainedVQ(optimizer="adm"), "did you mean 'adam'"),
    (lambda: CVQ(anchors="nearest"), "known: closest, probabilistic, random"),
    (lambda: CVQ(similarity="dot"), "known: cosine, euclidean"),
    (lambda: CVQ(temperature=0), "The 'temperature' parameter of CVQ must be a number > 0. Got 0."),
    (lambda: CVQ(decay=1.0), "The 'decay' parameter of CVQ must be a number >= 0 and < 1. Got 1."),
    (lambda: NeuralGas(range=0), "The 'range' parameter of NeuralGas must be a number > 0. Got 0."),
    (lambda: SOM(range=-1), "The 'range' parameter of SOM must be a number > 0. Got -1."),
    (lambda: SOM(neighbourhood="mexican hat"), "known: bubble, gaussian"),
    (lambda: SOM(grid=(3, 0)), r"'grid' parameter of SOM must be None, or two ints >= 1. Got \(3, 0\)"),
    (lambda: SOM(grid=(2, 3)).init(np.zeros((8, 2))), r"grid of SOM, \(2, 3\), needs 2 x 3 = 6 codes. Got 8"),
    (lambda: FSCL(decay=1.5), "The 'decay' parameter of FSCL must be a number > 0 and <= 1. Got 1.5."),
    (lambda: FSCL(fairness=-1), "The 'fairness' parameter of FSCL must be a number >= 0. Got -1."),
    (lambda: Conscience(bias=-1), "The 'bias' parameter of Conscience must be a number >= 0. Got -1."),
    (lambda: Conscience(decay=1.0), "The 'decay' parameter of Conscience must be a number >= 0 and < 1. Got 1."),
    (lambda: CosineVQ(start="random"), "known: matched, published"),
    (lambda: CosineVQ().init(np.zeros((2, 2))), "length > 0"),
]


@pytest.mark.parametrize(("make", "sentence"), BAD)
def test_bad_input_gets_one_clear_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
