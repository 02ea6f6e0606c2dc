"""The codebooks of map rules: C = shift + scale * T_theta(C_0), with the networks of SimVQ and TransVQ."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqtheory import rules
from vqtheory.nn.codebooks.base import Codebook, _tensor


class MapCodebook(Codebook):
    """C = shift + scale * T_theta(C_0), for a transformer or an affine map."""

    def __init__(self, rule: Any, num_codes: int, dim: int) -> None:
        nn.Module.__init__(self)
        self.rule = rule
        self.map = (Transformer if isinstance(rule, rules.TransVQ) else AffineMap)(rule, num_codes, dim)
        self.register_buffer("base", torch.zeros(num_codes, dim))
        self.register_buffer("shift", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))

    base: Tensor
    shift: Tensor
    scale: Tensor

    def load(self, state: Any) -> None:
        for name in ("base", "shift", "scale"):
            getattr(self, name).copy_(_tensor(getattr(state, name)))
        for name, value in self.rule.parameters(state).items():
            if value.size:
                getattr(self.map, name).data.copy_(_tensor(value))

    def codes(self) -> Tensor:
        """The codes, with a gradient in units of scale^2: what scaling adds to the tangent kernel is taken off again."""
        raw = self.map(self.base)
        return (self.shift + self.scale * raw).detach() + (raw - raw.detach()) / self.scale


class AffineMap(nn.Module):
    """SimVQ's C_0 W' + w_0."""

    def __init__(self, rule: Any, num_codes: int, dim: int) -> None:
        super().__init__()
        for name, shape in rule.shapes(num_codes, dim)._asdict().items():
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
        for name, shape in rule.shapes(num_codes, dim)._asdict().items():
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
