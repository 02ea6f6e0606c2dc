"""The nearest code, on any device: a product proposes, the direct distance decides."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

_BLOCK = {"cpu": 2**20}  # products of a latent and a code at a time; 4 MB, which a cache holds
_BLOCK_ELSEWHERE = 2**26  # what keeps an accelerator busy
_LEAST = 32  # latents at a time, for which the codes are read once
_SAMPLES = 127  # latents of which the median is the centre
_ROUNDING = 64  # the product's error in units of eps |x|^2, times how much smaller it has to be than the distance
_GROUP = 8  # rows with one minimum, on a CPU
_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def assign(latents: Tensor, codes: Tensor) -> Tensor:
    """Index of the nearest code of latents [N, D] among codes [K, D]: int64 [N]; no gradient.

    Both are centred on the latents, since |c|^2 - 2 x.c loses all digits where latents are far from the origin, and the
    codes may be anywhere. Of the two best by that product the one with the smaller sum of squared differences wins, and
    the lower index if both are the same. On a CPU, latents for which the product says too little, as in two clouds far
    from each other, are compared with each code directly. No [N, K] array is kept.
    """
    with torch.autocast(latents.device.type, enabled=False):
        return _assign(latents.detach(), codes.detach())


def closest(latents: Tensor, codes: Tensor, count: int) -> Tensor:
    """Indices of the `count` nearest codes of latents [N, D], [N, count], in no order, by the product alone."""
    with torch.autocast(latents.device.type, enabled=False):
        blocks = [scores.T.contiguous().topk(count, largest=False).indices for _, _, scores in scored(latents, codes)]
    return torch.cat(blocks) if blocks else latents.new_zeros(0, count, dtype=torch.int64)


@torch.library.custom_op("vqtheory::assign", mutates_args=(), schema="(Tensor latents, Tensor codes) -> Tensor")
def _assign(latents: Tensor, codes: Tensor) -> Tensor:
    """One operator, so that `torch.compile` does not unroll the blocks."""
    winners = [nearest(part, codes, x, scores) for part, x, scores in scored(latents, codes)]
    return torch.cat(winners) if winners else latents.new_zeros(0, dtype=torch.int64)


@_assign.register_fake
def _(latents: Tensor, codes: Tensor) -> Tensor:
    return latents.new_empty(latents.shape[0], dtype=torch.int64)


def scored(latents: Tensor, codes: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Blocks of n latents: as they are, minus the centre, and |c|^2 - 2 x.c [K, n] of what is centred."""
    middle = centre(latents)
    lifted = _lifted(codes - middle)
    for part in latents.split(block_size(latents, codes)) if len(latents) else ():
        x = part - middle
        yield part, x, product(lifted, nn.functional.pad(x, (0, 1), value=1.0))


def block_size(latents: Tensor, codes: Tensor) -> int:
    """How many latents at a time are compared with all codes."""
    return max(_LEAST, _BLOCK.get(latents.device.type, _BLOCK_ELSEWHERE) // len(codes))


def centre(latents: Tensor) -> Tensor:
    """The median of some latents [N, D] along each axis: where most of them are, wherever the others may be."""
    some = latents[:: max(1, len(latents) // _SAMPLES)]
    middle = some.sort(dim=0).values[len(some) // 2] if len(some) else latents.new_zeros(latents.shape[1])
    return middle.nan_to_num(0.0, 0.0, 0.0)


def _lifted(codes: Tensor) -> Tensor:
    """(-2c, |c|^2) of centred codes [K, D]; a code that is not finite loses, and squares do not overflow."""
    largest = math.sqrt(torch.finfo(codes.dtype).max / codes.shape[1]) / 4
    usable = codes.isfinite().all(dim=1, keepdim=True)
    c = torch.where(usable, codes.clamp(-largest, largest), 0)
    return torch.cat([-2 * c, torch.where(usable, c.square().sum(dim=1, keepdim=True), torch.inf)], dim=1)


def product(left: Tensor, right: Tensor) -> Tensor:
    """[m, D] by [n, D]: [m, n]. In float32 by oneDNN, which takes AVX-512 on any maker's machine; MKL on Intel's alone."""
    if _ONEDNN and left.is_cpu and left.dtype == torch.float32:
        return torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
    return left @ right.T


def nearest(latents: Tensor, codes: Tensor, x: Tensor, scores: Tensor) -> Tensor:
    """Of the two lowest scores [K, n] the one with the smaller distance; `x` are the latents [n, D] minus the centre."""
    winners, squared = _nearer(latents, codes, _two_lowest(scores))
    if latents.is_cpu:  # elsewhere to look for such latents would wait for the device
        reach = x.square().sum(dim=1).sqrt_().add_(squared.sqrt()).square_()
        unsure = (reach * (_ROUNDING * torch.finfo(x.dtype).eps) > squared) & (squared > 0)
        if unsure.any():
            winners[unsure] = _directly(latents[unsure], codes)
    return winners


def lowest(values: Tensor) -> Tensor:
    """The first row with the lowest of values [K, n] in each column: [n]; on a CPU in a tenth of the time of `argmin`."""
    two = _two_lowest(values)
    first, second = values.gather(0, two)
    return torch.where(second < first, two[1], two[0])


def cheapest(latents: Tensor, codes: Tensor, scores: Tensor, prices: Tensor) -> Tensor:
    """Of the two lowest scores [K, n] the one with the smaller distance times its price [K]."""
    two = _two_lowest(scores)
    first, second = (latents - nn.functional.embedding(two, codes)).square().sum(dim=2) * prices[two]
    return torch.where(second < first, two[1], two[0])


def _nearer(latents: Tensor, codes: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Of two codes [2, n] for each latent the nearer one, and its squared distance."""
    squared = (latents - nn.functional.embedding(two, codes)).square().sum(dim=2).nan_to_num_(torch.inf, torch.inf)
    second = squared[1] < squared[0]
    return torch.where(second, two[1], two[0]), torch.where(second, squared[1], squared[0])


def _directly(latents: Tensor, codes: Tensor) -> Tensor:
    """The nearest code by the sums of squared differences alone, which lose no digits."""
    size = max(1, _BLOCK["cpu"] // len(codes))
    distances = (torch.cdist(codes, part, compute_mode="donot_use_mm_for_euclid_dist") for part in latents.split(size))
    parts = zip(latents.split(size), distances, strict=True)
    return torch.cat([_nearer(part, codes, _two_lowest(apart.nan_to_num_(torch.inf)))[0] for part, apart in parts])


def _two_lowest(values: Tensor) -> Tensor:
    """Rows of the two lowest of values [K, n] in each column, the first of equal ones; [2, n], the lower row first."""
    size = _GROUP if values.is_cpu else 2 ** round(math.log2(len(values)) / 2)  # an accelerator waits for each operation
    return _two_lowest_by_groups(values, size)


def _two_lowest_by_groups(values: Tensor, size: int) -> Tensor:
    """The two lowest are in the two groups of rows with the lowest minima. `min` over groups runs over columns side by side,
    as a search for the row does not.
    """
    if len(values) <= 2 * size:
        best = values.min(dim=0, keepdim=True).indices
        other = values.scatter(0, best, torch.inf).min(dim=0, keepdim=True).indices
        return torch.cat([torch.minimum(best, other), torch.maximum(best, other)])
    if len(values) % size:
        values = nn.functional.pad(values, (0, 0, 0, -len(values) % size), value=torch.inf)
    groups = values.view(-1, size, values.shape[1])
    chosen = _two_lowest_by_groups(groups.amin(dim=1), size)
    members = groups.gather(0, chosen[:, None].expand(-1, size, -1)).flatten(0, 1)
    found = _two_lowest_by_groups(members, size)
    return chosen.gather(0, found // size) * size + found % size
