"""VQFR: images that were blurred, made small, noisy and compressed are restored from codes of sharp ones.

Gu et al., "VQFR: Blind Face Restoration with Vector-Quantized Dictionary and Parallel Decoder", arXiv 2205.06803. Stage 1
is a plain autoencoder on sharp images, whose codebook is re-estimated by k-means: `vqtheory.nn.models.VQVAE` with
`rules.Reestimate`. This is stage 2. Its codebook stays as it is; the encoder learns to find, in a degraded image y of a
sharp image x, the codes of x. Two decoders turn them into an image. The *texture decoder* sees the codes alone: what it
gives looks like a sharp image, and need not be the one that was degraded. The *main decoder* sees y: at each resolution it
warps the texture decoder's features by a deformable convolution, whose offsets come from y, from these features and from
the resolution before, and fuses them with its own. With their last layers t and m, before the tanh, the restored image is

    tanh(t + rho m),     rho in [0, 1] the fidelity,

and with rho = 0 the texture decoder's own. The losses are, in place of the quantizer's,

    |tanh(t + m) - x| + |tanh(t) - x| + beta |E(y) - C_q(x)|^2,

means over pixels and latents, where E(y) are latents before they are quantized and C_q(x) codes that stage 1 gives x.
(The paper adds perceptual and adversarial losses, see `perceptual` and `adversarial` of `train`.)
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vqtheory._base import check
from vqtheory.nn.degradation import Degradation
from vqtheory.nn.models.base import Autoencoder, Output, sizes
from vqtheory.nn.models.deformable import Deformable, Offsets
from vqtheory.nn.models.layers import Residual, decoder, encoder
from vqtheory.nn.models.vqvae import PRESETS as PLAIN
from vqtheory.nn.models.vqvae import VQVAE

STAGE_1 = {"vqfr": "small", "vqfr-paper": "paper"}  # the model that each is built upon
PRESETS: dict[str, dict[str, Any]] = {name: PLAIN[plain] for name, plain in STAGE_1.items()}


class VQFR(Autoencoder, words=(Degradation,)):
    """An encoder of degraded images, a codebook that does not move, a texture decoder, and a main decoder beside it.

    The forward pass degrades sharp images itself: in training by another draw at each pass, in evaluation always by the
    same one for an image. `restore` takes images that are degraded.

    Parameters
    ----------
    quantizer : VectorQuantize
    channels : sequence of int, default (32, 64)
    residual_layers : int, default 2
    image_channels : int, default 3
    degradation : Degradation, optional
        By default ``Degradation()``.
    seed : int, default 0
        Of the degradations.

    Attributes
    ----------
    prior : Module
        The encoder of stage 1, which stays as it is.
    fidelity : float
        rho of the forward pass, 1.

    Examples
    --------
    >>> from vqtheory.nn import VectorQuantize
    >>> model = VQFR(VectorQuantize(dim=8, codebook_size=32, start="published"), channels=(4, 8), residual_layers=0).eval()
    >>> images = torch.rand(2, 3, 30, 20, generator=torch.Generator().manual_seed(0)) * 2 - 1
    >>> model.restore(images, fidelity=0.5).shape
    torch.Size([2, 3, 30, 20])
    """

    holds_codes: ClassVar[bool] = True
    turns: Tensor

    def __init__(
        self,
        quantizer: nn.Module,
        channels: Sequence[int] = (32, 64),
        residual_layers: int = 2,
        image_channels: int = 3,
        *,
        degradation: Degradation | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        widths, depth, ends = sizes("VQFR", channels, residual_layers, image_channels)
        self.options = {"channels": widths, "residual_layers": depth, "image_channels": ends}
        dim = int(quantizer.dim)  # type: ignore[arg-type]
        self.degradation, self.seed = degradation or Degradation(), check.seed("VQFR", seed)
        check.instance("VQFR", "degradation", self.degradation, Degradation, "a Degradation or None")
        self.options |= {"degradation": self.degradation, "seed": self.seed}
        self.fidelity = 1.0
        self.quantizer = quantizer.requires_grad_(False)
        self.encoder = encoder(ends, widths, depth, dim)
        self.prior = copy.deepcopy(self.encoder).requires_grad_(False)
        self.decoder = decoder(ends, widths, depth, dim)
        self.main = MainDecoder(ends, widths, dim)
        self.downsampling = 2 ** len(widths)
        self.register_buffer("turns", torch.zeros((), dtype=torch.int64))

    def train(self, mode: bool = True) -> Self:
        """As any module; but the codes do not move."""
        super().train(mode)
        self.quantizer.eval()
        return self

    def adopt(self, stage: VQVAE) -> None:
        """Begin with the codes, the encoder and the decoder of stage 1."""
        for part in ("quantizer", "encoder", "decoder"):
            getattr(self, part).load_state_dict(getattr(stage, part).state_dict())
        self.prior.load_state_dict(stage.encoder.state_dict())

    def front(self) -> Iterator[nn.Parameter]:
        """The encoder's; what the quantizer has stays as it is anyway."""
        yield from self.encoder.parameters()

    def forward(self, images: Tensor, displacement: Tensor | None = None) -> Output:
        """Sharp images, degraded and restored; the loss of the texture decoder and of the latents is the quantizer's."""
        wanted = self._codes_of(images)  # first: who watches the quantizer sees the last latents of a pass
        degraded = self.degraded(images)
        latents = self.encode(degraded)
        quantized = self.quantizer(latents)
        textures = self._textures(quantized.quantized)
        nearness = functional.mse_loss(self.quantizer.project(latents), wanted)  # type: ignore[operator]
        loss = self.pixel_loss(textures[-1].tanh(), images) + self.quantizer.commitment_weight * nearness  # type: ignore[operator]
        restored = self._restored(latents, degraded, textures, self.fidelity)
        return Output(restored, latents, quantized._replace(loss=loss))

    @torch.no_grad()
    def restore(self, degraded: Tensor, fidelity: float = 1.0) -> Tensor:
        """Images of any size, [b, channels, H, W] in [-1, 1], restored.

        Their last rows and columns are repeated to what the model divides by, and cut off again.
        """
        rho = check.real("VQFR.restore", "fidelity", fidelity, 0, 1)
        if not isinstance(degraded, Tensor) or degraded.ndim != 4:
            got = tuple(degraded.shape) if isinstance(degraded, Tensor) else type(degraded).__name__
            raise ValueError(f"The images of VQFR.restore must be a tensor [b, channels, H, W]. Got {got}.")
        height, width = degraded.shape[2:]
        margin = (0, -width % self.downsampling, 0, -height % self.downsampling)
        whole = functional.pad(degraded, margin, mode="replicate")
        latents = self.encode(whole)
        textures = self._textures(self.quantizer(latents).quantized)
        return self._restored(latents, whole, textures, rho)[..., :height, :width]

    @torch.no_grad()
    def degraded(self, images: Tensor) -> Tensor:
        """What the degradation leaves of sharp images."""
        if self.training:
            self.turns += 1
        turn = int(self.turns) if self.training else 0
        sharp = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        rows = np.stack([self.degradation(np.ascontiguousarray(image), self.seed, turn) for image in sharp])
        return torch.from_numpy(rows).to(images.device).permute(0, 3, 1, 2).to(images.dtype) / 127.5 - 1

    def pixel_loss(self, reconstructions: Tensor, images: Tensor) -> Tensor:
        """The mean absolute error."""
        return functional.l1_loss(reconstructions, images)

    def alternatives(self, images: Tensor) -> dict[str, Tensor]:
        """What sharp images are degraded to, and what the texture decoder alone makes of that."""
        degraded = self.degraded(images)
        return {"degraded": degraded, "texture": self.restore(degraded, 0.0)}

    @torch.no_grad()
    def _codes_of(self, images: Tensor) -> Tensor:
        """The codes that stage 1 gives sharp images, as rows [N, codebook_dim]."""
        indices = self.quantizer(self.prior(images)).indices.flatten()
        return self.quantizer.codebook[indices.clamp_min(0)]  # type: ignore[index]

    def _textures(self, codes: Tensor) -> list[Tensor]:
        """The texture decoder's features before each change of resolution, and its image before the tanh."""
        levels, x = [], codes
        for layer in self.decoder:  # type: ignore[attr-defined]
            if isinstance(layer, (nn.ConvTranspose2d, nn.Tanh)):
                levels.append(x)
            x = layer(x)
        return levels

    def _restored(self, latents: Tensor, degraded: Tensor, textures: list[Tensor], rho: float) -> Tensor:
        if rho == 0:
            return textures[-1].tanh()
        return (textures[-1] + rho * self.main(latents, degraded, textures)).tanh()


class MainDecoder(nn.Module):
    """Latents and a degraded image to what is added to a texture, whose features are warped and fused on the way."""

    def __init__(self, ends: int, widths: Sequence[int], dim: int) -> None:
        super().__init__()
        own, last, seen = widths[::-1], max(1, widths[0] // 2), max(1, widths[0] // 2)
        self.start = nn.Conv2d(dim, own[0], 3, padding=1)
        self.see = nn.ModuleList(nn.Conv2d(ends, seen, 3, padding=1) for _ in (*own, ends))
        warps = [Deformable(width, width) for width in own]
        self.warp = nn.ModuleList(warps)
        self.offsets = nn.ModuleList(Offsets(seen, warp.in_channels, warp.groups_moved) for warp in warps)
        self.fuse = nn.ModuleList(_fusion(2 * width + seen, width) for width in own)
        ups = pairwise((*own, last))
        self.up = nn.ModuleList(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1) for before, after in ups)
        self.last = _fusion(last + ends + seen, last)
        self.end = nn.Conv2d(last, ends, 3, padding=1)
        nn.init.zeros_(self.end.weight)  # so that a training begins with the texture decoder's image
        nn.init.zeros_(self.end.bias)  # type: ignore[arg-type]

    def forward(self, latents: Tensor, degraded: Tensor, textures: Sequence[Tensor]) -> Tensor:
        """[b, d, h, w], [b, channels, H, W], and of each resolution the texture, to [b, channels, H, W]."""
        seen = [look(_resized(degraded, texture)) for look, texture in zip(self.see, textures, strict=True)]
        x, above = self.start(latents), None
        for level, texture in enumerate(textures[:-1]):
            offsets, modulation, above = self.offsets[level](seen[level], texture, above)
            warped = self.warp[level](texture, offsets, modulation)
            x = self.up[level](self.fuse[level](torch.cat([x, warped, seen[level]], dim=1)))
        return self.end(self.last(torch.cat([x, textures[-1], seen[-1]], dim=1)))


def _fusion(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.LeakyReLU(), Residual(after), nn.LeakyReLU())


def _resized(images: Tensor, like: Tensor) -> Tensor:
    """Images as means over squares, at another tensor's resolution."""
    return functional.interpolate(images, size=like.shape[2:], mode="area")
