"""Replacement in the simulator, beside what the table of all rules asks of it."""

import numpy as np
import pytest

import vqtheory as vq
from vqtheory import Batches
from vqtheory.rules import (
    CVQ,
    EMA,
    FSCL,
    NSVQ,
    VQ,
    Affine,
    Conscience,
    Reestimate,
    Replacement,
    SimVQ,
    Sinkhorn,
    TrainedVQ,
    Transport,
)
from vqtheory.rules.replacement import POLICIES

LINE = vq.streams.Stream(vq.streams.Uniform(dim=1))


def batches(steps=8, size=6, dim=2):
    return Batches(np.random.default_rng(0).normal(size=(steps, size, dim)))


def codes_for(num_codes=5, far=2):
    """The last `far` codes are out of reach."""
    codes = np.random.default_rng(1).normal(size=(num_codes, 2))
    codes[num_codes - far :] += 1e3
    return codes


@pytest.mark.parametrize("policy", POLICIES)
def test_codes_out_of_reach_come_to_latents_of_the_last_batch_each_to_its_own(policy):
    rule = Replacement(EMA(0.5), every=4, least=0.1 if policy == "count" else 1, policy=policy)
    state, info = rule.advance(rule.init(codes_for()), batches(4))
    same = (state.codes[3:, None] == batches(4).x[-1]).all(axis=2)
    np.testing.assert_array_equal(same.sum(axis=1), 1)
    assert same.any(axis=0).sum() == 2
    assert info["replaced"] == state.replaced == 2
    np.testing.assert_array_equal(state.counts[3:], 0.1 if policy == "count" else 1)
    plain, _ = EMA(0.5).advance(EMA(0.5).init(codes_for()), batches(4))
    np.testing.assert_array_equal(state.codes[:3], plain.codes[:3])


def test_an_unused_code_is_replaced_after_as_many_updates_as_it_has_left():
    """Won last in the first update, and due three updates later, in chunks of any size."""
    rule = Replacement(VQ(0.1), every=3, policy="oldest")
    x = np.zeros((6, 1, 1))
    x[0] = 5.0
    start = rule.init(np.array([[0.0], [5.0]]))
    for size, replaced in ((3, 0), (4, 1), (6, 1)):
        assert rule.advance(start, Batches(x[:size] + 0.1))[1]["replaced"] == replaced


def test_what_the_rule_remembers_of_a_replaced_code_is_gone():
    adam = Replacement(TrainedVQ(0.1), every=8)
    start = codes_for(far=1)
    state, _ = adam.advance(adam.init(start), batches(7))
    state = state._replace(first=np.ones(10), second=np.ones(10), recent_hits=np.array([1, 1, 1, 1, 0]))
    after, _ = adam.advance(state, Batches(batches(8).x[7:]))
    assert not after.first.reshape(5, 2)[4].any()
    assert not after.second.reshape(5, 2)[4].any()
    assert after.first.reshape(5, 2)[:4].all()
    by_wins = Replacement(VQ(0.1, clock="wins"), every=8)
    state, _ = by_wins.advance(by_wins.init(start)._replace(wins=np.full(5, 9)), batches(8))
    assert state.wins[4] == 0
    assert (state.wins[:4] >= 9).all()


@pytest.mark.parametrize(("rule", "name"), [(FSCL(), "counts"), (Conscience(), "shares"), (CVQ(), "shares")])
def test_a_replaced_code_is_no_cheaper_than_the_mean_and_has_no_past(rule, name):
    """As in the layer: the mean of what all have won, and for CVQ the share of a start."""
    won = np.array([8.0, 6.0, 4.0, 2.0, 0.0], np.float32)
    state = rule.init(codes_for().astype(np.float32))._replace(**{name: won})
    placed = rule.place(state, np.array([0, 4]), np.ones((2, 2), np.float32))
    new = 0 if isinstance(rule, CVQ) else 4
    np.testing.assert_array_equal(getattr(placed, name), np.array([new, 6, 4, 2, new], np.float32), strict=True)
    np.testing.assert_array_equal(placed.codes[[0, 4]], 1)


def test_without_a_latent_that_counts_no_code_is_replaced():
    for policy in ("random", "split"):
        rule = Replacement(VQ(0.1), every=1, policy=policy)
        start = rule.init(codes_for())._replace(recent_hits=np.array([9, 9, 9, 9, 0]))
        state, info = rule.advance(start, batches(1)._replace(weight=np.zeros((1, 6))))
        assert info["replaced"] == 0
        np.testing.assert_array_equal(state.codes, start.codes)


def test_a_run_is_configured_saved_and_resumed(tmp_path):
    rule = Replacement(VQ(0.1), every=7, policy="split")
    options = {"codes": np.array([[0.2], [5.0], [6.0]]), "batch_size": 4, "seed": 1, "progress": False}
    whole = vq.simulate(rule, LINE, steps=60, **options)
    vq.simulate(rule, LINE, steps=40, save=tmp_path, **options)
    again = vq.resume(tmp_path, steps=60, progress=False)
    assert again.config.rule == rule
    np.testing.assert_array_equal(again.codes, whole.codes)
    assert whole.used.all()


def test_what_a_rule_inside_counts_comes_out_of_every_wrapper():
    """Replaced codes and Sinkhorn's imbalance, update after update, as of the wrapper inside alone."""
    codes, x = np.array([[0.0], [0.5], [9.0]]), np.random.default_rng(0).random((1, 20, 1)).repeat(4, axis=0)
    at_rest = Batches(x, displacement=np.zeros_like(x))
    inside = Replacement(Sinkhorn(1e-12, rounds=1, tolerance=0.0), every=2, least=3)
    with pytest.warns(UserWarning, match="Sinkhorn has not balanced a batch in 1 rounds: the share .* by 0.9 times"):
        wanted = inside.advance(inside.init(codes), at_rest)[1]
    assert wanted["imbalance"].shape == (4,)
    assert (wanted["imbalance"] > 0).all()
    for rule in (Transport(inside), Affine(inside, decay=0.5), Reestimate(inside, every=9, until=9)):
        with pytest.warns(UserWarning, match="Sinkhorn has not"):
            info = rule.advance(rule.init(codes), at_rest)[1]
        assert set(info) == set(wanted)
        assert info["replaced"] == wanted["replaced"]
        np.testing.assert_allclose(info["imbalance"], wanted["imbalance"], rtol=1e-6)


def test_a_threshold_that_replaces_for_ever_gives_the_lemma_s_number():
    sentence = r"at least 3 of 5 codes to replace per {}, on average .* has to win 3 of 6 latents .* takes least <= 1.2"
    for period, rule in (("2 updates", Replacement(EMA(0.9), 2, 3, "count")), ("update", Replacement(VQ(), 1, 3))):
        with pytest.warns(UserWarning, match=sentence.format(period)):
            rule.advance(rule.init(codes_for()), batches(1))
    Replacement(VQ(), every=2, least=2).advance(rule.init(codes_for()), batches(1))  # 12 latents for 10


REFUSED = [
    (lambda: Replacement(SimVQ()), "those of SimVQ are made of other numbers, and cannot be moved one by one"),
    (lambda: Replacement(Replacement(VQ())), "one without Replacement in it. Got Replacement"),
    (lambda: Replacement(VQ(), policy="count"), "one with running counts for policy='count', such as EMA"),
    (lambda: Replacement(NSVQ(0.1), policy="count"), "one with running counts for policy='count', such as EMA"),
    (lambda: Replacement(VQ(), policy="eldest"), "did you mean 'oldest'"),
    (lambda: Replacement(VQ(), least=2, policy="oldest"), "'least' parameter of Replacement must be 1 with policy='oldest'"),
    (lambda: Replacement(VQ(), least=0.5), "'least' parameter of Replacement must be an int >= 1. Got 0.5."),
    (lambda: Replacement(VQ()).advance(VQ().init(codes_for()), batches()), "a state that Replacement.init has made"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_bad_input_gets_one_clear_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
