"""The layer in place of the quantizers of other packages."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from vqtheory._base import check
from vqtheory.nn.quantize import VectorQuantize


class TamingQuantizer(nn.Module):
    """A `VectorQuantize` with the face of taming-transformers' and diffusers' quantizer.

    Latents are [b, d, h, w], and the answer is (z_q, loss, (perplexity, None, indices)) with indices [b h w]; where those
    packages have a one-hot matrix of all latents and codes there is None. `model.quantize = TamingQuantizer(layer)`
    puts it into a `diffusers.VQModel`.

    Parameters
    ----------
    quantizer : VectorQuantize
        The layer, for latents of the model's `vq_embed_dim`.

    Examples
    --------
    >>> import torch
    >>> quantizer = TamingQuantizer(VectorQuantize(dim=4, codebook_size=16, rule="nsvq"))
    >>> quantized, loss, (perplexity, _, indices) = quantizer(torch.randn(2, 4, 8, 8))
    >>> quantized.shape, indices.shape, quantizer.get_codebook_entry(indices, (2, 8, 8, 4)).shape
    (torch.Size([2, 4, 8, 8]), torch.Size([128]), torch.Size([2, 4, 8, 8]))
    """

    def __init__(self, quantizer: VectorQuantize) -> None:
        super().__init__()
        if not isinstance(quantizer, VectorQuantize):
            raise check.fail("TamingQuantizer", "quantizer", "a VectorQuantize", quantizer)
        self.quantizer = quantizer
        self.n_e, self.e_dim = quantizer.codebook_size, quantizer.dim

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, None, Tensor]]:
        """Quantize latents [b, d, h, w]."""
        quantized, indices, loss, info = self.quantizer(z)
        return quantized, loss, (info.perplexity, None, indices.reshape(-1))

    def get_codebook_entry(self, indices: Tensor, shape: Sequence[int] | None = None) -> Tensor:
        """Latents for indices [n]: [n, d], or [b, d, h, w] for a shape (b, h, w, d)."""
        codes = self.quantizer._decoded(indices.reshape(-1))
        return codes if shape is None else codes.reshape(tuple(shape)).permute(0, 3, 1, 2).contiguous()
