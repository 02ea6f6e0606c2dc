"""Re-estimation in the simulator, beside what the table of all rules asks of it."""

import numpy as np
import pytest

import vqtheory as vq
from vqtheory import Batches
from vqtheory.rules import VQ, Reestimate, TrainedVQ, TransVQ
from vqtheory.rules.reestimate import vacated

LINE = vq.streams.Stream(vq.streams.Uniform(dim=1))


def test_a_reservoir_is_a_uniform_sample():
    """Of 40 latents 8 stay, each as often: 4,000 times, in chunks."""
    stays, runs = np.zeros(40), 4000
    for run in range(runs):
        random, slots = np.random.default_rng(run), np.full(8, -1)
        for first in range(0, 40, 5):
            into = vacated(first, 5, random, 8)
            slots[into[into < 8]] = first + np.flatnonzero(into < 8)
        stays[slots] += 1
    assert stays.sum() == 8 * runs
    assert np.abs(stays - runs / 5).max() < 5 * (runs * 0.2 * 0.8) ** 0.5


def test_dead_codes_come_to_life_until_the_last_time():
    rule = Reestimate(VQ(0.1), every=5, until=9, reservoir=30)
    state = rule.init(np.array([[0.5], [7.0], [8.0]]))
    state, info = rule.advance(state, LINE.draw(0, 4, 8, seed=0))
    assert info["hits"][0] == 32
    state, _ = rule.advance(state, LINE.draw(4, 1, 8, seed=0))
    assert ((state.codes > 0) & (state.codes < 1)).all()
    assert not state.seen
    plain = VQ(0.1).init(state.codes)._replace(step=state.step)
    state, _ = rule.advance(state, LINE.draw(5, 20, 8, seed=0))
    expected, _ = VQ(0.1).advance(plain, LINE.draw(5, 20, 8, seed=0))
    np.testing.assert_array_equal(state.codes, expected.codes, err_msg="9 is before the second time")


def test_moments_are_forgotten():
    rule = Reestimate(TrainedVQ(0.1), every=2, until=2, reservoir=16)
    state, _ = rule.advance(rule.init(np.array([[0.3], [0.6]])), LINE.draw(0, 2, 8, seed=0))
    assert not state.first.any()
    assert not state.second.any()


def test_a_run_is_configured_saved_and_resumed(tmp_path):
    rule = Reestimate(VQ(0.1), every=15, until=45, reservoir=20)
    options = {"codes": np.array([[0.2], [5.0], [6.0]]), "batch_size": 4, "seed": 1, "progress": False}
    whole = vq.simulate(rule, LINE, steps=60, **options)
    vq.simulate(rule, LINE, steps=37, save=tmp_path, **options)
    again = vq.resume(tmp_path, steps=60, progress=False)
    assert again.config.rule == rule
    np.testing.assert_array_equal(again.codes, whole.codes)
    assert whole.used.all()


def test_the_defaults_are_the_published_times():
    """k-means after updates 2,000 to 28,000, and not after 30,000."""
    rule = Reestimate(VQ(0.1), reservoir=8)
    start = rule.init(np.array([[0.2], [0.4]]))
    for updates, due in ((2000, True), (28_000, True), (30_000, False)):
        state, _ = rule.advance(start._replace(step=np.int64(updates - 1)), Batches(np.array([[[7.0], [9.0]]])))
        assert (state.codes.ravel().tolist() == [7.0, 9.0]) == due


def test_codes_at_rest_are_put_in_another_order():
    """By which it has no fixed point, in the sense of the contract."""
    rule, codes = Reestimate(VQ(0.1), every=1, until=1, reservoir=2), np.array([[1.0], [0.0]])
    state, _ = rule.advance(rule.init(codes), Batches(codes[None]))
    np.testing.assert_array_equal(state.codes, codes[::-1])
    assert rule.fixed_point is None


def test_too_few_latents_are_said_and_kept():
    rule = Reestimate(VQ(0.1), every=1, until=3, reservoir=4)
    state = rule.init(np.array([[0.0], [1.0]]))
    left = "Reestimate leaves 2 codes as they are: the reservoir has"
    with pytest.warns(UserWarning, match=f"{left} 1 latents. Take a greater 'every', or larger batches"):
        state, _ = rule.advance(state, Batches(np.array([[[0.2]]])))
    with pytest.warns(UserWarning, match=f"{left} 2 latents in 1 places. Take fewer codes"):
        state, _ = rule.advance(state, Batches(np.array([[[0.2]]])))
    assert state.seen == 2
    state, _ = rule.advance(state, Batches(np.array([[[5.0]]])))
    np.testing.assert_allclose(state.codes, [[0.2], [5.0]], rtol=1e-14)


REFUSED = [
    (lambda: Reestimate(TransVQ(width=8)), "those of TransVQ are made of other numbers, and cannot be moved one by one"),
    (
        lambda: Reestimate(VQ(), reservoir=3).init(np.zeros((4, 1))),
        "'reservoir' parameter of Reestimate must be an int >= 4",
    ),
    (lambda: Reestimate(VQ(), every=0), "'every' parameter of Reestimate must be an int >= 1. Got 0."),
    (
        lambda: Reestimate(VQ(), every=2000, until=100),
        "'until' parameter of Reestimate must be an int >= 2000, the update of the first re-estimation. Got 100.",
    ),
    (lambda: Reestimate(Reestimate(VQ())), "one without Reestimate in it"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_bad_input_gets_one_clear_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
