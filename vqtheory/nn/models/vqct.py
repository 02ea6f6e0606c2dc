"""VQCT: the codes are adjectives and nouns, made of features of words by a graph of which ones are seen together.

Zhang et al., arXiv 2403.10071. The encoder's latents have two halves: the first becomes the mean of its k nearest
adjectives, the second its nearest noun, see `vqtheory.nn.branches`. Both vocabularies are codes of one `rules.GraphVQ`,
whose two graph convolutions are trained and whose features are not: what the features say of the words is transferred to
the codes.

The paper's features are those of a text model for the words of captions, and its vocabulary is not published. The default
graph has Gaussian features in their place; a file of one's own, with the columns features, edges and kind, brings words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from vqtheory import rules
from vqtheory._base import check
from vqtheory.nn.branches import BranchQuantize
from vqtheory.nn.models.base import Autoencoder, sizes
from vqtheory.nn.models.layers import decoder, encoder
from vqtheory.nn.quantize import VectorQuantize

PRESETS: dict[str, dict[str, Any]] = {
    "vqct": {"channels": (32, 64), "residual_layers": 2},
    "vqct-paper": {"channels": (128, 128, 256, 512), "residual_layers": 2},
}


class VQCT(Autoencoder):
    """Convolutions to latents of two halves, a quantizer with a branch for each, and a decoder.

    Parameters
    ----------
    quantizer : BranchQuantize
    channels : sequence of int, default (32, 64)
        Each halves height and width.
    residual_layers : int, default 2
    image_channels : int, default 3

    Examples
    --------
    >>> import torch
    >>> model = VQCT(BranchQuantize(dim=16, codebook_size=32), channels=(4, 8), residual_layers=0)
    >>> output = model(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    >>> output.latents.shape, output.quantized.indices.shape
    (torch.Size([2, 16, 8, 8]), torch.Size([2, 8, 8, 3]))
    >>> bool(torch.equal(model.decoded(output.quantized.indices), output.images))
    True
    """

    layer: ClassVar[type[VectorQuantize]] = BranchQuantize
    rule: ClassVar[rules.Rule] = rules.GraphVQ()

    def __init__(
        self,
        quantizer: nn.Module,
        channels: Sequence[int] = (32, 64),
        residual_layers: int = 2,
        image_channels: int = 3,
    ) -> None:
        super().__init__()
        check.instance("VQCT", "quantizer", quantizer, BranchQuantize, "a BranchQuantize, with a branch for each half")
        widths, depth, ends = sizes("VQCT", channels, residual_layers, image_channels)
        self.options = {"channels": widths, "residual_layers": depth, "image_channels": ends}
        dim = int(quantizer.dim)  # type: ignore[arg-type]
        self.quantizer = quantizer
        self.encoder = encoder(ends, widths, depth, dim)
        self.decoder = decoder(ends, widths, depth, dim)
        self.downsampling = 2 ** len(widths)

    def decoded(self, indices: Tensor) -> Tensor:
        """Images of indices [b, h, w, k + 1], as the forward pass gives them."""
        return self.decode(self.quantizer.chosen(indices).flatten(-2).movedim(-1, 1))  # type: ignore[operator]
