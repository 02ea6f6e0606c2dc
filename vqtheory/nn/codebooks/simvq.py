"""SimVQ's map in torch."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from vqtheory import rules
from vqtheory.nn.codebooks.maps import Network


class AffineMap(Network, of=rules.SimVQ):
    """C_0 W' + w_0."""

    weight: Tensor
    bias: Tensor | None

    def forward(self, base: Tensor) -> Tensor:
        """Base [K, D] to codes [K, D]."""
        return functional.linear(base, self.weight, self.bias)
