"""The convolutions that the models are made of."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Residual(nn.Sequential):
    """x + a 3x3 and a 1x1 convolution of it."""

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(width, width, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Activations to activations, [b, width, h, w]."""
        return x + super().forward(x)


def down(before: int, widths: Sequence[int]) -> list[nn.Module]:
    """Half the height and half the width with each width."""
    layers: list[nn.Module] = []
    for narrow, wide in zip([before, *widths], widths, strict=False):
        layers += [nn.Conv2d(narrow, wide, 4, stride=2, padding=1), nn.LeakyReLU()]
    return layers


def middle(before: int, width: int, depth: int) -> list[nn.Module]:
    """A 3x3 convolution and `depth` residual layers."""
    start = [nn.Conv2d(before, width, 3, padding=1), nn.LeakyReLU()]
    return [*start, *(Residual(width) for _ in range(depth)), nn.LeakyReLU()]


def encoder(ends: int, widths: Sequence[int], depth: int, dim: int) -> nn.Sequential:
    """Images to latents of `dim` dimensions."""
    return nn.Sequential(*down(ends, widths), *middle(widths[-1], widths[-1], depth), nn.Conv2d(widths[-1], dim, 1))


def decoder(ends: int, widths: Sequence[int], depth: int, dim: int) -> nn.Sequential:
    """Latents to images in [-1, 1]."""
    up = list(widths)[::-1]
    layers = middle(dim, up[0], depth)
    for before, after in zip(up, [*up[1:], ends], strict=True):
        layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU()]
    return nn.Sequential(*layers[:-1], nn.Tanh())
