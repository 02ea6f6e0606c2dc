"""Residual quantization over scales: a coarse map of codes first, then finer ones of what it leaves.

Tian et al., "Visual autoregressive modeling", arXiv 2404.02905, algorithms 1 and 2, without their convolutions after the
resizing. There the error of the sum so far, at full size, is each scale's loss; here it is a level's own loss at its own
size, so that the rules and their laws hold as they do alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from vqtheory._base import check
from vqtheory.nn.stacks.base import Stack, chain_of, check_sizes, is_integers
from vqtheory.nn.stacks.chain import Chain
from vqtheory.nn.stacks.level import Passed
from vqtheory.rules.base import Rule


class Pyramid(Chain):
    """A chain that sees the rest of each map at several sizes."""

    scales: tuple[tuple[int, int], ...] = ()

    def _down(self, rest: Tensor, i: int, places: torch.Size) -> Tensor:
        small = nn.functional.interpolate(_maps(rest, places), self.scales[i], mode="area")
        return small.movedim(1, -1).reshape(-1, rest.shape[1])

    def _up(self, codes: Tensor, i: int, places: torch.Size) -> Tensor:
        maps = _maps(codes, torch.Size([places[0], *self.scales[i]]))
        if self.scales[i] != tuple(places[1:]):
            maps = nn.functional.interpolate(maps, tuple(places[1:]), mode="bicubic", align_corners=False)
        return maps.movedim(1, -1).reshape(-1, codes.shape[1])

    def _mask(self, keep: Tensor | None, depths: Tensor | None, i: int, places: torch.Size) -> Tensor:
        assert keep is not None
        rows = keep if depths is None else keep & (depths > i)
        height, width = self.scales[i]
        return rows.view(places[0], places[1] * places[2])[:, :1].expand(-1, height * width).reshape(-1)


class MultiScaleQuantize(Stack):
    """Maps of latents quantized at growing sizes, each size what the ones before leave, as in VAR.

    With U and A the resizing by bicubic interpolation and by the mean over areas, and c_s the codes for r_s at size s,

        r_s = A_s(z - sum over the sizes before of U(c)),    z_q = sum of U(c_s),    loss = sum of the sizes' losses.

    Indices are a tuple, [b, h_s, w_s] of each size; `decode` takes the first of them, as many as there are. A map with a
    latent that is not finite is left as it is, with indices -1.

    Parameters
    ----------
    dim : int
        Dimensions of the latents, [b, d, h, w].
    codebook_size : int or sequence of int
        K, or of each size.
    scales : sequence of int, or of pairs of int
        The sizes, from the coarsest on; the last is that of the latents.
    rule : str, rule, or sequence of them, default "vq"
    start : {"matched", "published"}, optional
    shared : bool, default True
        One codebook for all sizes, as in VAR.
    dropout : float in [0, 1], default 0
        Of sizes, the last ones, as of levels in `ResidualQuantize`.
    codebook_dim : int, optional
    codebook_weight, commitment_weight : float, default 1, 0.25
    beta_on_codebook : bool, default False
    seed : int, default 0
        As in `ResidualQuantize`, as are the four before.

    Raises
    ------
    ValueError
        For parameters out of range, sizes that do not grow, and from `forward` for maps of another size.

    Examples
    --------
    >>> stack = MultiScaleQuantize(dim=4, codebook_size=32, scales=(1, 2, 4))
    >>> latents = torch.randn(8, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    >>> quantized, indices, loss, info = stack(latents)
    >>> [tuple(part.shape) for part in indices], bool((stack.decode(indices) == quantized).all())
    ([(8, 1, 1), (8, 2, 2), (8, 4, 4)], True)
    """

    owner = "MultiScaleQuantize"

    def __init__(
        self,
        dim: int,
        codebook_size: int | Sequence[int],
        scales: Sequence[int | tuple[int, int]],
        rule: Rule | str | Sequence[Rule | str] = "vq",
        start: str | None = None,
        *,
        shared: bool = True,
        dropout: float = 0.0,
        codebook_dim: int | None = None,
        codebook_weight: float = 1.0,
        commitment_weight: float = 0.25,
        beta_on_codebook: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, codebook_dim, dropout, True, None, seed)
        self.scales = _scales(self.owner, scales)
        options: dict[str, Any] = {"start": start, "codebook_weight": codebook_weight, "seed": self.seed}
        options |= {"commitment_weight": commitment_weight, "beta_on_codebook": beta_on_codebook, "kind": Pyramid}
        chain = chain_of(self.owner, self.codebook_dim, codebook_size, len(self.scales), rule, shared, **options)
        chain.scales = self.scales  # type: ignore[assignment]
        self.chains.append(chain)

    def arguments(self) -> dict[str, Any]:
        """What makes a stack like this one."""
        return super().arguments() | {"scales": self.scales, "shared": self._chain.shared}

    @property
    def _chain(self) -> Pyramid:
        return self.chains[0]  # type: ignore[return-value]

    def _whole(self, keep: Tensor, places: torch.Size) -> Tensor:
        if tuple(places[1:]) != self.scales[-1]:
            raise ValueError(f"The latents of {self.owner} must be maps of {self.scales[-1]}. Got {tuple(places[1:])}.")
        return keep.view(places[0], places[1] * places[2]).all(dim=1).repeat_interleave(places[1] * places[2])

    def _quantize(self, z: Tensor, keep: Tensor, places: torch.Size, depths: Tensor | None) -> Passed:
        return self._chain.quantize(z, keep, places, depths)

    def _start(self, x: Tensor, keep: Tensor, places: torch.Size) -> None:
        self._chain.start(x, keep, places, again=True)

    def _inputs(self, x: Tensor, keep: Tensor, places: torch.Size) -> list[Tensor]:
        return self._chain.inputs(x, keep, places)

    def _arranged(self, indices: list[Tensor], places: torch.Size) -> tuple[Tensor, ...]:
        return tuple(part.view(places[0], *size) for part, size in zip(indices, self.scales, strict=True))

    def _columns(self, indices: Any) -> tuple[list[Tensor], torch.Size]:
        indices = list(indices) if isinstance(indices, (tuple, list)) else [indices]
        if not 1 <= len(indices) <= self.depth:
            raise ValueError(f"The indices of {self.owner} must be of 1 to {self.depth} sizes. Got {len(indices)} of them.")
        for part, size in zip(indices, self.scales, strict=False):
            if not is_integers(part) or tuple(part.shape[1:]) != size:
                got = f"{part.dtype} {tuple(part.shape)}" if isinstance(part, Tensor) else type(part).__name__
                raise ValueError(f"The indices of {self.owner} must be integers [b, {size[0]}, {size[1]}]. Got {got}.")
        if len({len(part) for part in indices}) > 1:
            numbers = [len(part) for part in indices]
            raise ValueError(f"The indices of {self.owner} must be of as many maps at each size. Got {numbers}.")
        columns = [part.reshape(-1).long() for part in indices]
        check_sizes(self.owner, columns, [self._chain.level(i).codebook_size for i in range(self.depth)])
        return columns, torch.Size([len(indices[0]), *self.scales[-1]])

    def _decoded(self, columns: list[Tensor], places: torch.Size) -> Tensor:
        return self._chain.decode(columns, places)

    def _any(self, columns: list[Tensor], places: torch.Size) -> Tensor:
        return (columns[0].view(places[0], self.scales[0][0] * self.scales[0][1])[:, 0] >= 0).repeat_interleave(
            places[1] * places[2]
        )


def _maps(rows: Tensor, places: torch.Size) -> Tensor:
    """Rows [b h w, D] as maps [b, D, h, w]."""
    return rows.view(*places, rows.shape[1]).movedim(-1, 1)


def _scales(owner: str, scales: Any) -> tuple[tuple[int, int], ...]:
    if not isinstance(scales, Sequence) or len(scales) == 0:
        raise check.fail(owner, "scales", "a sequence of at least one size", scales)
    pairs = [tuple(size) if isinstance(size, (tuple, list)) and len(size) == 2 else (size, size) for size in scales]
    sizes = tuple((check.integer(owner, "scales", h), check.integer(owner, "scales", w)) for h, w in pairs)
    if any(one[0] > other[0] or one[1] > other[1] for one, other in pairwise(sizes)):
        raise check.fail(owner, "scales", "sizes that grow", scales)
    return sizes
