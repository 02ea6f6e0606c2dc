"""CVQ's layer where it differs from the simulator: the contrastive loss, and anchors beside an optimizer."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from vqtheory import Batches  # noqa: E402
from vqtheory.nn import VectorQuantize  # noqa: E402
from vqtheory.nn.ops import contrast as module  # noqa: E402
from vqtheory.nn.ops.contrast import contrast  # noqa: E402
from vqtheory.rules import CVQ  # noqa: E402


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("cosine", [False, True])
def test_the_contrastive_loss_is_that_of_the_dense_formula(cosine, monkeypatch):
    monkeypatch.setitem(module._BLOCK, "cpu", 50)  # in blocks of two codes
    x, codes, keep = 0.3 * randn(25, 4), 0.3 * randn(7, 4, seed=1), torch.arange(25) != 3
    dense, streamed = (codes.clone().requires_grad_() for _ in range(2))
    similarity = dense @ x[keep].T if cosine else -(dense[:, None] - x[keep]).square().sum(dim=2)
    order = similarity.sort(dim=1, descending=True).values
    positive, negative = order[:, :3].mean(dim=1) / 0.07, order[:, 12:] / 0.07
    wanted = -(positive - torch.cat([positive[:, None], negative], dim=1).logsumexp(dim=1)).mean()
    found = contrast(x, keep, streamed, cosine)
    for loss in (wanted, found):
        loss.backward()
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=0)
    torch.testing.assert_close(streamed.grad, dense.grad, rtol=1e-9, atol=1e-12)


def test_the_switch_adds_its_gradient_and_leaves_the_loss():
    outputs = []
    for weight in (0.0, 2.0):
        layer = VectorQuantize(4, 8, CVQ(contrastive=weight)).double()
        layer.initialize(0.1 * randn(50, 4, seed=2))
        output = layer(0.1 * randn(1, 40, 4))
        output.loss.backward()
        outputs.append((output.loss.detach(), layer._codebook.weight.grad, output.info.attraction))
    (plain, gradient, none), (loss, drawn, attraction) = outputs
    assert torch.equal(plain, loss)
    assert none == 0 < attraction
    assert not torch.allclose(gradient, drawn)
    rule = CVQ(contrastive=2)
    with pytest.raises(ValueError, match="0 in the simulator: the contrastive loss is in the layer. Got 2"):
        rule.advance(rule.init(np.zeros((2, 1))), Batches(np.zeros((1, 3, 1))))


def test_adam_does_not_move_a_code_away_from_its_anchor():
    """A code far from all latents is on its nearest one after the optimizer's step, up to exp(-0.001)."""
    layer = VectorQuantize(2, 2, CVQ())
    layer.initialize(torch.tensor([[0.0, 0.0], [100.0, 100.0]]))
    optimizer = torch.optim.Adam(layer.codebook_parameters(), lr=0.01)
    z = 0.1 * randn(1, 20, 2).float()
    for _ in range(3):
        optimizer.zero_grad()
        layer(z).loss.backward()
        optimizer.step()
        apart = (layer.codebook[1] - z[0]).norm(dim=1).min()
        assert apart < 0.15  # 0.001 of the way is left, less with each update
    assert layer(z).info.usage == 1
