"""What every model around the layer is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from vqtheory import rules
from vqtheory._base import check
from vqtheory.nn.integrations.hub import Pretrained
from vqtheory.nn.quantize import Info, Quantized, VectorQuantize


class Output(NamedTuple):
    """What a model returns."""

    images: Tensor  # the reconstructions, in [-1, 1]
    latents: Tensor  # [b, d, h, w] or [b, n, d], as the encoder gives them
    quantized: Quantized


class Autoencoder(Pretrained, nn.Module):
    """An encoder of images to latents, a quantizer, and a decoder back to images in [-1, 1].

    Attributes
    ----------
    quantizer, encoder, decoder : Module
    downsampling : int
        What height and width of the images have to be multiples of.
    options : dict
        What the class was called with beside the quantizer.
    layer : type of VectorQuantize
        The class of the quantizer that `train` puts into the model.
    rule : rule
        How its codes move if nothing else is asked for.
    masks : bool
        Whether it masks latents, so that the codes see a part of what the encoder gives.
    calibrates : bool
        Whether it has to know images before a training.
    holds_codes : bool
        Whether its codes stay as they are while it is trained.
    """

    layer: ClassVar[type[VectorQuantize]] = VectorQuantize
    rule: ClassVar[rules.Rule] = rules.VQ()

    masks: ClassVar[bool] = False
    holds_codes: ClassVar[bool] = False
    calibrates: bool = False
    options: dict[str, Any]
    quantizer: nn.Module
    encoder: nn.Module
    decoder: nn.Module
    downsampling: int

    def arguments(self) -> dict[str, Any]:
        """What makes a model like this one."""
        return {"quantizer": self.quantizer, **self.options}

    def encode(self, images: Tensor) -> Tensor:
        """Latents, [b, d, h, w] or [b, n, d], of images [b, channels, H, W] in [-1, 1]."""
        return self.encoder(images)

    def decode(self, latents: Tensor) -> Tensor:
        """Images of latents, quantized or not."""
        return self.decoder(latents)

    def forward(self, images: Tensor, displacement: Tensor | None = None) -> Output:
        """Images there and back; `displacement` is passed on to the quantizer."""
        latents = self.encode(images)
        moved = {} if displacement is None else {"displacement": displacement}  # which stacks do not take
        quantized = self.quantizer(latents, **moved)
        return Output(self.decode(quantized.quantized), latents, quantized)

    def bypass(self, images: Tensor) -> Output:
        """Images there and back without quantization: no code is hit, and there is no loss of the quantizer."""
        latents = self.encode(images)
        return Output(self.decode(latents), latents, self._unquantized(latents, latents[:, 0]))

    def _unquantized(self, latents: Tensor, places: Tensor) -> Quantized:
        """What a quantizer that does nothing would return, for latents at these places."""
        hits = torch.zeros(int(self.quantizer.codebook_size), dtype=torch.int64, device=latents.device)  # type: ignore[arg-type]
        nothing, indices = latents.new_zeros(()), torch.full_like(places, -1, dtype=torch.int64)
        return Quantized(latents, indices, nothing, Info(hits, nothing, nothing, nothing, nothing))

    def front(self) -> Iterator[nn.Parameter]:
        """The parameters by which an image becomes what is compared with the codes."""
        yield from self.encoder.parameters()
        yield from (value for name, value in self.quantizer.named_parameters() if "project_in" in name)

    def pixel_loss(self, reconstructions: Tensor, images: Tensor) -> Tensor:
        """What a training makes small, beside the quantizer's loss."""
        return mse_loss(reconstructions, images)

    def alternatives(self, images: Tensor) -> dict[str, Tensor]:
        """Other images that an evaluation measures beside the reconstructions, by their names."""
        return {}

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """What has to be known of the images before a training, from some of them."""


def sizes(owner: str, channels: Sequence[int], residual_layers: int, image_channels: int) -> tuple[list[int], int, int]:
    """Widths, depth and channels of images, once they are known to be in order."""
    widths: list[Any] = [check.integer(owner, "channels", width) for width in channels]
    if not widths:
        raise check.fail(owner, "channels", "at least one width", channels)
    depth = check.integer(owner, "residual_layers", residual_layers, 0)
    return widths, depth, check.integer(owner, "image_channels", image_channels)
