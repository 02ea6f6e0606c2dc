"""The maps of TransVQ and SimVQ in torch, with the parameters of `vqtheory.rules.transvq` and `vqtheory.rules.simvq`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class AffineMap(nn.Module):
    """SimVQ's C_0 W' + w_0."""

    def __init__(self, rule: Any, num_codes: int, dim: int) -> None:
        super().__init__()
        for name, shape in rule._shapes(num_codes, dim)._asdict().items():
            setattr(self, name, nn.Parameter(torch.zeros(shape)) if 0 not in shape else None)

    weight: Tensor
    bias: Tensor | None

    def forward(self, base: Tensor) -> Tensor:
        """Base [K, D] to codes [K, D]."""
        return functional.linear(base, self.weight, self.bias)


class Transformer(nn.Module):
    """TransVQ's blocks of linear attention and an MLP; equations in `vqtheory.rules.transvq`."""

    def __init__(self, rule: Any, num_codes: int, dim: int) -> None:
        super().__init__()
        self.depth, self.heads = rule.depth, rule.heads
        for name, shape in rule._shapes(num_codes, dim)._asdict().items():
            setattr(self, name, nn.Parameter(torch.zeros(shape)) if 0 not in shape else None)

    positions: Tensor | None

    def forward(self, base: Tensor) -> Tensor:
        """Base [K, D] to codes [K, D]."""
        p: Any = self
        x = base @ p.embed
        if self.positions is not None:
            x = x + self.positions
        for i in range(self.depth):
            y = self._norm(x, p.attention_norm[i])
            for h in range(self.heads):
                x = x + self._attend(y, p.query[i, h], p.key[i, h], p.value[i, h]) @ p.output[i, h]
            hidden = functional.gelu(self._norm(x, p.mlp_norm[i]) @ p.up[i] + p.up_bias[i])
            x = x + hidden @ p.down[i] + p.down_bias[i]
        return self._norm(x, p.final_norm) @ p.final

    @staticmethod
    def _attend(y: Tensor, of_query: Tensor, of_key: Tensor, of_value: Tensor) -> Tensor:
        query, key = functional.elu(y @ of_query) + 1, functional.elu(y @ of_key) + 1
        return query @ (key.T @ (y @ of_value)) / ((query @ key.sum(dim=0)) + 1e-6)[:, None]

    @staticmethod
    def _norm(x: Tensor, norm: Tensor) -> Tensor:
        return functional.layer_norm(x, x.shape[-1:], norm[0], norm[1], eps=1e-5)
