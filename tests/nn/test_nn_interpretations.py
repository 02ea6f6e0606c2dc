"""The layers of the interpretations: what the decoder's gradient reaches, and how."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vqtheory import Batches  # noqa: E402
from vqtheory.nn import VectorQuantize, step_size  # noqa: E402
from vqtheory.nn.codebooks.interpretations import hypervq  # noqa: E402
from vqtheory.nn.ops import search  # noqa: E402
from vqtheory.nn.ops.hyperbolic import soft_distortion  # noqa: E402
from vqtheory.rules import GRITVQ, IBQ, HyperVQ  # noqa: E402


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def logits(z, directions, offsets, gains, curvature):
    """As published, by way of the ball."""
    root = curvature**0.5
    length = z.norm(dim=1, keepdim=True)
    x = torch.tanh(root * length) * z / (root * length)
    square = curvature * x.square().sum(dim=1, keepdim=True)
    sine = 2 * root * (x @ directions.T) * torch.cosh(2 * root * offsets) - (1 + square) * torch.sinh(2 * root * offsets)
    return 2 * gains / root * torch.asinh(sine / (1 - square))


def test_hypervq_s_gradients_are_those_of_the_ball(monkeypatch):
    """Of latents, directions, offsets and gains, by autograd of the published formulas; in blocks of three latents."""
    monkeypatch.setattr(search, "_BLOCK", {"cpu": 0})
    monkeypatch.setattr(search, "_LEAST", 3)
    rule, z, target = HyperVQ(curvature=0.3, temperature=0.7), 0.8 * randn(10, 3), randn(10, 3, seed=2)
    layer = VectorQuantize(3, 6, rule, commitment_weight=0.4).double()
    layer.initialize(randn(40, 3, seed=1))
    frame = [parameter.detach().clone().requires_grad_() for parameter in layer.codebook_parameters()]
    x, latents = z.clone().requires_grad_(), z.clone().requires_grad_()
    output = layer(x[None])
    (output.loss + (output.quantized[0] - target).square().sum()).backward()

    def share(z):
        directions = torch.nn.functional.normalize(frame[0], dim=1)
        return directions * frame[1][:, None], (logits(z, directions, *frame[1:], 0.3) / 0.7).softmax(dim=1)

    codes, held = share(latents)
    weights = torch.eye(6, dtype=z.dtype)[output.indices[0]] + held - held.detach()
    quantized = weights @ codes
    _, own = share(z)
    loss = (own * (z[:, None] - codes).square().sum(dim=2)).sum(dim=1).mean() / 3
    loss = loss + 0.4 * (latents - quantized.detach()).square().mean() + (quantized - target).square().sum()
    loss.backward()
    assert (torch.eye(6)[output.indices[0]].argmax(dim=1) == held.argmax(dim=1)).all()
    torch.testing.assert_close(x.grad, latents.grad, rtol=1e-9, atol=1e-10)
    for parameter, wanted in zip(layer.codebook_parameters(), frame, strict=True):
        torch.testing.assert_close(parameter.grad, wanted.grad, rtol=1e-9, atol=1e-10)


def test_hypervq_starts_beside_the_origin():
    """On the latents of a ReLU that are not exactly 0, of which there are two here."""
    z = torch.zeros(1, 50, 3)
    z[0, [7, 30]] = torch.tensor([[1.0, 0.0, 0.5], [0.0, 2.0, 0.0]])
    layer = VectorQuantize(3, 4, "hypervq")
    layer(z)
    torch.testing.assert_close(layer.codebook.unique(dim=0), z[0, [30, 7]], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match=r"has no direction. With start='published' it draws directions of its own."):
        VectorQuantize(3, 4, "hypervq")(torch.zeros(1, 50, 3))


def test_hypervq_forms_its_loss_in_training_alone(monkeypatch):
    layer, calls = VectorQuantize(3, 4, "hypervq", "published"), []
    monkeypatch.setattr(hypervq, "soft_distortion", lambda *parts: calls.append(parts) or soft_distortion(*parts))
    for training in (False, True):
        layer.train(training)(randn(1, 5, 3).float())
        assert len(calls) == training


@pytest.mark.parametrize("similarity", ["dot", "l2"])
def test_temperatures_that_float32_cannot_divide_by(similarity):
    """The least that a rule takes has finite numbers for all."""
    layer = VectorQuantize(3, 4, IBQ(similarity=similarity, temperature=1.2e-38, entropy_temperature=1.2e-38))
    layer.set_codebook(randn(4, 3).float())
    z = randn(1, 20, 3, seed=1).float().requires_grad_()
    output = layer(z)
    (output.loss + output.quantized.sum()).backward()
    assert all(bool(values.isfinite().all()) for values in (output.loss, z.grad, layer.codebook_parameters()[0].grad))


@pytest.mark.parametrize("radius", [float("inf"), 0.7, 0.0])
def test_grit_s_radius_says_what_the_decoder_moves(radius):
    layer, z, g = VectorQuantize(3, 6, GRITVQ(radius=radius), "published"), 0.5 * randn(5, 3), randn(5, 3, seed=3)
    layer = layer.double()
    x = z.clone().requires_grad_()
    output = layer(x[None])
    codes = layer._codebook.codes()
    torch.testing.assert_close(output.quantized[0], codes[output.indices[0]], rtol=0, atol=1e-15)
    (output.quantized[0] * g).sum().backward()
    gap = codes[output.indices[0]].detach() - z
    distance = gap.norm(dim=1, keepdim=True)
    along = torch.exp(-distance / radius) * (gap * g).sum(dim=1, keepdim=True) * gap / distance**2 if radius else 0 * gap
    torch.testing.assert_close(x.grad, g - along)
    wanted = torch.autograd.grad((codes[output.indices[0]] * along).sum(), layer.codebook_parameters())
    torch.testing.assert_close(layer.codebook_parameters()[0].grad, wanted[0], rtol=1e-9, atol=1e-12)


def test_a_radius_too_small_for_float32_is_one_that_no_latent_is_within():
    layer = VectorQuantize(3, 6, GRITVQ(radius=1e-300), "published")
    latents = torch.cat([layer.codebook.detach(), randn(5, 3).float()])[None].requires_grad_()
    quantized, indices, *_ = layer(latents)
    torch.testing.assert_close(quantized, layer.codebook[indices])
    quantized.sum().backward()
    assert (latents.grad == 1).all()


@pytest.mark.parametrize("radius", [float("inf"), 0.7])
def test_grit_s_simulator_is_the_layer_with_a_decoder_that_asks_for_the_latents(radius):
    rule, random = GRITVQ(0.2, radius=radius, rank=2), np.random.default_rng(0)
    state, layer = rule.init(random.normal(size=(7, 3))), VectorQuantize(3, 7, rule, commitment_weight=0.0).double()
    layer._codebook.load(state)
    optimizer = torch.optim.SGD(layer.codebook_parameters(), lr=step_size(eta=0.2, dim=3))
    for batch in random.normal(size=(3, 1, 11, 3)):
        z = torch.tensor(batch)
        output = layer(z)
        optimizer.zero_grad()
        (output.loss + (output.quantized - z).square().mean()).backward()
        optimizer.step()
        state, _ = rule.advance(state, Batches(batch))
    np.testing.assert_allclose(layer.codebook.numpy(), state.codes, rtol=0, atol=1e-12)
