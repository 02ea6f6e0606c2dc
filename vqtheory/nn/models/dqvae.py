"""DQ-VAE: an image is coded by few tokens where it is flat and by many where it is not.

Huang et al., "Towards Accurate Image Coding: Improved Autoregressive Image Generation with Dynamic Vector Quantization",
arXiv 2305.11718. The encoder gives latents of two or three grains, each of half the resolution of the one before. For each
region of the coarsest grain a gate chooses one of them, and the region is coded by the latents of that grain alone: 1, 4 or
16 of them. All grains have one codebook. The decoder sees one map of the finest resolution, where a coarse code is repeated.

A *learned* gate is a small network on the latents of all grains, sampled in training by Gumbel's trick and an argmax in
evaluation. With the share s_g of regions that grain g has in a batch, and its budget b_g, the loss has

    gamma sum_g (s_g - b_g)^2,

for two grains the 2 gamma (s - b)^2 of the paper. The gate multiplies the latents that it chose, so that its gradient is
<dL/dz, z> of them and does not know of the other grains. An *entropy* gate looks at the pixels: a region is fine whose gray
values have an entropy above a quantile of the training images, so that the budget is met without a loss.

Each latent that is coded counts once, in the loss and in EMA's averages alike. (The paper weighs the loss so, by 1/4 for
each of the four cells of a coarse code; the official code counts each of the four in EMA, so that loss and codebook serve
different measures.) The transformer that the paper trains on the codes in a second stage is out of scope.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vqtheory._base import check
from vqtheory.nn.models.base import Autoencoder, Output, sizes
from vqtheory.nn.models.layers import decoder, down, middle
from vqtheory.nn.ops import processes
from vqtheory.nn.ops.mode import repeated
from vqtheory.nn.ops.noise import gumbel
from vqtheory.nn.quantize import Quantized

GATES = ("learned", "entropy")
GRAY = (0.2989, 0.5870, 0.1140)
BINS = 32
_UNKNOWN, _IMAGES = -1.0, 32  # a threshold that no entropy has; images that are looked at together
PRESETS: dict[str, dict[str, Any]] = {
    "dq-vae": {"channels": (32, 64), "residual_layers": 2, "grains": 2},
    "dq-vae-triple": {"channels": (32, 64), "residual_layers": 2, "grains": 3},
    "dq-vae-paper": {"channels": (128, 128, 256), "residual_layers": 4, "grains": 2},
}


class DQVAE(Autoencoder):
    """Latents of several grains, a gate that chooses one for each region, a quantizer, and a decoder.

    Latents are rows [b, n, d], the finest grain first and each row by row; rows of grains that were not chosen are masked,
    and their indices are -1.

    Parameters
    ----------
    quantizer : VectorQuantize
    channels : sequence of int, default (32, 64)
        Widths up to the finest grain, each of half the resolution.
    residual_layers : int, default 2
    image_channels : int, default 3
    grains : {2, 3}, default 2
    budget : float or sequence of float, default 0.5
        Shares in [0, 1] of regions with the finest grain and, with three grains, with the middle one; the coarsest has the
        rest.
    gate : {"learned", "entropy"}, default "learned"
    budget_weight : float, default 10
        gamma, of a learned gate.
    seed : int, default 0
        Of the gate's draws.

    Examples
    --------
    >>> from vqtheory.nn import VectorQuantize
    >>> model = DQVAE(VectorQuantize(dim=8, codebook_size=32), channels=(4, 8), residual_layers=0)
    >>> output = model(torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    >>> output.images.shape, output.latents.shape
    (torch.Size([2, 3, 32, 32]), torch.Size([2, 80, 8]))
    """

    masks = True
    step: Tensor
    thresholds: Tensor

    def __init__(
        self,
        quantizer: nn.Module,
        channels: Sequence[int] = (32, 64),
        residual_layers: int = 2,
        image_channels: int = 3,
        *,
        grains: int = 2,
        budget: float | Sequence[float] = 0.5,
        gate: str = "learned",
        budget_weight: float = 10.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        owner = "DQVAE"
        widths, depth, ends = sizes(owner, channels, residual_layers, image_channels)
        self.grains = check.integer(owner, "grains", grains, 2, 3)
        self.budget = grain_shares(owner, budget, self.grains)
        self.gate = check.choice(owner, "gate", gate, GATES)
        self.budget_weight = check.real(owner, "budget_weight", budget_weight, 0)
        self.seed = check.integer(owner, "seed", seed, 0)
        self.options = {"channels": widths, "residual_layers": depth, "image_channels": ends}
        self.options |= {name: getattr(self, name) for name in ("grains", "gate", "budget_weight", "seed")}
        self.options |= {"budget": self.budget[:-1]}
        dim = int(quantizer.dim)  # type: ignore[arg-type]
        self.quantizer = quantizer
        self.encoder = Encoder(ends, widths, depth, dim, self.grains)
        self.router = Router(dim, self.grains) if gate == "learned" else None
        self.positions = Positions(dim)
        self.decoder = decoder(ends, widths, depth, dim)
        self.downsampling = 2 ** (len(widths) + self.grains - 1)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("thresholds", torch.full((self.grains - 1,), _UNKNOWN))

    @property
    def calibrates(self) -> bool:  # type: ignore[override]
        """With an entropy gate."""
        return self.router is None

    def front(self) -> Iterator[nn.Parameter]:
        """The gate's with the encoder's."""
        yield from super().front()
        if self.router is not None:
            yield from self.router.parameters()

    def encode(self, images: Tensor) -> Tensor:
        """Latents [b, n, d] of all grains."""
        self._shape(images)
        return super().encode(images)

    def forward(self, images: Tensor, displacement: Tensor | None = None) -> Output:
        """Images there and back; the loss of the budget is in the quantizer's."""
        latents, choice, extra = self._gated(images)
        tokens, mask = self._selected(latents, choice)
        quantized = self.quantizer(tokens, mask=mask, displacement=displacement)
        decoded = self.decode(self._assembled(quantized.quantized, choice))
        return Output(decoded, latents, quantized._replace(loss=quantized.loss + extra))

    def bypass(self, images: Tensor) -> Output:
        """Images there and back without quantization, the gate at work."""
        latents, choice, extra = self._gated(images)
        tokens, _ = self._selected(latents, choice)
        nothing: Quantized = self._unquantized(latents, latents[..., 0])
        decoded = self.decode(self._assembled(tokens, choice))
        return Output(decoded, latents, nothing._replace(loss=extra))

    def decode(self, latents: Tensor) -> Tensor:
        """Images of a map of latents [b, d, h, w] of the finest resolution."""
        return self.decoder(self.positions(latents))

    @torch.no_grad()
    def grain_of(self, images: Tensor) -> Tensor:
        """Which grain each region of the images has, int64 [b, h, w]: 0 is the finest."""
        return self._gated(images)[1].argmax(dim=1)

    @torch.no_grad()
    def calibrate(self, images: Tensor) -> None:
        """Thresholds of the entropy gate, from these images: above a quantile for each grain but the coarsest."""
        parts = [entropy(part, self.downsampling).flatten() for part in images.split(_IMAGES)]
        entropies = torch.cat(parts)
        shares = torch.tensor(self.budget[:-1], dtype=entropies.dtype, device=entropies.device).cumsum(dim=0)
        self.thresholds.copy_(torch.quantile(entropies, 1 - shares.clamp(max=1)))

    def decoded(self, indices: Tensor, regions: tuple[int, int] | None = None) -> Tensor:
        """Images of indices [b, n], -1 for grains that were not chosen, as the forward pass gives them.

        `regions` is how many of them the images have below and beside each other; by default they are square.
        """
        tokens = self.quantizer.indices_to_codes(indices)  # type: ignore[operator]
        return self.decode(self._assembled(tokens, self._choice_of(indices, regions)))

    def _gated(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Latents [b, n, d], the choice [b, grains, h, w] as ones and zeros with a gradient, and the loss of the budget."""
        latents = self.encode(images)
        if self.router is None:
            if bool((self.thresholds == _UNKNOWN).any()):
                raise ValueError("The entropy gate of DQVAE has no thresholds yet: call `calibrate` with training images.")
            values = entropy(images, self.downsampling)
            chosen = (values[:, None] <= self.thresholds[:, None, None]).sum(dim=1)
            return latents, functional.one_hot(chosen, self.grains).movedim(-1, 1).to(latents.dtype), latents.new_zeros(())
        logits = self.router(self._levels(latents, self._shape(images))).float()
        choice = self._drawn(logits) if self.training else _hard(logits)
        shares = choice.mean(dim=(0, 2, 3))
        if self.training:
            everywhere = shares.detach().clone()
            processes.add_up(everywhere)
            shares = shares + (everywhere / processes.world_size() - shares.detach())
        budget = shares.new_tensor(self.budget)
        return latents, choice, self.budget_weight * (shares - budget).square().sum()

    def _drawn(self, logits: Tensor) -> Tensor:
        """A sample for each region, by Gumbel's trick; numbers are drawn by (seed, step, place in all processes)."""
        if repeated():
            raise RuntimeError("Activation checkpointing cannot repeat a pass of DQVAE, whose gate would draw anew.")
        places = torch.arange(logits.numel(), device=logits.device).reshape(logits.shape)
        noise = gumbel(places + processes.rank() * logits.numel(), self.step, self.seed, logits.dtype)
        self.step += 1
        return _hard(logits + noise)

    def _shape(self, images: Tensor) -> tuple[int, int]:
        """Regions of images [b, channels, H, W]; `ValueError` for images that have parts of some."""
        if images.shape[2] % self.downsampling or images.shape[3] % self.downsampling:
            wanted = f"a height and a width that are multiples of {self.downsampling}"
            raise ValueError(f"The images of DQVAE must have {wanted}. Got {tuple(images.shape)}.")
        return images.shape[2] // self.downsampling, images.shape[3] // self.downsampling

    def _levels(self, tokens: Tensor, regions: tuple[int, int]) -> list[Tensor]:
        """Rows [b, n, d] as maps, the finest first."""
        shapes = [tuple(side * 2**level for side in regions) for level in reversed(range(self.grains))]
        parts = tokens.split([height * width for height, width in shapes], dim=1)
        return [part.movedim(2, 1).unflatten(2, shape) for part, shape in zip(parts, shapes, strict=True)]

    def _selected(self, latents: Tensor, choice: Tensor) -> tuple[Tensor, Tensor]:
        """Latents with the gate's gradient, which is 1 where it chose, and which are chosen: bool [b, n]."""
        gates = torch.cat([_wide(choice[:, grain], self._scale(grain)).flatten(1) for grain in range(self.grains)], dim=1)
        return latents * torch.where(gates > 0, gates, 1)[..., None], gates > 0

    def _scale(self, grain: int) -> int:
        """Cells of a grain along the side of a region."""
        return 2 ** (self.grains - 1 - grain)

    def _assembled(self, tokens: Tensor, choice: Tensor) -> Tensor:
        """The map [b, d, h, w] of the finest resolution, each region of the grain that was chosen for it."""
        chosen, finest = choice.detach(), self._scale(0)
        levels = self._levels(tokens, (choice.shape[2], choice.shape[3]))
        parts = [
            torch.where(_wide(chosen[:, grain], finest)[:, None] > 0, _wide(level, finest // self._scale(grain)), 0)
            for grain, level in enumerate(levels)
        ]
        return torch.stack(parts).sum(dim=0)

    def _choice_of(self, indices: Tensor, regions: tuple[int, int] | None) -> Tensor:
        """The choice [b, grains, h, w] that left these indices."""
        per_region = sum(4**level for level in range(self.grains))
        height, width = regions or [math.isqrt(indices.shape[1] // per_region)] * 2
        if height * width * per_region != indices.shape[1]:
            wanted = f"[b, {per_region} h w] for h x w regions, by default as many below as beside each other"
            raise ValueError(f"The indices of DQVAE must have the shape {wanted}. Got {tuple(indices.shape)}.")
        levels = self._levels((indices[..., None] >= 0).float(), (height, width))
        return torch.cat([functional.max_pool2d(level, self._scale(grain)) for grain, level in enumerate(levels)], dim=1)


class Encoder(nn.Module):
    """Images to latents of all grains, as rows [b, n, d]; each grain leaves before the next one's downsampling."""

    def __init__(self, ends: int, widths: Sequence[int], depth: int, dim: int, grains: int) -> None:
        super().__init__()
        width = widths[-1]
        self.trunk = nn.ModuleList([nn.Sequential(*down(ends, widths))])
        self.trunk.extend(nn.Sequential(*down(width, [width])) for _ in range(grains - 1))
        self.heads = nn.ModuleList(
            nn.Sequential(*middle(width, width, depth), nn.Conv2d(width, dim, 1)) for _ in range(grains)
        )

    def forward(self, images: Tensor) -> Tensor:
        """[b, channels, H, W] to [b, n, d], the finest grain first."""
        parts, x = [], images
        for trunk, head in zip(self.trunk, self.heads, strict=True):
            x = trunk(x)
            parts.append(head(x).flatten(2).movedim(1, 2))
        return torch.cat(parts, dim=1)


class Router(nn.Module):
    """Maps of all grains to a logit for each grain in each region."""

    def __init__(self, dim: int, grains: int) -> None:
        super().__init__()
        groups = math.gcd(dim, 32)
        self.norms = nn.ModuleList(nn.GroupNorm(groups, dim) for _ in range(grains))
        self.layers = nn.Sequential(nn.Conv2d(grains * dim, grains * dim, 1), nn.SiLU(), nn.Conv2d(grains * dim, grains, 1))

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """[b, d, h, w] of each grain to [b, grains, h, w] of the coarsest."""
        size = levels[-1].shape[2], levels[-1].shape[3]
        pooled = [functional.adaptive_avg_pool2d(norm(x), size) for norm, x in zip(self.norms, levels, strict=True)]
        return self.layers(torch.cat(pooled, dim=1))


class Positions(nn.Module):
    """A map plus where each of its cells is: sines of the coordinates, and learned rows and columns, whatever the grain."""

    CELLS = 32  # learned rows and columns, between which other sizes are interpolated

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.waves = nn.Conv2d(2, dim, 1)
        nn.init.uniform_(self.waves.weight, -math.sqrt(4.5), math.sqrt(4.5))
        self.rows = nn.Parameter(torch.zeros(1, dim, self.CELLS))
        self.columns = nn.Parameter(torch.zeros(1, dim, self.CELLS))

    def forward(self, x: Tensor) -> Tensor:
        """[b, d, h, w], as it was and with its places added."""
        height, width = x.shape[2:]
        sides = [torch.linspace(-1, 1, size, dtype=x.dtype, device=x.device) for size in (height, width)]
        grid = torch.stack(torch.meshgrid(*sides, indexing="ij"))[None]
        rows = functional.interpolate(self.rows, height, mode="linear", align_corners=True)[..., None]
        columns = functional.interpolate(self.columns, width, mode="linear", align_corners=True)[:, :, None]
        return x + self.waves(grid).sin() + rows + columns


def entropy(images: Tensor, size: int, sigma: float | None = None) -> Tensor:
    """The entropy, in nats, of the gray values of each square of `size` pixels: [b, h, w] of images in [-1, 1].

    The histogram has 32 bins from -1 to 1, to which a pixel belongs by a Gaussian of width `sigma`, by default half the
    distance of two bins. (The official width, 0.01, is a sixth of that distance, at which most pixels hardly count.)
    """
    gray = (images * images.new_tensor(GRAY)[:, None, None]).sum(dim=1) if images.shape[1] == 3 else images.mean(dim=1)
    patches = functional.unfold(gray[:, None], size, stride=size)  # [b, pixels, regions]
    bins = torch.linspace(-1, 1, BINS, dtype=images.dtype, device=images.device)
    sigma = 1 / (BINS - 1) if sigma is None else sigma
    near = torch.exp(-0.5 * ((patches[..., None] - bins) / sigma).square()).mean(dim=1)
    share = near / near.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(images.dtype).tiny)
    values = -torch.special.xlogy(share, share).sum(dim=-1)
    return values.unflatten(1, (images.shape[2] // size, images.shape[3] // size))


def _wide(values: Tensor, factor: int) -> Tensor:
    """Each cell of the last two axes as a square of cells."""
    return values.repeat_interleave(factor, dim=-2).repeat_interleave(factor, dim=-1)


def _hard(scores: Tensor) -> Tensor:
    """Ones where a score [b, grains, h, w] is the highest, and zeros, with the gradient of their softmax."""
    soft = scores.softmax(dim=1)
    hard = torch.zeros_like(soft).scatter_(1, scores.argmax(dim=1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())


def grain_shares(owner: str, budget: Any, grains: int) -> tuple[float, ...]:
    """A budget as a share for each grain, the finest first; `ValueError` for one that no grains can have."""
    several = isinstance(budget, (list, tuple))
    parts = [check.number(owner, "budget", share, 0, 1) for share in (budget if several else [budget])]
    if not several:
        parts += [(1 - parts[0]) / 2] * (grains - 2)
    if len(parts) != grains - 1:
        raise check.fail(owner, "budget", f"{grains - 1} shares for {grains} grains", budget)
    if sum(parts) > 1:
        raise check.fail(owner, "budget", "shares that add up to 1 at most", budget)
    return (*parts, 1 - sum(parts))
