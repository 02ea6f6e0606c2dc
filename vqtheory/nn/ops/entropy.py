"""The pull of an entropy loss on codes, streamed: no [N, K] array is kept; equations in `vqtheory.rules.entropy`."""

from __future__ import annotations

import torch
from torch import Tensor

from vqtheory.nn.ops.search import centre, product, scored


@torch.library.custom_op(
    "vqtheory::soft_hits", mutates_args=(), schema="(Tensor latents, Tensor keep, Tensor codes, Tensor tau) -> Tensor"
)
def soft_hits(latents: Tensor, keep: Tensor, codes: Tensor, tau: Tensor) -> Tensor:
    """sum_i p_ik [K], p_i the softmax of -|x_i - c_k|^2 / tau, over latents [N, D] that are kept."""
    total, begin = codes.new_zeros(len(codes)), 0
    for part, _, scores in scored(latents, codes):
        total += (torch.softmax(scores / -tau, dim=0) * keep[begin : begin + len(part)]).sum(dim=1)
        begin += len(part)
    return total


@soft_hits.register_fake
def _(latents: Tensor, keep: Tensor, codes: Tensor, tau: Tensor) -> Tensor:
    return codes.new_empty(len(codes))


@torch.library.custom_op(
    "vqtheory::entropic_pull",
    mutates_args=(),
    schema="(Tensor latents, Tensor keep, Tensor codes, Tensor tau, Tensor price) -> Tensor",
)
def entropic_pull(latents: Tensor, keep: Tensor, codes: Tensor, tau: Tensor, price: Tensor) -> Tensor:
    """sum_i u_ik (x_i - c_k) [K, D], u_ik = p_ik (ln p_ik - price_k - sum_j p_ij (ln p_ij - price_j))."""
    pulled, mass, begin = torch.zeros_like(codes), codes.new_zeros(len(codes)), 0
    for part, x, scores in scored(latents, codes):
        log_share = torch.log_softmax(scores / -tau, dim=0)
        share = log_share.exp() * keep[begin : begin + len(part)]
        excess = torch.where(share > 0, log_share - price[:, None], 0)
        u = share * (excess - (share * excess).sum(dim=0))
        mass += u.sum(dim=1)
        pulled += product(u, x.T.contiguous())
        begin += len(part)
    return pulled - mass[:, None] * (codes - centre(latents))


@entropic_pull.register_fake
def _(latents: Tensor, keep: Tensor, codes: Tensor, tau: Tensor, price: Tensor) -> Tensor:
    return torch.empty_like(codes)
