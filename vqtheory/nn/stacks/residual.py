"""Residual quantization: each level quantizes what the levels before have left.

Chen et al., "Approximate nearest neighbor search by residual vector quantization", Sensors 2010;
Zeghidour et al., "SoundStream", arXiv 2107.03312, with dropout of levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vqtheory._base import check
from vqtheory.nn.stacks.base import Stack, chain_of, check_sizes, columns_of
from vqtheory.nn.stacks.chain import Chain
from vqtheory.nn.stacks.level import Passed
from vqtheory.rules.base import Rule


class ResidualQuantize(Stack):
    """A stack of codebooks, each moved by any rule of `VectorQuantize` on what the levels before it leave.

    With r_0 = z and c_l the code of level l for r_l,

        r_(l+1) = z - (c_0 + .. + c_l),    z_q = c_0 + .. + c_(L-1),    loss = sum of the levels' losses.

    Each level's loss is that of a `VectorQuantize` on r_l, so each codebook moves as it would alone: under SGD by the rule
    at eta = 2 lr codebook_weight / D. No codebook gets a gradient through another. The decoder's gradient reaches a latent
    once, straight through, however many levels there are; a rule that passes it by itself, as IBQ, does so at each level.
    z_q is the sum of the codes to the bit, which `decode` gives again.

    *Start.* In the first pass in training, or in `initialize`, levels start one after the other: the first on K latents,
    each further one on K of what the nearest codes leave of the latents, each latent without the code that it is itself. So
    the rests are not zero, though the codes above are latents of the same batch. A codebook that is shared starts on an
    equal share of its codes from each level.

    Parameters
    ----------
    dim : int
        Dimensions of the latents.
    codebook_size : int or sequence of int
        K of all levels, or of each.
    levels : int
        L.
    rule : str, rule, or sequence of them, default "vq"
        Of all levels, or of each. Rules whose codes are directions, as CosineVQ, leave no rest and are for a single level.
    start : {"matched", "published"}, optional
        As in `VectorQuantize`.
    shared : bool, default False
        One codebook for all levels. It sees latents and rests as one batch, so that it moves once in a pass, and has one
        loss, the mean over all of them. Its levels choose the nearest codes. Where its rule moves codes in a pass,
        activation checkpointing cannot repeat it, and says so.
    dropout : float in [0, 1], default 0
        Share of the examples (the first axis) in training that are given fewer levels, 1 to L alike, by (seed, pass).
        Their indices are -1 below, and the levels below do not see them.
    beams : int, default 1
        In evaluation: how many sums are followed at each level. 1 takes the nearest code at each. The better of this search
        and of the nearest codes is taken for each latent, by the squared error of the whole sum.
    codebook_dim : int, optional
        Dimensions of the codes; latents are projected to it once, and their sum back.
    codebook_weight, commitment_weight : float, default 1, 0.25
    beta_on_codebook : bool, default False
    accept_image_fmap, channel_last : bool, optional
    seed : int, default 0
        Of the first level's start, as in `VectorQuantize`, as are the five before; level l has seed + l.

    Raises
    ------
    ValueError
        For parameters out of range; from `forward` for latents of another shape; from `decode` for more levels than there
        are, and for codes that there are not.

    Examples
    --------
    >>> stack = ResidualQuantize(dim=8, codebook_size=16, levels=3)
    >>> latents = torch.randn(2, 50, 8, generator=torch.Generator().manual_seed(0))
    >>> quantized, indices, loss, info = stack(latents)
    >>> indices.shape, bool((stack.decode(indices) == quantized).all())
    (torch.Size([2, 50, 3]), True)
    >>> errors = [float((latents - stack.decode(indices[..., :levels])).square().mean()) for levels in (1, 2, 3)]
    >>> errors == sorted(errors, reverse=True)
    True
    """

    owner = "ResidualQuantize"

    def __init__(
        self,
        dim: int,
        codebook_size: int | Sequence[int],
        levels: int,
        rule: Rule | str | Sequence[Rule | str] = "vq",
        start: str | None = None,
        *,
        shared: bool = False,
        dropout: float = 0.0,
        beams: int = 1,
        codebook_dim: int | None = None,
        codebook_weight: float = 1.0,
        commitment_weight: float = 0.25,
        beta_on_codebook: bool = False,
        accept_image_fmap: bool | None = None,
        channel_last: bool | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, codebook_dim, dropout, accept_image_fmap, channel_last, seed)
        self.beams = check.integer(self.owner, "beams", beams)
        if shared and self.beams > 1:
            raise check.fail(self.owner, "beams", "1 with a codebook that levels share", beams)
        options: dict[str, Any] = {"start": start, "codebook_weight": codebook_weight, "seed": self.seed}
        options |= {"commitment_weight": commitment_weight, "beta_on_codebook": beta_on_codebook}
        self.chains.append(chain_of(self.owner, self.codebook_dim, codebook_size, levels, rule, shared, **options))

    def arguments(self) -> dict[str, Any]:
        """What makes a stack like this one."""
        own = {"levels": self.depth, "shared": self._chain.shared, "beams": self.beams}
        return super().arguments() | self._layout_arguments() | own

    @property
    def _chain(self) -> Chain:
        return self.chains[0]  # type: ignore[return-value]

    def _quantize(self, z: Tensor, keep: Tensor, places: torch.Size, depths: Tensor | None) -> Passed:
        return self._chain.quantize(z, keep, places, depths, self.beams)

    def _start(self, x: Tensor, keep: Tensor, places: torch.Size) -> None:
        self._chain.start(x, keep, places, again=True)

    def _inputs(self, x: Tensor, keep: Tensor, places: torch.Size) -> list[Tensor]:
        return self._chain.inputs(x, keep, places)

    def _columns(self, indices: Any) -> tuple[list[Tensor], torch.Size]:
        indices = columns_of(self.owner, indices, 1, (self.depth,))
        columns = list(indices.flatten(0, -2).unbind(dim=-1))
        check_sizes(self.owner, columns, [self._chain.level(i).codebook_size for i in range(self.depth)])
        return columns, indices.shape[:-1]

    def _decoded(self, columns: list[Tensor], places: torch.Size) -> Tensor:
        return self._chain.decode(columns, places)
