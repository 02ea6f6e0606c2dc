"""How codes follow by rank, as neural gas does it, streamed: no [N, K] array is kept for the backward pass.

    L = (1 / N D) sum_ik w_ik |x_i - c_k|^2,     w_ik = exp(-rho_ik / lambda),

over pairs of which k does not win i, with the weights taken as constants. As in `vqtheory.nn.ops.attraction` the gradient is
formed block by block in the forward pass. Ranks go by the product: codes as far from a latent as each other, up to its
rounding, may change places.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vqtheory.nn.ops.attraction import TO_BASE_2, _count, _only, power_
from vqtheory.nn.ops.search import centre, nearest, product, scored


def attract_by_rank(latents: Tensor, keep: Tensor, codes: Tensor, reach: Tensor) -> tuple[Tensor, Tensor]:
    """L as a function of codes [K, D] alone, and the nearest code of latents [N, D]; `reach` is lambda."""
    held = codes.detach()
    loss, indices, gradient = _attract_by_rank(latents.detach(), keep, held, reach)
    return loss + ((codes - held) * gradient).sum(), indices  # adds 0, and the gradient


@torch.library.custom_op(
    "vqtheory::attract_by_rank",
    mutates_args=(),
    schema="(Tensor latents, Tensor keep, Tensor codes, Tensor reach) -> (Tensor, Tensor, Tensor)",
)
def _attract_by_rank(latents: Tensor, keep: Tensor, codes: Tensor, reach: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    c, begin = codes - centre(latents), 0
    (loss, mass), pulled, winners = codes.new_zeros(2, len(codes)), torch.zeros_like(codes), []
    for part, x, scores in scored(latents, codes):
        winners.append(nearest(part, codes, x, scores))
        w = power_(ranks(scores).to(codes.dtype).mul_(-TO_BASE_2 / reach)).scatter_(0, winners[-1][None], 0.0)
        w = _only(keep[begin : begin + len(x)], w)
        mass += w.sum(dim=1)
        pulled += product(w, x.T.contiguous())
        loss += scores.add_(x.square().sum(dim=1)).mul_(w).sum(dim=1)
        begin += len(x)
    share = 1 / (_count(keep, latents) * latents.shape[1])
    indices = torch.cat(winners) if winners else latents.new_zeros(0, dtype=torch.int64)
    return loss.sum() * share, indices, (mass[:, None] * c - pulled).mul_(2 * share)


@_attract_by_rank.register_fake
def _(latents: Tensor, keep: Tensor, codes: Tensor, reach: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return codes.new_empty(()), latents.new_empty(latents.shape[0], dtype=torch.int64), torch.empty_like(codes)


def ranks(scores: Tensor) -> Tensor:
    """How many of the scores [K, n] of a column are less than each."""
    ordered, order = scores.T.contiguous().sort(dim=1)
    places = torch.arange(len(scores), device=scores.device).expand_as(order)
    first = torch.where(torch.nn.functional.pad(ordered[:, 1:] > ordered[:, :-1], (1, 0)), places, 0).cummax(dim=1).values
    return torch.empty_like(order).scatter_(1, order, first).T
