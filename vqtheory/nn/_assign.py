"""The nearest code, on any device: a product proposes, the direct distance decides."""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 2**24  # products of a latent and a code at a time


def blocks(num_latents: int, num_codes: int) -> range:
    """Where each block of latents begins."""
    return range(0, num_latents, max(1, _BLOCK // num_codes))


def assign(latents: Tensor, codes: Tensor) -> Tensor:
    """Index of the nearest code of latents [N, D] among codes [K, D]: int64 [N]; no gradient.

    Both are centred on the codebook, since |c|^2 - 2 x.c loses all digits where latents are far from the origin. Of
    the two best by that product the one with the smaller sum of squared differences wins, and the lower index if both
    are the same. No [N, K] array is kept.
    """
    with torch.no_grad(), torch.autocast(latents.device.type, enabled=False):
        centre = codes.mean(dim=0)
        centred = codes - centre
        squares = centred.square().sum(dim=1)
        size = blocks(len(latents), len(codes)).step
        found = [_nearest(part, part - centre, codes, centred, squares) for part in latents.split(size)]
        return torch.cat(found) if found else latents.new_zeros(0, dtype=torch.int64)


def _nearest(latents: Tensor, moved: Tensor, codes: Tensor, centred: Tensor, squares: Tensor) -> Tensor:
    scores = torch.addmm(squares, moved, centred.T, alpha=-2)
    if len(codes) == 1:
        return scores.new_zeros(len(latents), dtype=torch.int64)
    best = scores.argmin(dim=1)  # of several equal ones argmin takes the first, which topk does not
    other = scores.scatter_(1, best[:, None], torch.inf).argmin(dim=1)
    first, second = torch.minimum(best, other), torch.maximum(best, other)
    nearer = (latents - codes[second]).square().sum(dim=1) < (latents - codes[first]).square().sum(dim=1)
    return torch.where(nearer, second, first)
