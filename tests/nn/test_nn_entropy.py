"""The entropy loss in the layer."""

import pytest

torch = pytest.importorskip("torch")

from vqtheory.nn import VectorQuantize  # noqa: E402
from vqtheory.rules import EntropyVQ  # noqa: E402


def test_a_code_at_the_edge_of_reach_gets_a_number():
    """Its soft hits are a number above 0, and their mean over the batch is not."""
    layer, z = VectorQuantize(1, 2, EntropyVQ()), torch.tensor([-1.0, 1.0]).repeat(2048).reshape(1, -1, 1)
    for place in torch.linspace(10, 12, 101):
        layer.set_codebook(torch.tensor([[0.0], [float(place)]]))
        layer.zero_grad()
        layer(z).loss.backward()
        assert layer._codebook.weight.grad.isfinite().all(), place
