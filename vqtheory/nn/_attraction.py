"""The codebook loss of NSVQ, streamed: no [N, K] array is kept for the backward pass.

    L = (1 / N D) sum_ij w_ij |x_i - c_j|^2,     dL/dc_j = (2 / N D) sum_i w_ij (c_j - x_i),

with the weights taken as constants. The gradient is formed block by block in the forward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vqtheory.nn._assign import blocks


class Attraction(torch.autograd.Function):
    """L as a function of the codes alone."""

    @staticmethod
    def forward(
        ctx: Any,
        codes: Tensor,
        latents: Tensor,
        indices: Tensor,
        weight: Tensor,
        scale: Tensor,
        strength: float,
        softmax: bool,
    ) -> Tensor:
        """Latents [N, D], codes [K, D], weight [N] with the sum 1; `scale` is what squared distances are multiplied with."""
        centre = codes.mean(dim=0)
        c, loss = codes - centre, codes.new_zeros(())
        pulled, mass = torch.zeros_like(codes), codes.new_zeros(len(codes))
        size = blocks(len(latents), len(codes)).step
        for x, winner, share in zip((latents - centre).split(size), indices.split(size), weight.split(size), strict=True):
            squared = (
                torch.addmm(c.square().sum(dim=1), x, c.T, alpha=-2).add_(x.square().sum(dim=1, keepdim=True)).clamp_min_(0)
            )
            own = (x - c[winner]).square().sum(dim=1, keepdim=True)
            squared.scatter_(1, winner[:, None], own)
            w = _weights(squared, own, scale, strength, softmax).scatter_(1, winner[:, None], 1.0).mul_(share[:, None])
            loss += (w * squared).sum()
            mass += w.sum(dim=0)
            pulled.addmm_(w.T, x)
        ctx.save_for_backward((mass[:, None] * c - pulled).mul_(2 / codes.shape[1]))
        return loss / codes.shape[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        """The gradient that the forward pass has formed."""
        (of_codes,) = ctx.saved_tensors
        return gradient * of_codes, None, None, None, None, None, None


def _weights(squared: Tensor, own: Tensor, scale: Tensor, strength: float, softmax: bool) -> Tensor:
    """w_ij of codes that did not win."""
    if softmax:
        soft = torch.softmax((squared - own) * scale, dim=1)
        return (strength * squared.shape[1] * soft).clamp_max_(1.0)
    return torch.exp(squared * scale).mul_(strength)
