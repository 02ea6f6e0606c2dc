"""A search by beams: the best sums of one code from each of several codebooks, not of the nearest at each step alone."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from vqtheory.nn.ops.search import closest

_NUMBERS = 2**24  # of candidates' coordinates at a time; 64 MB


def search(latents: Tensor, codebooks: Sequence[Tensor], beams: int) -> Tensor:
    """Indices [N, L] of one code of each codebook [K, D], whose sum is near the latents [N, D].

    At each codebook every one of up to `beams` sums is continued by its nearest codes, as many, and the best go on. The
    sum of the greedy choice may be lost on the way.
    """
    size = max(1, _NUMBERS // (beams**2 * latents.shape[1]))
    return torch.cat([_search(part, codebooks, beams) for part in latents.split(size)])


def _search(latents: Tensor, codebooks: Sequence[Tensor], beams: int) -> Tensor:
    rest = latents[:, None]  # [N, sums, D]
    paths = torch.zeros(len(latents), 1, 0, dtype=torch.int64, device=latents.device)
    for codes in codebooks:
        count = min(beams, len(codes))
        near = closest(rest.flatten(0, 1), codes, count).view(len(latents), -1)
        left = rest.repeat_interleave(count, dim=1) - codes[near]
        best = left.square().sum(dim=2).topk(min(beams, near.shape[1]), dim=1, largest=False).indices
        rest = left.gather(1, best[..., None].expand(-1, -1, left.shape[2]))
        before = paths.gather(1, (best // count)[..., None].expand(-1, -1, paths.shape[2]))
        paths = torch.cat([before, near.gather(1, best)[..., None]], dim=2)
    return paths[:, 0]
