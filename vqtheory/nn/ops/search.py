"""The nearest code, on any device: a product proposes, the direct distance decides."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

_BLOCK = {"cpu": 2**20}  # products of a latent and a code at a time; 4 MB, which a cache holds
_BLOCK_ELSEWHERE = 2**26  # what keeps an accelerator busy
_LEAST = 32  # latents at a time, for which the codes are read once
_GROUP = 8
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def assign(latents: Tensor, codes: Tensor) -> Tensor:
    """Index of the nearest code of latents [N, D] among codes [K, D]: int64 [N]; no gradient.

    Both are centred on the codebook, since |c|^2 - 2 x.c loses all digits where latents are far from the origin. Of
    the two best by that product the one with the smaller sum of squared differences wins, and the lower index if both
    are the same. No [N, K] array is kept.
    """
    with torch.autocast(latents.device.type, enabled=False):
        return _assign(latents.detach(), codes.detach())


@torch.library.custom_op("vqtheory::assign", mutates_args=(), schema="(Tensor latents, Tensor codes) -> Tensor")
def _assign(latents: Tensor, codes: Tensor) -> Tensor:
    """One operator, so that `torch.compile` does not unroll the blocks."""
    found = [nearest(part, codes, scores) for part, _, scores in scored(latents, codes)]
    return torch.cat(found) if found else latents.new_zeros(0, dtype=torch.int64)


@_assign.register_fake
def _(latents: Tensor, codes: Tensor) -> Tensor:
    return latents.new_empty(len(latents), dtype=torch.int64)


def scored(latents: Tensor, codes: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Blocks of n latents: as they are, minus the codebook's mean, and |c|^2 - 2 x.c [K, n] of what is centred."""
    centre = codes.mean(dim=0)
    c = codes - centre
    lifted = torch.cat([-2 * c, c.square().sum(dim=1, keepdim=True)], dim=1)
    size = max(_LEAST, _BLOCK.get(latents.device.type, _BLOCK_ELSEWHERE) // len(codes))
    for part in latents.split(size) if len(latents) else ():
        x = part - centre
        yield part, x, product(lifted, nn.functional.pad(x, (0, 1), value=1.0))


def product(left: Tensor, right: Tensor) -> Tensor:
    """[m, D] by [n, D]: [m, n]. In float32 by oneDNN, which takes AVX-512 on any maker's machine; MKL on Intel's alone."""
    if _ONEDNN and left.is_cpu and left.dtype == torch.float32:
        return torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
    return left @ right.T


def nearest(latents: Tensor, codes: Tensor, scores: Tensor) -> Tensor:
    """Of the two lowest scores [K, n] the one with the smaller distance."""
    two = _two_lowest(scores)
    distances = (latents - nn.functional.embedding(two, codes)).square().sum(dim=2)
    return torch.where(distances[1] < distances[0], two[1], two[0])


def _two_lowest(values: Tensor) -> Tensor:
    """Rows of the two lowest of values [K, n] in each column, the first of equal ones; [2, n], the lower row first.

    They are in the two groups of rows with the lowest minima. `min` over groups runs over columns side by side, as a
    search for the row does not.
    """
    if len(values) <= 2 * _GROUP:
        best = values.min(dim=0, keepdim=True).indices
        other = values.scatter(0, best, torch.inf).min(dim=0, keepdim=True).indices
        return torch.cat([torch.minimum(best, other), torch.maximum(best, other)])
    if len(values) % _GROUP:
        values = nn.functional.pad(values, (0, 0, 0, -len(values) % _GROUP), value=torch.inf)
    groups = values.view(-1, _GROUP, values.shape[1])
    chosen = _two_lowest(groups.amin(dim=1))
    members = groups.gather(0, chosen[:, None].expand(-1, _GROUP, -1)).flatten(0, 1)
    found = _two_lowest(members)
    return chosen.gather(0, found // _GROUP) * _GROUP + found % _GROUP
