"""Latents of the batches of all processes that codes may move to, one for each code; no [N, K] array is kept."""

from __future__ import annotations

import torch
from torch import Tensor

from vqtheory.nn.ops import processes
from vqtheory.nn.ops.attraction import TO_BASE_2, power_
from vqtheory.nn.ops.search import assign, scored

_FAR = torch.iinfo(torch.int64).max


def closest(latents: Tensor, keep: Tensor, codes: Tensor) -> Tensor:
    """The latent nearest to each of codes [K, D], of latents [N, D] where `keep`, bool [N], is true: [K, D]."""
    anchors = latents[assign(codes, latents)] if len(latents) else torch.zeros_like(codes)
    if not processes.running():
        return anchors
    squared = (anchors - codes).square().sum(dim=1).masked_fill(~keep.any(), torch.inf)
    nearest = -processes.largest(-squared)
    return _of_one(anchors, squared == nearest)


def drawn(latents: Tensor, keep: Tensor, codes: Tensor, scale: float, fractions: Tensor) -> Tensor:
    """For each code [K, D] a latent, drawn by fractions [K] in [0, 1) with probabilities exp(scale |x - c|^2): [K, D]."""
    if not processes.running():
        return latents[draw(latents, keep, codes, scale, fractions)] if len(latents) else torch.zeros_like(codes)
    ends = _shares(latents, keep, codes, scale)
    begin, end = ends[processes.rank()], ends[processes.rank() + 1]
    own = ((fractions - begin) / (end - begin).clamp_min(torch.finfo(end.dtype).tiny)).clamp(0, 1)
    rows = draw(latents, keep, codes, scale, own)
    return _of_one(latents[rows] if len(latents) else torch.zeros_like(codes), (begin <= fractions) & (fractions < end))


def _of_one(rows: Tensor, mine: Tensor) -> Tensor:
    """Rows [K, D], each from the first process for which `mine` [K] is true."""
    rank = torch.full(mine.shape, processes.rank(), device=mine.device)
    first = -processes.largest(-torch.where(mine, rank, _FAR))
    rows = torch.where((first == rank)[:, None], rows, 0)
    processes.add_up(rows)
    return rows


def _shares(latents: Tensor, keep: Tensor, codes: Tensor, scale: float) -> Tensor:
    """Where on [0, 1] the share of each process in a code's probabilities begins and, one row on, ends: [world + 1, K]."""
    tops, masses = codes.new_zeros(2, processes.world_size(), len(codes))
    if len(latents):
        tops[processes.rank()], masses[processes.rank()] = _masses(latents, keep, codes, scale)
    processes.add_up(tops, masses)
    tops = torch.where(masses > 0, tops, torch.finfo(tops.dtype).min / 4)
    ends = (masses * (tops - tops.amax(dim=0)).exp2()).cumsum(dim=0)
    ends = ends / ends[-1].clamp_min(torch.finfo(ends.dtype).tiny)
    return torch.cat([torch.zeros_like(ends[:1]), ends[:-1], torch.ones_like(ends[:1])])


@torch.library.custom_op(
    "vqtheory::draw",
    mutates_args=(),
    schema="(Tensor latents, Tensor keep, Tensor codes, float scale, Tensor fractions) -> Tensor",
)
def draw(latents: Tensor, keep: Tensor, codes: Tensor, scale: float, fractions: Tensor) -> Tensor:
    """The first latent at which the running sum of exp(scale |x - c|^2) exceeds this fraction of the sum: int64 [K]."""
    rows, begin = [], 0
    for _, _, scores in scored(codes, latents) if len(latents) else ():
        running = _weights(scores, keep, scale)[1].cumsum_(dim=0)
        below = running <= fractions[begin : begin + scores.shape[1]] * running[-1]
        rows.append(below.sum(dim=0).clamp_max_(len(latents) - 1))
        begin += scores.shape[1]
    return torch.cat(rows) if rows else fractions.new_zeros(len(codes), dtype=torch.int64)


@draw.register_fake
def _(latents: Tensor, keep: Tensor, codes: Tensor, scale: float, fractions: Tensor) -> Tensor:
    return fractions.new_empty(codes.shape[0], dtype=torch.int64)


def _masses(latents: Tensor, keep: Tensor, codes: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """The logarithm to base 2 of the largest of exp(scale |x - c|^2), and their sum over it: [K] each."""
    tops, sums = [codes.new_zeros(0)], [codes.new_zeros(0)]
    for _, _, scores in scored(codes, latents):
        top, weights = _weights(scores, keep, scale)
        tops.append(top)
        sums.append(weights.sum(dim=0))
    return torch.cat(tops), torch.cat(sums)


def _weights(scores: Tensor, keep: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Of scores [N, k], squared distances up to a constant for each code: the largest logarithm, and weights over it."""
    logarithms = (scores * (scale * TO_BASE_2)).masked_fill_(~keep[:, None], -torch.inf)
    top = logarithms.amax(dim=0).clamp_min(torch.finfo(scores.dtype).min / 4)
    return top, power_(logarithms.sub_(top)).mul_(keep[:, None])
