"""The autoencoder around the layer: images to latents to codes, and back."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vqtheory._base import check
from vqtheory.nn.quantize import Info, Quantized

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"channels": (128, 256), "residual_layers": 6},
    "small": {"channels": (32, 64), "residual_layers": 2},
}


class Output(NamedTuple):
    """What the autoencoder returns."""

    images: Tensor  # the reconstructions, in [-1, 1]
    latents: Tensor  # [b, d, h, w], as the encoder gives them
    quantized: Quantized


class Residual(nn.Sequential):
    """x + a 3x3 and a 1x1 convolution of it."""

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.ReLU(), nn.Conv2d(width, width, 1, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Activations to activations, [b, width, h, w]."""
        return x + super().forward(x)


class VQVAE(nn.Module):
    """Convolutions down to latents, a quantizer, and their mirror image up to images in [-1, 1].

    Each entry of `channels` halves height and width by a convolution of stride 2. Then come a 3x3 convolution,
    `residual_layers` residual layers and a 1x1 convolution to the quantizer's `dim`; the decoder ends with tanh.

    Parameters
    ----------
    quantizer : VectorQuantize
        Or any module with a `dim` that takes latents [b, dim, h, w] and returns a `Quantized`.
    channels : sequence of int, default (128, 256)
    residual_layers : int, default 6
    image_channels : int, default 3

    Examples
    --------
    >>> import torch
    >>> from vqtheory.nn import VectorQuantize
    >>> model = VQVAE.preset("small", VectorQuantize(dim=16, codebook_size=32))
    >>> output = model(torch.rand(2, 3, 32, 32))
    >>> output.images.shape, output.latents.shape, output.quantized.indices.shape
    (torch.Size([2, 3, 32, 32]), torch.Size([2, 16, 8, 8]), torch.Size([2, 8, 8]))
    """

    def __init__(
        self, quantizer: nn.Module, channels: tuple[int, ...] = (128, 256), residual_layers: int = 6, image_channels: int = 3
    ) -> None:
        super().__init__()
        widths = [check.integer("VQVAE", "channels", width) for width in channels]
        if not widths:
            raise check.fail("VQVAE", "channels", "at least one width", channels)
        depth = check.integer("VQVAE", "residual_layers", residual_layers, 0)
        ends = check.integer("VQVAE", "image_channels", image_channels)
        self.quantizer = quantizer
        self.encoder = _encoder(ends, widths, depth, int(quantizer.dim))  # type: ignore[arg-type]
        self.decoder = _decoder(ends, widths, depth, int(quantizer.dim))  # type: ignore[arg-type]
        self.downsampling = 2 ** len(widths)

    @classmethod
    def preset(cls, name: str, quantizer: nn.Module) -> VQVAE:
        """The sizes of the published experiments ("paper"), or a quarter of them, for a CPU ("small")."""
        return cls(quantizer, **PRESETS[check.choice("VQVAE.preset", "name", name, PRESETS)])

    def encode(self, images: Tensor) -> Tensor:
        """Latents [b, d, h, w] of images [b, channels, H, W] in [-1, 1]."""
        return self.encoder(images)

    def decode(self, latents: Tensor) -> Tensor:
        """Images of latents, quantized or not."""
        return self.decoder(latents)

    def forward(self, images: Tensor, displacement: Tensor | None = None) -> Output:
        """Images there and back; `displacement` is passed on to the quantizer."""
        latents = self.encode(images)
        quantized = self.quantizer(latents, displacement=displacement)
        return Output(self.decode(quantized.quantized), latents, quantized)

    def bypass(self, images: Tensor) -> Output:
        """Images there and back without quantization: no code is hit, and there is no loss of the quantizer."""
        latents = self.encode(images)
        hits = torch.zeros(int(self.quantizer.codebook_size), dtype=torch.int64, device=latents.device)  # type: ignore[arg-type]
        nothing, indices = latents.new_zeros(()), torch.full_like(latents[:, 0], -1, dtype=torch.int64)
        info = Info(hits, nothing, nothing, nothing, nothing)
        return Output(self.decode(latents), latents, Quantized(latents, indices, nothing, info))


def _encoder(ends: int, widths: list[int], depth: int, dim: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in zip([ends, *widths], widths, strict=False):
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU()]
    return nn.Sequential(*layers, *_middle(widths[-1], widths[-1], depth), nn.Conv2d(widths[-1], dim, 1))


def _decoder(ends: int, widths: list[int], depth: int, dim: int) -> nn.Sequential:
    up = widths[::-1]
    layers = _middle(dim, up[0], depth)
    for before, after in zip(up, [*up[1:], ends], strict=True):
        layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU()]
    return nn.Sequential(*layers[:-1], nn.Tanh())


def _middle(before: int, width: int, depth: int) -> list[nn.Module]:
    start = [nn.Conv2d(before, width, 3, padding=1), nn.LeakyReLU()]
    return [*start, *(Residual(width) for _ in range(depth)), nn.LeakyReLU()]
