"""The autoencoder around the layer: images to latents to codes, and back."""

from __future__ import annotations

from typing import Any

from torch import nn

from vqtheory._base import check
from vqtheory.nn.models.base import Autoencoder, sizes
from vqtheory.nn.models.layers import decoder, encoder

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"channels": (128, 256), "residual_layers": 6},
    "small": {"channels": (32, 64), "residual_layers": 2},
}


class VQVAE(Autoencoder):
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
        widths, depth, ends = sizes("VQVAE", channels, residual_layers, image_channels)
        self.options = {"channels": widths, "residual_layers": depth, "image_channels": ends}
        self.quantizer = quantizer
        self.encoder = encoder(ends, widths, depth, int(quantizer.dim))  # type: ignore[arg-type]
        self.decoder = decoder(ends, widths, depth, int(quantizer.dim))  # type: ignore[arg-type]
        self.downsampling = 2 ** len(widths)

    @classmethod
    def preset(cls, name: str, quantizer: nn.Module) -> VQVAE:
        """The sizes of the published experiments ("paper"), or a quarter of them, for a CPU ("small")."""
        return cls(quantizer, **PRESETS[check.choice("VQVAE.preset", "name", name, PRESETS)])
