"""What NSVQ's normalised kernel adds to running sums, streamed over blocks of latents: no [N, K] array is kept.

    w_ij = softmax_j(-|x_i - c_j|^2 / tau)  where j does not win i,     sum_i w_ij [K]  and  sum_i w_ij (x_i - c_j) [K, D]

A code far from all latents has weights below the smallest number. Both sums are therefore taken of weights over the largest
of each code, whose logarithm is returned beside them; it is raised, and the sums are rescaled, as larger weights come.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vqtheory.nn.ops import processes
from vqtheory.nn.ops.attraction import TO_BASE_2, power_
from vqtheory.nn.ops.search import centre, product, scored


def kernel_sums(latents: Tensor, keep: Tensor, codes: Tensor, winners: Tensor, tau: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Largest weight, to base 2, and both sums over it, of latents [N, D] of all processes where `keep`, bool [N], is true.

    `winners` [N] are the codes that win the latents.
    """
    highest, mass, pull = _kernel_sums(latents, keep, codes, winners, tau)
    top = processes.largest(highest.clone())
    shrink = (highest - top).exp2()
    mass, pull = mass * shrink, pull * shrink[:, None]
    processes.add_up(mass, pull)
    return top, mass, pull


@torch.library.custom_op(
    "vqtheory::kernel_sums",
    mutates_args=(),
    schema="(Tensor latents, Tensor keep, Tensor codes, Tensor winners, Tensor tau) -> (Tensor, Tensor, Tensor)",
)
def _kernel_sums(
    latents: Tensor, keep: Tensor, codes: Tensor, winners: Tensor, tau: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One operator, so that `torch.compile` does not unroll the blocks."""
    top = codes.new_full((len(codes),), torch.finfo(codes.dtype).min / 2)
    mass, pulled, begin = codes.new_zeros(len(codes)), torch.zeros_like(codes), 0
    for _, x, scores in scored(latents, codes):
        part = slice(begin, begin + len(x))
        logarithms = _logarithms(scores, winners[part][None], tau)
        if not (keep.is_cpu and bool(keep[part].all())):
            logarithms.masked_fill_(~keep[part], -torch.inf)
        higher = torch.maximum(top, logarithms.amax(dim=1))
        weights, shrink = power_(logarithms.sub_(higher[:, None])), (top - higher).exp2()
        mass = mass * shrink + weights.sum(dim=1)
        pulled = pulled * shrink[:, None] + product(weights, x.T.contiguous())
        top, begin = higher, begin + len(x)
    return top, mass, pulled - mass[:, None] * (codes - centre(latents))


@_kernel_sums.register_fake
def _(latents: Tensor, keep: Tensor, codes: Tensor, winners: Tensor, tau: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return codes.new_empty(len(codes)), codes.new_empty(len(codes)), torch.empty_like(codes)


def _logarithms(scores: Tensor, winner: Tensor, tau: Tensor) -> Tensor:
    """To base 2 of the softmax [K, n], in the place of the scores; of the winner's [1, n], minus infinity."""
    exponents = scores.sub_(scores.gather(0, winner)).mul_(-TO_BASE_2 / tau).clamp_max_(0)
    total = power_(exponents.clone()).sum(dim=0)
    return exponents.sub_(total.log2_()).scatter_(0, winner, -torch.inf)
