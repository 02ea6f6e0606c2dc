"""Sinkhorn's rounds in torch: prices of codes by which a batch is shared out evenly; equations in `vqtheory.rules.sinkhorn`.

Latents are taken in blocks, and what is needed of their distances is one product for each block and round, so that no [N, K]
array is kept. Where epsilon is too small for the digits of a product the squares are summed directly. Nothing of it has a
gradient.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from vqtheory.nn.ops import processes
from vqtheory.nn.ops.search import block_size, centre, product
from vqtheory.rules.sinkhorn import unbalanced

_ROUNDING = 2  # the product's error in units of eps |x|^2 sqrt(D), with some room
Block = tuple[Tensor, Tensor, Tensor, Tensor]  # latents, which are kept, (d_ik - psi_k - base) / unit [n, K], the base [n]
Blocks = Callable[..., Iterator[Block]]


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
    epsilon, number, blocks = _width(latents, keep, codes, temperature)
    if bool(epsilon > 0):
        damping = (number / len(codes)).clamp(max=1.0)
        for done in range(rounds + 1):
            excess = _log_masses(latents, keep, codes, prices, epsilon, blocks) - number.log() + math.log(len(codes))
            imbalance = (excess.clamp(max=80.0).exp() - 1).abs().max()
            if done == rounds or bool(imbalance <= tolerance):
                break
            prices -= damping * epsilon * excess
            prices -= prices.mean()
        if bool(imbalance > tolerance):
            warnings.warn(unbalanced(float(imbalance), rounds, tolerance), stacklevel=2)
    parts = blocks(latents, keep, codes, prices)
    winners = [_cheapest(part, codes, priced, prices, epsilon) for part, _, priced, _ in parts]
    return torch.cat(winners) if winners else keep.long(), prices, imbalance


@_balance.register_fake
def _(
    latents: Tensor, keep: Tensor, codes: Tensor, prices: Tensor, temperature: float, rounds: int, tolerance: float
) -> tuple[Tensor, Tensor, Tensor]:
    return latents.new_empty(len(latents), dtype=torch.int64), torch.empty_like(prices), prices.new_empty(())


def _products(latents: Tensor, keep: Tensor, codes: Tensor, prices: Tensor, unit: Tensor | float = 1.0) -> Iterator[Block]:
    """Blocks by one product each, of what is centred: |c|^2 - psi - 2 x.c over the unit, and |x|^2 apart."""
    middle = centre(latents)
    c = codes - middle
    lifted = torch.cat([-2 * c, (c.square().sum(dim=1) - prices)[:, None]], dim=1).div_(unit)
    for part, kept in _parts(latents, keep, codes):
        x = part - middle
        yield part, kept, product(nn.functional.pad(x, (0, 1), value=1.0), lifted), x.square().sum(dim=1)


def _sums(latents: Tensor, keep: Tensor, codes: Tensor, prices: Tensor, unit: Tensor | float = 1.0) -> Iterator[Block]:
    """Blocks by the direct sum, the least distance of each latent apart, for units that are below all digits of it."""
    for part, kept in _parts(latents, keep, codes):
        priced = _direct(part, codes) - prices
        base = priced.amin(dim=1)
        yield part, kept, (priced - base[:, None]).div_(unit), base


def _parts(latents: Tensor, keep: Tensor, codes: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    size = block_size(latents, codes)
    return zip(latents.split(size), keep.split(size), strict=True) if len(latents) else iter(())


def _direct(latents: Tensor, codes: Tensor) -> Tensor:
    """Squared distances [n, K] as sums of squared differences, which lose no digits."""
    return torch.cdist(latents, codes, compute_mode="donot_use_mm_for_euclid_dist").square_()


def _width(latents: Tensor, keep: Tensor, codes: Tensor, temperature: float) -> tuple[Tensor, Tensor, Blocks]:
    """epsilon, 0 where it is below all rounding; the number of latents in all processes; blocks precise enough for it."""
    own, number, reach = _own_distortion(latents, keep, codes, _products)
    epsilon, eps = temperature * own, torch.finfo(codes.dtype).eps
    if bool(_ROUNDING * math.sqrt(codes.shape[1]) * eps * (reach + own) <= math.sqrt(eps) * epsilon):
        return epsilon, number, _products
    return temperature * _own_distortion(latents, keep, codes, _sums)[0], number, _sums


def _own_distortion(latents: Tensor, keep: Tensor, codes: Tensor, blocks: Blocks) -> tuple[Tensor, Tensor, Tensor]:
    """The mean of min_k d_ik over the latents of all processes, 0 where it is below rounding; their number; max |x|^2."""
    error, number, most, reach = (codes.new_zeros(()) for _ in range(4))
    for _, kept, distances, base in blocks(latents, keep, codes, torch.zeros_like(codes[:, 0])):
        error += torch.where(kept, distances.amin(dim=1) + base, 0).sum()
        number += kept.sum()
        most = torch.maximum(most, (distances.amax(dim=1) + base).max())
        reach = torch.maximum(reach, torch.where(kept, base, 0).max())
    processes.add_up(error, number)
    for largest in (most, reach):
        processes.largest(largest)
    floor = torch.finfo(codes.dtype).eps ** 2 * most
    return torch.where(error > floor * number, error / number, 0), number, reach


def _log_masses(latents: Tensor, keep: Tensor, codes: Tensor, prices: Tensor, epsilon: Tensor, blocks: Blocks) -> Tensor:
    """ln sum_i p_ik over the latents of all processes, [K]."""
    limits, masses = torch.finfo(prices.dtype), torch.zeros_like(prices)
    for _, kept, scores, _ in blocks(latents, keep, codes, prices, -epsilon):
        masses += kept.to(prices.dtype) @ scores.softmax(dim=1)
    processes.add_up(masses)
    if bool(masses.min() >= limits.tiny / limits.eps):
        return masses.log()
    total = torch.full_like(prices, limits.min / 8)  # a mass that is below all numbers, by its logarithm
    for _, kept, scores, _ in blocks(latents, keep, codes, prices, -epsilon):
        shares = torch.where(kept[:, None], scores.log_softmax(dim=1), -torch.inf)
        total = torch.logaddexp(total, shares.logsumexp(dim=0))
    if not processes.running():
        return total
    highest = processes.largest(total.clone())
    masses = (total - highest).exp()
    processes.add_up(masses)
    return highest + masses.log()


def _cheapest(latents: Tensor, codes: Tensor, priced: Tensor, prices: Tensor, epsilon: Tensor) -> Tensor:
    """argmin_k d_ik - psi_k, [n]; of those that differ by rounding the nearest, by the direct sum."""
    rounding = math.sqrt(torch.finfo(prices.dtype).eps) * epsilon
    least, winners = priced.min(dim=1, keepdim=True)
    tied = priced.scatter_(1, winners, torch.inf).amin(dim=1) <= least[:, 0] + rounding
    winners = winners[:, 0]
    if tied.any():
        distances = _direct(latents[tied], codes)
        priced = distances - prices
        close = priced <= priced.amin(dim=1, keepdim=True) + rounding
        winners[tied] = torch.where(close, distances, torch.inf).argmin(dim=1)
    return winners
