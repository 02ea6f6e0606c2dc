"""Codes in an affine frame, beside what the table of all rules asks of it."""

import numpy as np
import pytest

import vqtheory as vq
from vqtheory import Batches
from vqtheory.rules import NSVQ, VQ, Affine, CosineVQ, SimVQ, Transport
from vqtheory.rules.affine import KINDS
from vqtheory.rules.framed import transport_map

STILL = VQ(1e-300)


def cloud(steps=6, size=40, dim=3, seed=0):
    return np.random.default_rng(seed).normal(size=(steps, size, dim))


def end(rule, x, codes):
    return rule.advance(rule.init(codes), Batches(x))[0].codes


CODES = 100 * np.random.default_rng(1).normal(size=(5, 3))  # none wins anything that counts
MAPS = {  # of latents, from the second batch on, that a frame has
    "scalar": 3.0 * np.eye(3),
    "dimension": np.diag([0.5, 2.0, 7.0]),
    "covariance": np.array([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 3.0]]),
}


@pytest.mark.parametrize("per", KINDS)
def test_codes_go_with_a_map_that_the_frame_has(per):
    """Wherever they are; without a memory at once, and of the others the scalar frame does not know."""
    x, shift = cloud(1).repeat(2, axis=0), np.array([5.0, -2.0, 1.0])
    x[1] = x[0] @ MAPS[per] + shift
    np.testing.assert_allclose(end(Affine(STILL, per, 0.0), x, CODES), CODES @ MAPS[per] + shift, rtol=1e-10)
    if per != "scalar":
        assert np.abs(end(Affine(STILL, "scalar", 0.0), x, CODES) - CODES @ MAPS[per] - shift).max() > 1


def test_the_noise_of_batches_does_not_add_up():
    """On a stationary encoder, after 20 and after 2,000 batches the frame is as far from the first one."""
    mean = {steps: np.abs(end(Affine(STILL, "scalar", 0.0), cloud(steps, 100, 1), np.zeros((1, 1)))) for steps in (20, 2000)}
    assert max(value.item() for value in mean.values()) < 5 * (2 / 100) ** 0.5


def test_a_steady_translation_is_followed_at_a_distance_of_the_frame_s_lag():
    decay, speed, steps = 0.9, 0.3, 200
    x = cloud(1, 200, 1).repeat(steps, axis=0) + speed * np.arange(steps)[:, None, None]
    lag = x[-1].mean() - end(Affine(STILL, "scalar", decay), x, x[0].mean(keepdims=True)).item()
    assert lag == pytest.approx(speed * decay / (1 - decay), rel=1e-6)


@pytest.mark.parametrize("per", ["scalar", "covariance"])
def test_a_turned_cloud_has_a_turned_codebook(per):
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    x = cloud() * [1.0, 2.0, 0.1] * np.linspace(1, 2, 6)[:, None, None]
    codes = np.random.default_rng(3).normal(size=(6, 3))
    one, other = (end(Affine(VQ(0.5), per, 0.5), *data) for data in ((x, codes), (x @ turn, codes @ turn)))
    np.testing.assert_allclose(one @ turn, other, rtol=0, atol=1e-12)


def test_directions_without_a_spread_are_left():
    """Latents on a plane, on a line, at a point, and on a plane again."""
    x = cloud(4)
    x[:, :, 2], x[1, :, 1], x[2] = 1.0, 1.0, 1.0
    for per in KINDS:
        assert np.isfinite(end(Affine(STILL, per, 0.0), x, CODES)).all()
    np.testing.assert_array_equal(transport_map(np.zeros((2, 2)), np.eye(2)), np.eye(2))
    np.testing.assert_allclose(transport_map(np.diag([4.0, 0.0]), np.eye(2)), np.diag([0.5, 1.0]))


def test_a_run_is_configured_saved_and_resumed(tmp_path):
    rule = Affine(VQ(0.1), "covariance", decay=0.5)
    stream = vq.streams.Stream(vq.streams.Uniform(dim=2), vq.streams.Translation(0.05))
    options = {"codes": 8, "batch_size": 50, "seed": 1, "progress": False}
    whole = vq.simulate(rule, stream, steps=300, **options)
    vq.simulate(rule, stream, steps=170, save=tmp_path, **options)
    again = vq.resume(tmp_path, steps=300, progress=False)
    assert again.config.rule == rule
    np.testing.assert_array_equal(again.codes, whole.codes)
    assert whole.used.all()
    assert vq.simulate(VQ(0.1), stream, steps=300, **options).used.sum() < 8


def test_too_few_latents_for_a_frame_are_said():
    with pytest.warns(UserWarning, match=r"never has more than 8 latents, and a frame needs 30\. Take larger batches"):
        end(Affine(STILL, "covariance", 0.5), cloud(2, 4), CODES)


REFUSED = [
    (lambda: Affine(SimVQ()), "those of SimVQ are made of other numbers, and cannot be moved one by one"),
    (lambda: Affine(Transport(VQ())), "one that does not pass displacements on by itself. Got Transport"),
    (lambda: Affine(NSVQ(form="propagate")), "one that does not pass displacements on by itself. Got NSVQ"),
    (lambda: Affine(CosineVQ()), "one that compares latents with its codes as they are. Got CosineVQ"),
    (lambda: Affine(VQ(), "dimensions"), "did you mean 'dimension'"),
    (lambda: Affine(VQ(), decay=1.0), "'decay' parameter of Affine must be a number >= 0 and < 1. Got 1"),
]


@pytest.mark.parametrize(("call", "sentence"), REFUSED)
def test_bad_input_gets_one_clear_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
