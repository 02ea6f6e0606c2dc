"""The pull of an entropy loss on codes, streamed: no [N, K] array is kept; equations in `vqtheory.rules.entropy`."""

from __future__ import annotations

import torch
from torch import Tensor

from vqtheory.nn.ops.attraction import TO_BASE_2, share_
from vqtheory.nn.ops.search import centre, product, scored


@torch.library.custom_op(
    "vqtheory::soft_hits", mutates_args=(), schema="(Tensor latents, Tensor keep, Tensor codes, Tensor tau) -> Tensor"
)
def soft_hits(latents: Tensor, keep: Tensor, codes: Tensor, tau: Tensor) -> Tensor:
    """sum_i p_ik [K], p_i the softmax of -|x_i - c_k|^2 / tau, over latents [N, D] that are kept."""
    total, begin = codes.new_zeros(len(codes)), 0
    for part, _, scores in scored(latents, codes):
        share = share_(_logs(scores, tau).mul_(TO_BASE_2))
        total += share @ (keep[begin : begin + len(part)] / share.sum(dim=0))
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
        logs = _logs(scores, tau)
        share = share_(logs * TO_BASE_2)
        total = share.sum(dim=0)
        excess = logs.sub_(price[:, None]).masked_fill_(share == 0, 0)
        mean = (share * excess).sum(dim=0) / total
        u = excess.sub_(mean).mul_(share).mul_(keep[begin : begin + len(part)] / total)
        mass += u.sum(dim=1)
        pulled += product(u, x.T.contiguous())
        begin += len(part)
    return pulled - mass[:, None] * (codes - centre(latents))


@entropic_pull.register_fake
def _(latents: Tensor, keep: Tensor, codes: Tensor, tau: Tensor, price: Tensor) -> Tensor:
    return torch.empty_like(codes)


def _logs(scores: Tensor, tau: Tensor) -> Tensor:
    """ln p [K, n] in the place of the scores, up to a number for each latent; 0 for the nearest code."""
    return scores.sub_(scores.amin(dim=0)).mul_(-1 / tau)
