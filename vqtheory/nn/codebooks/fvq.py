"""FVQ's bridge in torch."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from vqtheory import rules
from vqtheory.nn.codebooks.maps import Network
from vqtheory.rules.maps import MapRule


class Bridge(Network, of=rules.FVQ):
    """Patches, blocks of attention and an MLP, and a head; equations in `vqtheory.rules.fvq`."""

    rule: rules.FVQ
    offset: Tensor | None
    grid: Tensor  # [T, S]
    order: Tensor  # [K], the place of each code in the grid

    def __init__(self, rule: MapRule, num_codes: int, dim: int) -> None:
        super().__init__(rule, num_codes, dim)
        self.rule = cast(rules.FVQ, rule)
        grid = torch.from_numpy(self.rule.grid(num_codes))
        self.register_buffer("grid", grid, persistent=False)
        self.register_buffer("order", torch.argsort(grid.flatten())[:num_codes], persistent=False)

    def forward(self, base: Tensor) -> Tensor:
        """Base [K, D] to codes [K, D]."""
        p: Any = self
        patches = self._patches(base if self.offset is None else base + self.offset)
        x = patches @ p.embed + p.embed_bias
        if self.rule.positions:
            x = x + torch.from_numpy(self.rule.waves(len(x))).to(x)
        for i in range(self.rule.depth):
            x = x + self._attend(self._normalize(x), i)
            x = x + functional.gelu(self._normalize(x) @ p.up[i] + p.up_bias[i]) @ p.down[i] + p.down_bias[i]
        made = self._normalize(x) @ p.head + p.head_bias
        if self.rule.residual:
            made = made + patches
        return made.reshape(-1, base.shape[1])[self.order]

    def _patches(self, codes: Tensor) -> Tensor:
        """[T, S D]: the codes of each token side by side, 0 where there is none."""
        none = codes.new_zeros(1, codes.shape[1])
        return torch.cat([codes, none])[self.grid].flatten(1)

    def _attend(self, y: Tensor, i: int) -> Tensor:
        """In plain products: torch's own attention, and its products of stacks, have other bits without a gradient."""
        p: Any = self
        total = p.output_bias[i]
        for h in range(self.rule.heads):
            query = y @ p.query[i, h] + p.query_bias[i, h]
            key = y @ p.key[i, h] + p.key_bias[i, h]
            value = y @ p.value[i, h] + p.value_bias[i, h]
            shares = torch.softmax(query @ key.T / query.shape[1] ** 0.5, dim=1)
            total = total + shares @ value @ p.output[i, h]
        return total

    def _normalize(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], eps=self.rule.eps)
