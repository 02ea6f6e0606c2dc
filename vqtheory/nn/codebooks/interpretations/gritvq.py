"""GRIT-VQ's transform in torch, and its radius."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vqtheory import rules
from vqtheory.nn.codebooks.base import Batch, Soft
from vqtheory.nn.codebooks.maps import MapCodebook, Network


class GRITMap(Network, of=rules.GRITVQ):
    """(C_0 + U V' C_0) W'."""

    weight: Tensor | None
    left: Tensor | None
    right: Tensor | None

    def forward(self, base: Tensor) -> Tensor:
        """Base [K, D] to codes [K, D]."""
        if self.left is not None and self.right is not None:
            base = base + self.left @ (self.right.T @ base)
        return base if self.weight is None else functional.linear(base, self.weight)


class GRITCodebook(MapCodebook, of=rules.GRITVQ):
    """A map's codebook, whose codes the decoder moves along the direction to their latents."""

    soft = True
    rule: rules.GRITVQ

    def soften(self, batch: Batch, latents: Tensor, codes: Tensor, chosen: Tensor) -> Soft:
        gap = chosen - latents
        distance = gap.detach().norm(dim=1, keepdim=True)
        tiny = torch.finfo(gap.dtype).tiny
        direction, radius = gap.detach() / distance.clamp_min(tiny), max(self.rule.radius, tiny)
        slope = torch.exp(-distance / radius) if self.rule.radius > 0 else torch.zeros_like(distance)
        moved = latents + slope * direction * (direction * gap).sum(dim=1, keepdim=True)
        return Soft(chosen.detach() + (moved - moved.detach()), chosen.new_zeros(()))
