"""IBQ's layer: gradients of the published surrogate for codes and latents, and no [N, K] array kept for them."""

import pytest

torch = pytest.importorskip("torch")

from vqtheory.nn import VectorQuantize  # noqa: E402
from vqtheory.nn.ops import search  # noqa: E402
from vqtheory.rules import IBQ  # noqa: E402


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def surrogate(rule, z, codes, held, beta, target):
    """The published loss and a decoder's |q - target|^2; `held` are the latents and the codes of stop-gradients."""

    def similarity(z, codes):
        return z @ codes.T if rule.similarity == "dot" else -(z[:, None] - codes).square().sum(dim=2)

    there, here = similarity(*held), similarity(z, codes)
    chosen = there.argmax(dim=1)
    weights = torch.eye(len(codes), dtype=z.dtype)[chosen] - (there / rule.temperature).softmax(dim=1)
    quantized = (weights + (here / rule.temperature).softmax(dim=1)) @ codes
    share = (here / rule.entropy_temperature).softmax(dim=1)
    mean = share.mean(dim=0)
    entropies = -torch.xlogy(share, share).sum(dim=1).mean() + torch.xlogy(mean, mean).sum()
    loss = (quantized - z).square().mean() + (codes[chosen] - held[0]).square().mean()
    loss = loss + beta * (held[1][chosen] - z).square().mean() + rule.entropy_weight * entropies
    return loss + (quantized - target).square().sum()


def slope(function, values):
    """By central differences of fourth order."""
    result, h = torch.zeros_like(values), 1e-4
    for place in range(values.numel()):
        ends = []
        for sign in (1, -1, 2, -2):
            moved = values.clone()
            moved.view(-1)[place] += sign * h
            ends.append(function(moved))
        result.view(-1)[place] = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * h)
    return result


@pytest.mark.parametrize("similarity", ["dot", "l2"])
def test_gradients_are_those_of_the_surrogate(similarity, monkeypatch):
    """For codes and latents, in blocks of three latents."""
    monkeypatch.setattr(search, "_BLOCK", {"cpu": 0})
    monkeypatch.setattr(search, "_LEAST", 3)
    rule = IBQ(similarity=similarity, temperature=0.8, entropy_weight=0.3, entropy_temperature=0.5)
    layer = VectorQuantize(3, 6, rule, commitment_weight=0.7).double()
    z, codes, target = 0.6 * randn(10, 3), 0.6 * randn(6, 3, seed=1), randn(10, 3, seed=2)
    layer.set_codebook(codes)
    x = z.clone().requires_grad_()
    output = layer(x[None])
    (output.loss + (output.quantized[0] - target).square().sum()).backward()
    assert torch.equal(output.quantized[0], codes[output.indices[0]])
    rest = ((z, codes), 0.7, target)
    wanted = slope(lambda moved: surrogate(rule, moved, codes, *rest), z)
    torch.testing.assert_close(x.grad, wanted, rtol=0, atol=1e-8)
    wanted = slope(lambda moved: surrogate(rule, z, moved, *rest), codes)
    torch.testing.assert_close(layer.codebook_parameters()[0].grad, wanted, rtol=0, atol=1e-8)


@pytest.mark.parametrize("similarity", ["dot", "l2"])
def test_what_is_kept_for_the_backward_pass_does_not_grow_with_n_times_k(similarity):
    """Latents, codes and their gradients: less than 4 (N + K) D numbers, where [N, K] has 4 million."""
    layer, z, kept = VectorQuantize(8, 4096, IBQ(similarity=similarity)), randn(1, 1024, 8).float(), {}
    layer.set_codebook(randn(4096, 8, seed=1).float())

    def keep(values):
        kept[values.untyped_storage().data_ptr()] = values.untyped_storage().nbytes()
        return values

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda values: values):
        output = layer(z.requires_grad_())
    assert 4 * (1024 + 4096) * 8 < sum(kept.values()) < 4 * 4 * (1024 + 4096) * 8
    (output.loss + output.quantized.sum()).backward()
    assert bool(layer.codebook_parameters()[0].grad.abs().sum(dim=1).all())  # every code, chosen or not


def test_an_estimator_is_refused():
    with pytest.raises(ValueError, match=r"parameter of VectorQuantize must be left out with rule=IBQ\(\), which"):
        VectorQuantize(4, 8, "ibq", estimator="rotation")
