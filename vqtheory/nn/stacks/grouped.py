"""Product quantization: each latent is cut into groups of dimensions, and each group has a code of its own.

Jégou et al., "Product quantization for nearest neighbor search", PAMI 2011; residual levels in each group as in Yang et al.,
"HiFi-Codec", arXiv 2305.02765.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vqtheory._base import check
from vqtheory.nn.ops.presence import fill
from vqtheory.nn.stacks.base import Stack, chain_of, check_sizes, columns_of
from vqtheory.nn.stacks.chain import Chain
from vqtheory.nn.stacks.level import Passed
from vqtheory.rules.base import Rule


class GroupedQuantize(Stack):
    """Groups of dimensions side by side, each quantized by a codebook or by a chain of levels of its own.

    The loss is the sum over groups, each the loss of a `VectorQuantize`, or of a `ResidualQuantize`, on its own dimensions.
    With a codebook that all groups share, what all of them are given is one batch with one loss.

    Parameters
    ----------
    dim : int
        Dimensions of the latents.
    codebook_size : int or sequence of int
        K, or of each level.
    groups : int
        G, which has to divide `dim`, or `codebook_dim`.
    levels : int, optional
        Of each group, as in `ResidualQuantize`. By default there is one, and indices [.., G] have no axis of levels; with it
        they are [.., G, levels].
    rule : str, rule, or sequence of them, default "vq"
        Of all levels, or of each.
    start : {"matched", "published"}, optional
    shared : bool, default False
        One codebook for all groups, or one chain of levels.
    shared_levels : bool, default False
        One codebook for all levels of a group: `shared` of a `ResidualQuantize`.
    dropout : float in [0, 1], default 0
        Of levels, the same in all groups, as in `ResidualQuantize`.
    codebook_dim : int, optional
        Of all groups together; latents are projected to it and back.
    codebook_weight, commitment_weight : float, default 1, 0.25
    beta_on_codebook : bool, default False
    accept_image_fmap, channel_last : bool, optional
    seed : int, default 0
        As in `VectorQuantize`, as are the four before; a level l of group g has seed + g levels + l.

    Raises
    ------
    ValueError
        For parameters out of range, for groups that do not divide the dimensions; from `decode` as `ResidualQuantize`.

    Examples
    --------
    >>> stack = GroupedQuantize(dim=8, codebook_size=16, groups=4)
    >>> latents = torch.randn(2, 50, 8, generator=torch.Generator().manual_seed(0))
    >>> quantized, indices, loss, info = stack(latents)
    >>> indices.shape, bool((stack.decode(indices) == quantized).all())
    (torch.Size([2, 50, 4]), True)
    """

    owner = "GroupedQuantize"
    unit = "groups"

    def __init__(
        self,
        dim: int,
        codebook_size: int | Sequence[int],
        groups: int,
        levels: int | None = None,
        rule: Rule | str | Sequence[Rule | str] = "vq",
        start: str | None = None,
        *,
        shared: bool = False,
        shared_levels: bool = False,
        dropout: float = 0.0,
        codebook_dim: int | None = None,
        codebook_weight: float = 1.0,
        commitment_weight: float = 0.25,
        beta_on_codebook: bool = False,
        accept_image_fmap: bool | None = None,
        channel_last: bool | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(dim, codebook_dim, dropout, accept_image_fmap, channel_last, seed)
        self.groups = check.integer(self.owner, self.unit, groups)
        if self.codebook_dim % self.groups:
            raise check.fail(self.owner, self.unit, f"a divisor of the {self.codebook_dim} dimensions", groups)
        self.shared, self.has_levels = check.flag(self.owner, "shared", shared), levels is not None
        options: dict[str, Any] = {"start": start, "codebook_weight": codebook_weight}
        options |= {"commitment_weight": commitment_weight, "beta_on_codebook": beta_on_codebook}
        width = self.codebook_dim // self.groups
        depth = 1 if levels is None else check.integer(self.owner, "levels", levels)
        for group in range(1 if self.shared else self.groups):
            seed = self.seed + group * depth
            chain = chain_of(self.owner, width, codebook_size, depth, rule, shared_levels, seed=seed, **options)
            self.chains.append(chain)

    def arguments(self) -> dict[str, Any]:
        """What makes a stack like this one."""
        own = {self.unit: self.groups, "shared": self.shared, "levels": self.depth if self.has_levels else None}
        own |= {"shared_levels": self._chain(0).shared}
        return super().arguments() | self._layout_arguments() | own

    def _chain(self, group: int) -> Chain:
        return self.chains[0 if self.shared else group]  # type: ignore[return-value]

    def _quantize(self, z: Tensor, keep: Tensor, places: torch.Size, depths: Tensor | None) -> Passed:
        if self.shared:
            deep = None if depths is None else depths.repeat_interleave(self.groups)
            passed = self._chain(0).quantize(*self._flat(z, keep), places, deep)
            total, through = (part.reshape(z.shape) for part in passed[:2])
            columns = torch.stack(passed.indices, dim=-1).view(len(z), self.groups * self.depth)
            return Passed(total, through, list(columns.unbind(dim=1)), passed.loss, passed.infos)
        parts = zip(self.chains, z.chunk(self.groups, dim=1), strict=True)
        several = [chain.quantize(part, keep, places, depths) for chain, part in parts]  # type: ignore[operator]
        total, through = (torch.cat([passed[i] for passed in several], dim=1) for i in range(2))
        indices = [column for passed in several for column in passed.indices]
        infos = [info for passed in several for info in passed.infos]
        return Passed(total, through, indices, torch.stack([passed.loss for passed in several]).sum(), infos)

    def _flat(self, z: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """The groups of all latents as rows [N G, D / G], a latent's one after the other."""
        return z.reshape(len(z) * self.groups, z.shape[1] // self.groups), keep.repeat_interleave(self.groups)

    def _start(self, x: Tensor, keep: Tensor, places: torch.Size) -> None:
        x = fill(x, keep)
        parts = [self._flat(x, keep)] if self.shared else [(part, keep) for part in x.chunk(self.groups, dim=1)]
        for chain, (part, mask) in zip(self.chains, parts, strict=True):
            chain.start(part, mask, places, again=True)  # type: ignore[operator]

    def _inputs(self, x: Tensor, keep: Tensor, places: torch.Size) -> list[Tensor]:
        if self.shared:
            return self._chain(0).inputs(*self._flat(x, keep), places)
        parts = zip(self.chains, x.chunk(self.groups, dim=1), strict=True)
        return [rows for chain, part in parts for rows in chain.inputs(part, keep, places)]  # type: ignore[operator]

    def _arranged(self, indices: list[Tensor], places: torch.Size) -> Tensor:
        axes = (self.groups, self.depth) if self.has_levels else (self.groups,)
        return torch.stack(indices, dim=-1).reshape(*places, *axes)

    def _columns(self, indices: Any) -> tuple[list[Tensor], torch.Size]:
        if self.has_levels:
            indices = columns_of(self.owner, indices, 2, (self.groups, self.depth))
        else:
            indices = columns_of(self.owner, indices, 1, (self.groups,))
            if indices.shape[-1] != self.groups:
                raise check.fail(
                    f"{self.owner}.decode", "indices", f"of all {self.groups} {self.unit}", tuple(indices.shape)
                )
            indices = indices[..., None]
        sizes = [self._chain(0).level(i).codebook_size for i in range(self.depth)]
        columns = list(indices.flatten(0, -3).flatten(1).unbind(dim=1))
        check_sizes(self.owner, columns, sizes[: indices.shape[-1]] * self.groups)
        return columns, indices.shape[:-2]

    def _decoded(self, columns: list[Tensor], places: torch.Size) -> Tensor:
        depth = len(columns) // self.groups
        parts = (columns[start : start + depth] for start in range(0, len(columns), depth))
        return torch.cat([self._chain(group).decode(part, places) for group, part in enumerate(parts)], dim=1)


class MultiHeadQuantize(GroupedQuantize):
    """Heads: the groups of a `GroupedQuantize`, which by default all look up the same codebook.

    With ``shared=False`` each head has a codebook of its own.

    Parameters
    ----------
    dim : int
    codebook_size : int
    heads : int
        H, which has to divide `dim`, or `codebook_dim`; indices are [.., H].
    rule : str or rule, default "vq"
    shared : bool, default True
    options
        Of `GroupedQuantize`, but for `groups` and `levels`.

    Examples
    --------
    >>> heads = MultiHeadQuantize(dim=8, codebook_size=16, heads=2)
    >>> heads(torch.linspace(0, 1, 80).view(10, 8)).indices.shape, len(heads.levels)
    (torch.Size([10, 2]), 1)
    """

    owner = "MultiHeadQuantize"
    unit = "heads"

    def __init__(
        self, dim: int, codebook_size: int, heads: int, rule: Rule | str = "vq", *, shared: bool = True, **options: Any
    ) -> None:
        super().__init__(dim, codebook_size, heads, rule=rule, shared=shared, **options)

    @property
    def heads(self) -> int:
        """H."""
        return self.groups
