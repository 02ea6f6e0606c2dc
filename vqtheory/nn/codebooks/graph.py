"""GraphVQ's map in torch."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor

from vqtheory import rules
from vqtheory.nn.codebooks.maps import Network
from vqtheory.rules.maps import MapRule


class GraphConvolutions(Network, of=rules.GraphVQ):
    """Two of them, the first by its dense part: its base is A E; equations in `vqtheory.rules.graph`."""

    inner: Tensor
    inner_bias: Tensor
    outer: Tensor
    outer_bias: Tensor
    here: Tensor  # int, both ends of every edge, and every code to itself
    there: Tensor
    degree: Tensor  # int [K]

    def __init__(self, rule: MapRule, num_codes: int, dim: int) -> None:
        super().__init__(rule, num_codes, dim)
        first, other, _ = cast(rules.GraphVQ, rule).neighbours(num_codes)
        degree = np.diff(first)
        self.register_buffer("here", torch.from_numpy(np.repeat(np.arange(num_codes), degree)), persistent=False)
        self.register_buffer("there", torch.from_numpy(other), persistent=False)
        self.register_buffer("degree", torch.from_numpy(degree), persistent=False)

    def forward(self, base: Tensor) -> Tensor:
        """Base [K, P] to codes [K, D]."""
        hidden = torch.relu(base @ self.inner + self.inner_bias)
        return self._spread(hidden @ self.outer) + self.outer_bias

    def _spread(self, rows: Tensor) -> Tensor:
        """A rows."""
        root = self.degree.to(rows.dtype).rsqrt()[:, None]
        return root * torch.zeros_like(rows).index_add(0, self.here, (root * rows)[self.there])
