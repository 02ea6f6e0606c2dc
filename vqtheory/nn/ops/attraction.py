"""How codes that did not win are drawn, as NSVQ does it, streamed: no [N, K] array is kept for the backward pass.

    L = (1 / N D) sum_ij w_ij |x_i - c_j|^2,     dL/dc_j = (2 / N D) sum_i w_ij (c_j - x_i),

over pairs of which j does not win i, with the weights taken as constants. The gradient is formed block by block in the
forward pass, from the products of latents and codes that the assignment takes, and one more of weights and latents.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from vqtheory.nn.ops.search import centre, nearest, product, scored

TO_BASE_2 = math.log2(math.e)


def attract(
    latents: Tensor, keep: Tensor, codes: Tensor, scale: Tensor, strength: float, softmax: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """L as a function of codes [K, D] alone, the nearest code of latents [N, D], and dL/dc.

    Latents attract where `keep`, bool [N], is true. `scale` is the factor of squared distances.
    """
    held = codes.detach()
    loss, indices, gradient = _attract(latents.detach(), keep, held, scale, strength, softmax)
    return loss + ((codes - held) * gradient).sum(), indices, gradient  # adds 0, and the gradient


@torch.library.custom_op(
    "vqtheory::attract",
    mutates_args=(),
    schema="(Tensor latents, Tensor keep, Tensor codes, Tensor scale, float strength, bool softmax)"
    " -> (Tensor, Tensor, Tensor)",
)
def _attract(
    latents: Tensor, keep: Tensor, codes: Tensor, scale: Tensor, strength: float, softmax: bool
) -> tuple[Tensor, Tensor, Tensor]:
    c, scale, begin = codes - centre(latents), scale * TO_BASE_2, 0
    (loss, mass), pulled, winners = codes.new_zeros(2, len(codes)), torch.zeros_like(codes), []
    for part, x, scores in scored(latents, codes):
        winners.append(nearest(part, codes, x, scores))
        squared = scores.add_(x.square().sum(dim=1))
        w = _only(keep[begin : begin + len(x)], _weights(squared, winners[-1][None], scale, strength, softmax))
        mass += w.sum(dim=1)
        pulled += product(w, x.T.contiguous())
        loss += squared.mul_(w).sum(dim=1)
        begin += len(x)
    share = (1 if softmax else strength) / (_count(keep, latents) * latents.shape[1])
    indices = torch.cat(winners) if winners else latents.new_zeros(0, dtype=torch.int64)
    return loss.sum() * share, indices, (mass[:, None] * c - pulled).mul_(2 * share)


@_attract.register_fake
def _(
    latents: Tensor, keep: Tensor, codes: Tensor, scale: Tensor, strength: float, softmax: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return codes.new_empty(()), latents.new_empty(latents.shape[0], dtype=torch.int64), torch.empty_like(codes)


@torch.library.custom_op(
    "vqtheory::propagate",
    mutates_args=(),
    schema="(Tensor latents, Tensor keep, Tensor codes, Tensor displacement, Tensor scale) -> (Tensor, Tensor)",
)
def propagate(latents: Tensor, keep: Tensor, codes: Tensor, displacement: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """sum_i w_ij d_i [K, D] and sum_i w_ij [K] for Gaussian weights, the winner's as well; i where `keep` is true."""
    passed, mass, begin = torch.zeros_like(codes), codes.new_zeros(len(codes)), 0
    for _, x, scores in scored(latents, codes):
        w = power_(scores.add_(x.square().sum(dim=1)).mul_(scale * TO_BASE_2))
        w = _only(keep[begin : begin + len(x)], w)
        mass += w.sum(dim=1)
        passed += product(w, displacement[begin : begin + len(x)].T.contiguous())
        begin += len(x)
    return passed, mass


@propagate.register_fake
def _(latents: Tensor, keep: Tensor, codes: Tensor, displacement: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(codes), codes.new_empty(len(codes))


def _only(keep: Tensor, weights: Tensor) -> Tensor:
    """Weights [K, n] in their place, 0 for latents that are not kept; on a CPU it costs nothing where all are."""
    return weights if keep.is_cpu and bool(keep.all()) else weights.mul_(keep)


def _count(keep: Tensor, latents: Tensor) -> Any:
    """How many latents are kept, at least 1; on an accelerator, which would be waited for, a tensor like them: over one of
    integers 1 is of single precision."""
    count = keep.sum().clamp_min(1)
    return int(count) if keep.is_cpu else count.to(latents.dtype)


def _weights(squared: Tensor, winner: Tensor, scale: Tensor, strength: float, softmax: bool) -> Tensor:
    """w [K, n] of squared distances, up to the strength in the Gaussian form; the winner's [1, n] is 0."""
    if not softmax:
        return power_(squared * scale).scatter_(0, winner, 0.0)
    w = power_((squared - squared.gather(0, winner)).mul_(scale))
    return w.mul_(strength * len(w) / w.sum(dim=0)).clamp_max_(1.0).scatter_(0, winner, 0.0)


def power_(exponents: Tensor, room: float = 1.0) -> Tensor:
    """2 to exponents <= 0 in their place; 0 where that would be a denormal number, with which processors are slow.

    With a `room` of more it is 0 below so many times the least normal number: what it is multiplied with makes no denormal
    numbers of it either. Not e: on a CPU torch.exp takes several times as long, and a hundred times where it underflows.
    """
    least = torch.finfo(exponents.dtype).tiny * room
    return torch.threshold_(exponents.clamp_(math.log2(least), 0).exp2_(), least, 0.0)


def share_(exponents: Tensor) -> Tensor:
    """`power_` for the shares of a softmax, to be multiplied with forces and latents."""
    return power_(exponents, 1 / torch.finfo(exponents.dtype).eps)
