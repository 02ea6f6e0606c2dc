"""Sinkhorn's rounds in torch: prices of codes by which a batch is shared out evenly; equations in `vqtheory.rules.sinkhorn`.

Latents are taken in blocks, and the distances of a block are computed anew in each round, so that no [N, K] array is kept.
Nothing of it has a gradient.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from vqtheory.nn.ops import processes
from vqtheory.nn.ops.search import block_size
from vqtheory.rules.sinkhorn import unbalanced


def balance(
    latents: Tensor, keep: Tensor, codes: Tensor, prices: Tensor, temperature: float, rounds: int, tolerance: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The codes of latents [N, D] by prices [K] that balance those that are kept, these prices, and the imbalance left."""
    with torch.autocast(latents.device.type, enabled=False):
        return _balance(latents.detach(), keep, codes.detach(), prices.detach(), temperature, rounds, tolerance)


@torch.library.custom_op("vqtheory::balance", mutates_args=())
def _balance(
    latents: Tensor, keep: Tensor, codes: Tensor, prices: Tensor, temperature: float, rounds: int, tolerance: float
) -> tuple[Tensor, Tensor, Tensor]:
    """One operator, so that `torch.compile` neither unrolls the rounds nor leaves out the warning."""
    prices, imbalance = prices.clone(), prices.new_zeros(())
    epsilon, number = _own_distortion(latents, keep, codes)
    epsilon = temperature * epsilon
    if bool(epsilon > 0):
        damping = (number / len(codes)).clamp(max=1.0)
        for done in range(rounds + 1):
            excess = _log_masses(latents, keep, codes, prices, epsilon) - number.log() + math.log(len(codes))
            imbalance = (excess.clamp(max=80.0).exp() - 1).abs().max()
            if done == rounds or bool(imbalance <= tolerance):
                break
            prices -= damping * epsilon * excess
            prices -= prices.mean()
        if bool(imbalance > tolerance):
            warnings.warn(unbalanced(float(imbalance), rounds, tolerance), stacklevel=2)
    cheapest = [_cheapest(distances, prices, epsilon) for distances, _ in _blocks(latents, keep, codes)]
    return torch.cat(cheapest) if cheapest else keep.long(), prices, imbalance


@_balance.register_fake
def _(
    latents: Tensor, keep: Tensor, codes: Tensor, prices: Tensor, temperature: float, rounds: int, tolerance: float
) -> tuple[Tensor, Tensor, Tensor]:
    return latents.new_empty(len(latents), dtype=torch.int64), torch.empty_like(prices), prices.new_empty(())


def _blocks(latents: Tensor, keep: Tensor, codes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Squared distances [n, K] of blocks of latents, and which latents are kept."""
    size = block_size(latents, codes)
    for first in range(0, len(latents), size):
        part = latents[first : first + size]
        yield torch.cdist(part, codes, compute_mode="donot_use_mm_for_euclid_dist").square(), keep[first : first + size]


def _own_distortion(latents: Tensor, keep: Tensor, codes: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of min_k d_ik over the latents of all processes, 0 where it is below all rounding; and their number."""
    error, number, most = (codes.new_zeros(()) for _ in range(3))
    for distances, kept in _blocks(latents, keep, codes):
        error += torch.where(kept, distances.amin(dim=1), 0).sum()
        number += kept.sum()
        most = torch.maximum(most, distances.max())
    processes.add_up(error, number)
    processes.largest(most)
    floor = torch.finfo(codes.dtype).eps ** 2 * most
    return torch.where(error > floor * number, error / number, 0), number


def _log_masses(latents: Tensor, keep: Tensor, codes: Tensor, prices: Tensor, epsilon: Tensor) -> Tensor:
    """ln sum_i p_ik over the latents of all processes, [K]."""
    total = torch.full_like(prices, -torch.inf)
    for distances, kept in _blocks(latents, keep, codes):
        shares = ((prices - distances) / epsilon).log_softmax(dim=1)
        total = torch.logaddexp(total, torch.where(kept[:, None], shares, -torch.inf).logsumexp(dim=0))
    if not processes.running():
        return total
    highest = processes.largest(total.clone())
    masses = (total - highest).exp()
    processes.add_up(masses)
    return highest + masses.log()


def _cheapest(distances: Tensor, prices: Tensor, epsilon: Tensor) -> Tensor:
    """argmin_k d_ik - psi_k; of those that differ by rounding the nearest."""
    priced = distances - prices
    limit = priced.amin(dim=1, keepdim=True) + math.sqrt(torch.finfo(prices.dtype).eps) * epsilon
    return torch.where(priced <= limit, distances, torch.inf).argmin(dim=1)
