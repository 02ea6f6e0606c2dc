"""Convolutions that take their pixels from where a network says: deformable sampling by `grid_sample`.

Zhu et al., "Deformable ConvNets v2", arXiv 1811.11168: the k-th of the nine taps of a 3x3 convolution at place p reads, by
bilinear interpolation and with zeros outside,

    m_k x(p + p_k + o_k),

with an offset o_k in pixels and a modulation m_k in (0, 1), both of its own at every place and for each group of channels.
With zero offsets and all m = 1 it is a convolution.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

TAPS = 9
GROUPS = 4  # of channels that are moved together


class Deformable(nn.Conv2d):
    """A 3x3 convolution whose taps have offsets and modulations.

    Examples
    --------
    >>> layer = Deformable(8, 6)
    >>> x = torch.rand(2, 8, 5, 7)
    >>> y = layer(x, torch.zeros(2, layer.groups_moved, TAPS, 2, 5, 7), torch.ones(2, layer.groups_moved, TAPS, 5, 7))
    >>> torch.allclose(y, functional.conv2d(x, layer.weight, layer.bias, padding=1), atol=1e-5)
    True
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 3)
        self.groups_moved = math.gcd(before, GROUPS)

    def forward(self, x: Tensor, offsets: Tensor, modulation: Tensor) -> Tensor:  # type: ignore[override]
        """[b, before, h, w] to [b, after, h, w], by offsets [b, groups, 9, 2, h, w] and modulations [b, groups, 9, h, w]."""
        apart = x.unflatten(1, (self.groups_moved, -1)).flatten(0, 1)
        taps = warp(apart, offsets.flatten(0, 1) + _window(x)) * modulation.flatten(0, 1)[:, None]
        columns = taps.unflatten(0, (len(x), -1)).flatten(1, 3)  # [b, before * 9, h, w]
        return functional.conv2d(columns, self.weight.flatten(1)[..., None, None], self.bias)


def warp(x: Tensor, offsets: Tensor) -> Tensor:
    """x [n, c, h, w] read beside each place by k offsets [n, k, 2, h, w], (x, y) in pixels: [n, c, k, h, w]."""
    height, width = x.shape[2:]
    places = (offsets + _places(x)).movedim(2, -1).flatten(1, 2)  # [n, k h, w, 2]
    with torch.autocast(x.device.type, enabled=False):  # a place in half precision would be off by pixels
        grid = (2 * places.float() + 1) / places.new_tensor([width, height], dtype=torch.float32) - 1
        read = functional.grid_sample(x.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return read.to(x.dtype).unflatten(2, (-1, height))


def _places(x: Tensor) -> Tensor:
    """Column and row of each place, [2, h, w]."""
    rows, columns = (torch.arange(side, device=x.device, dtype=torch.float32) for side in x.shape[2:])
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"))


def _window(x: Tensor) -> Tensor:
    """Where the taps of a 3x3 convolution are, [9, 2, 1, 1]."""
    steps = torch.arange(-1, 2, device=x.device, dtype=torch.float32)
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([columns.ravel(), rows.ravel()], dim=1)[..., None, None]


class Offsets(nn.Module):
    """Offsets and modulations of a level, from what is seen of the image, the texture, and the level before.

    They start at zero offsets, and at modulations of a half.
    """

    def __init__(self, seen: int, texture: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.features = nn.Conv2d(2 * seen + texture, seen, 3, padding=1)
        self.head = nn.Conv2d(seen, groups * TAPS * 3, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, seen: Tensor, texture: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Offsets [b, groups, 9, 2, h, w], modulations [b, groups, 9, h, w], and features for the level after."""
        if before is None:
            above = torch.zeros_like(seen)
        else:
            above = 2 * functional.interpolate(
                before, size=seen.shape[2:], mode="bilinear"
            )  # offsets are twice as long there
        features = functional.leaky_relu(self.features(torch.cat([seen, texture, above], dim=1)))
        moves = self.head(features).unflatten(1, (self.groups, TAPS, 3))
        return moves[:, :, :, :2], moves[:, :, :, 2].sigmoid(), features
