"""TransVQ's map in torch."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from vqtheory import rules
from vqtheory.nn.codebooks.maps import Network


class Transformer(Network, of=rules.TransVQ):
    """Blocks of linear attention and an MLP; equations in `vqtheory.rules.transvq`."""

    query: Tensor  # [depth, heads, width, width / heads]
    positions: Tensor | None

    def forward(self, base: Tensor) -> Tensor:
        """Base [K, D] to codes [K, D]."""
        p: Any = self
        x = base @ p.embed
        if self.positions is not None:
            x = x + self.positions
        for i in range(self.query.shape[0]):
            y = _normalize(x, p.attention_norm[i])
            for h in range(self.query.shape[1]):
                x = x + _attend(y, p.query[i, h], p.key[i, h], p.value[i, h]) @ p.output[i, h]
            hidden = functional.gelu(_normalize(x, p.mlp_norm[i]) @ p.up[i] + p.up_bias[i])
            x = x + hidden @ p.down[i] + p.down_bias[i]
        return _normalize(x, p.final_norm) @ p.final


def _attend(y: Tensor, to_query: Tensor, to_key: Tensor, to_value: Tensor) -> Tensor:
    query, key = functional.elu(y @ to_query) + 1, functional.elu(y @ to_key) + 1
    return query @ (key.T @ (y @ to_value)) / ((query @ key.sum(dim=0)) + 1e-6)[:, None]


def _normalize(x: Tensor, norm: Tensor) -> Tensor:
    return functional.layer_norm(x, x.shape[-1:], norm[0], norm[1], eps=1e-5)
