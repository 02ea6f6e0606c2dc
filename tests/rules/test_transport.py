"""Transport in the simulator, beside what the table of all rules asks of it."""

import numpy as np
import pytest
import twins

import vqtheory as vq
from vqtheory import Batches
from vqtheory._base.config import parse
from vqtheory._kernels import product
from vqtheory.rules import EMA, NSVQ, VQ, CosineVQ, Transport, TransVQ
from vqtheory.streams import Stream, Translation, Uniform


def batches(steps=4, size=5, dim=3, seed=0):
    random = np.random.default_rng(seed)
    x, moved = random.normal(size=(2, steps, size, dim))
    return Batches(x, moved, random.random((steps, size)))


def codes_for(num_codes=7, dim=3):
    return np.random.default_rng(1).normal(size=(num_codes, dim))


@pytest.mark.parametrize("inner", [VQ(0.25), EMA(0.75), EMA(0.75, smoothing=0.1), CosineVQ(0.25)], ids=repr)
def test_several_neighbours_have_a_twin(inner):
    rule = Transport(inner, neighbours=3)
    state = rule.init(codes_for())
    after, _ = rule.advance(state, batches())
    for name, expected in twins.play(rule, state, batches()).items():
        np.testing.assert_allclose(getattr(after, name), expected, rtol=1e-13, atol=1e-13, err_msg=name)


@pytest.mark.parametrize("neighbours", [1, 2, 4])
def test_a_sample_counts_as_often_as_it_weighs(neighbours):
    rule, part = Transport(VQ(1e-300), neighbours), batches(steps=1)
    weighted = Batches(part.x, part.displacement, np.array([[2.0, 1.0, 0.0, 1.0, 2.0]]))
    copied = Batches(*(values[:, [0, 0, 1, 3, 4, 4]] for values in part[:2]))
    one, other = (rule.advance(rule.init(codes_for()), made)[0].codes for made in (weighted, copied))
    np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_find_the_same_latents(dtype, monkeypatch):
    random, rule = np.random.default_rng(0), Transport(VQ(0.5))
    x, moved = random.normal(size=(2, 3, 90, 5)).astype(dtype)
    weighted, after = Batches(x, moved, random.integers(0, 3, (3, 90)).astype(dtype)), []
    for by_product in (True, False):
        monkeypatch.setattr(product, "worthwhile", lambda *codes, answer=by_product, **least: answer)
        after.append(rule.advance(rule.init(codes_for(70, 5).astype(dtype)), weighted)[0].codes)
    np.testing.assert_array_equal(*after)


def test_the_step_is_the_rule_s_own_after_the_move():
    part, codes, shift = batches(), codes_for(), np.array([3.0, -2.0, 0.5])
    moved = Batches(part.x[:1] + shift, np.broadcast_to(shift, part.x[:1].shape))
    carried, info = Transport(VQ(0.5)).advance(VQ(0.5).init(codes), moved)
    plain, expected = VQ(0.5).advance(VQ(0.5).init(codes), Batches(part.x[:1]))
    np.testing.assert_allclose(carried.codes, plain.codes + shift, rtol=0, atol=1e-13)
    np.testing.assert_allclose(info["distortion"], expected["distortion"], rtol=1e-12)
    np.testing.assert_array_equal(info["hits"], expected["hits"])


def test_a_run_is_configured_saved_and_resumed(tmp_path):
    rule = parse("Transport(VQ(step_size=0.5), neighbours=2)")
    assert rule == Transport(VQ(0.5), neighbours=2)
    assert parse("Transport(vq)") == Transport(VQ())
    options = {"codes": 8, "batch_size": 16, "seed": 1, "progress": False}
    stream = Stream(Uniform(dim=1), Translation(0.7))
    whole = vq.simulate(rule, stream, steps=300, **options)
    vq.simulate(rule, stream, steps=200, save=tmp_path, **options)
    again = vq.resume(tmp_path, steps=300, progress=False)
    assert again.config.rule == rule
    np.testing.assert_array_equal(again.codes, whole.codes)
    assert whole.used.all()
    assert whole.history["distortion_over_optimum"].null_count() == 0, "it is measured as the rule inside is"
    assert vq.simulate(VQ(0.5), stream, steps=300, **options).used.sum() == 1


REFUSED = [
    (lambda: Transport(7), "'rule' parameter of Transport must be a rule such as VQ"),
    (lambda: Transport(VQ), "'rule' parameter of Transport must be a rule such as VQ"),
    (lambda: Transport(TransVQ(width=8)), "those of TransVQ are made of other numbers, and cannot be moved one by one"),
    (lambda: Transport(NSVQ(form="propagate")), "one that does not pass displacements on by itself. Got NSVQ"),
    (lambda: Transport(Transport(VQ())), "one that does not pass displacements on by itself. Got Transport"),
    (lambda: Transport(VQ(), neighbours=0), "'neighbours' parameter of Transport must be an int >= 1. Got 0."),
    (
        lambda: advanced(batches(), 6),
        "must be at most 5, the samples of a batch. Got 6.",
    ),
    (lambda: advanced(batches()._replace(displacement=None)), "Transport needs batches with a displacement"),
    (lambda: advanced(batches()._replace(displacement=batches().x / 0)), "'displacement' parameter of Transport.advance"),
    (lambda: vq.simulate(Transport(VQ(2.0)), Stream(Uniform(1)), codes=2, steps=9), "at most 1 at batch size 1"),
]


def advanced(part, neighbours=1):
    rule = Transport(VQ(), neighbours)
    with np.errstate(all="ignore"):
        return rule.advance(rule.init(codes_for()), part)


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_bad_input_gets_one_clear_sentence(call, sentence):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=sentence):
        call()
