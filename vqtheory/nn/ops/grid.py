"""How the neighbours of winners on a grid follow, as in a self-organizing map: by sums over cells, without an [N, K] array.

    L = (1 / N D) sum_ik h(g_k - g_q(i)) |x_i - c_k|^2      over pairs of which k does not win i

The sums of latents over cells are spread over the grid along one axis after the other, since h is a product of two falls.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vqtheory.nn.ops.attraction import _count
from vqtheory.nn.ops.search import _BLOCK, _BLOCK_ELSEWHERE, centre


def attract_on_grid(
    latents: Tensor, keep: Tensor, codes: Tensor, winners: Tensor, sides: tuple[int, int], fall: Tensor
) -> Tensor:
    """L as a function of codes [K, D] alone, on a grid of these sides; `fall` [side or more] is h along one axis."""
    held = codes.detach()
    loss, gradient = _attract_on_grid(latents.detach(), keep, held, winners, sides, fall)
    return loss + ((codes - held) * gradient).sum()  # adds 0, and the gradient


@torch.no_grad()
def _attract_on_grid(
    latents: Tensor, keep: Tensor, codes: Tensor, winners: Tensor, sides: tuple[int, int], fall: Tensor
) -> tuple[Tensor, Tensor]:
    middle, num_codes = centre(latents), len(codes)
    x, c = latents - middle, codes - middle
    features = torch.cat([torch.ones_like(x[:, :1]), x.square().sum(dim=1, keepdim=True), x], dim=1)
    cells = torch.where(keep, winners, num_codes)
    sums = features.new_zeros(num_codes + 1, features.shape[1]).index_add_(0, cells, features)[:-1]
    near = _spread(sums, sides, fall) - sums  # the winner's own part is in the codebook loss
    mass, squares, pull = near[:, :1], near[:, 1:2], near[:, 2:]
    share = 1 / (_count(keep, latents) * latents.shape[1])
    loss = (squares - 2 * (c * pull).sum(dim=1, keepdim=True) + mass * c.square().sum(dim=1, keepdim=True)).sum()
    return loss * share, (mass * c - pull) * (2 * share)


def _spread(sums: Tensor, sides: tuple[int, int], fall: Tensor) -> Tensor:
    """sum_j h(g_k - g_j) sums_j, [K, F]."""
    rows, columns = sides
    sums = _along(sums.reshape(rows, -1), fall).reshape(rows, columns, -1)
    return _along(sums.transpose(0, 1).reshape(columns, -1), fall).reshape(columns, rows, -1).transpose(0, 1).flatten(0, 1)


def _along(values: Tensor, fall: Tensor) -> Tensor:
    """sum_j fall(|i - j|) values_j, [side, F], by blocks of i."""
    side = len(values)
    falls = torch.cat([fall[1:side].flip(0), fall[:side]]).unfold(0, side, 1)  # of i = side - 1 first
    size = max(1, _BLOCK.get(values.device.type, _BLOCK_ELSEWHERE) // side)
    return torch.cat([part @ values for part in falls.split(size)]).flip(0)
