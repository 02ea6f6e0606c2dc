"""The face of every stack: latents of any layout in and out, masks, the projection, dropout of levels, decoding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from vqtheory._base import check
from vqtheory.nn.integrations.hub import Pretrained
from vqtheory.nn.ops import noise
from vqtheory.nn.ops.layout import Layout
from vqtheory.nn.ops.mode import repeated, transformed
from vqtheory.nn.ops.passes import Passes, advance
from vqtheory.nn.ops.presence import fill, finite, restore, wide
from vqtheory.nn.quantize import check_tensor
from vqtheory.nn.stacks.chain import Chain
from vqtheory.nn.stacks.level import Level, Passed, Stacked, StackInfo
from vqtheory.rules.base import Rule


class Stack(Pretrained, nn.Module):
    """What `ResidualQuantize`, `GroupedQuantize` and `MultiScaleQuantize` share. A subclass has `chains`."""

    step: Tensor
    owner = "Stack"

    if TYPE_CHECKING:  # so that a call has a type, which torch's has not

        def __call__(self, latents: Tensor, mask: Tensor | None = None) -> Stacked:
            """`forward`, with its hooks."""

    def __init__(
        self,
        dim: int,
        codebook_dim: int | None,
        dropout: float,
        accept_image_fmap: bool | None,
        channel_last: bool | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.dim = check.integer(self.owner, "dim", dim)
        self.codebook_dim = self.dim if codebook_dim is None else check.integer(self.owner, "codebook_dim", codebook_dim)
        self.dropout = check.real(self.owner, "dropout", dropout, 0, 1)
        if accept_image_fmap is not None and channel_last is not None:
            raise check.fail(self.owner, "channel_last", "None where accept_image_fmap is given", channel_last)
        self.accept_image_fmap, self.channel_last = accept_image_fmap, channel_last
        self.seed = check.integer(self.owner, "seed", seed, 0)
        projects = self.codebook_dim != self.dim
        self.project_in = nn.Linear(self.dim, self.codebook_dim) if projects else nn.Identity()
        self.project_out = nn.Linear(self.codebook_dim, self.dim) if projects else nn.Identity()
        self.chains = nn.ModuleList()
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self._passes = Passes()

    def arguments(self) -> dict[str, Any]:
        """What makes a stack like this one, beside what a subclass has of its own."""
        chain: Any = self.chains[0]
        first, rules = chain.level(0), [level.rule for level in chain.levels]
        own = {name: getattr(self, name) for name in ("dim", "codebook_dim", "dropout", "seed")}
        own |= {"codebook_weight": first.codebook_weight, "commitment_weight": first.commitment_weight}
        sizes = {"codebook_size": [chain.level(i).codebook_size for i in range(self.depth)]}
        return own | sizes | {"rule": rules[0] if chain.shared else rules}

    def _layout_arguments(self) -> dict[str, bool | None]:
        """Of a stack that takes latents of any layout."""
        return {"accept_image_fmap": self.accept_image_fmap, "channel_last": self.channel_last}

    @property
    def depth(self) -> int:
        """Levels that a latent passes."""
        return self.chains[0].depth  # type: ignore[return-value]

    @property
    def levels(self) -> list[Level]:
        """The codebooks, each a `VectorQuantize` for `Monitor`, `Transport` and `Replacement`; one where they are shared."""
        return [level for chain in self.chains for level in chain.levels]  # type: ignore[union-attr]

    @property
    def codebooks(self) -> list[Tensor]:
        """The codes of the `levels`, [K, D] each, without gradient."""
        return [level.codebook for level in self.levels]

    def codebook_parameters(self) -> list[nn.Parameter]:
        """What an optimizer trains of all codebooks."""
        return [parameter for level in self.levels for parameter in level.codebook_parameters()]

    def forward(self, latents: Tensor, mask: Tensor | None = None) -> Stacked:
        """Quantize latents [n, d], [b, n, d], [b, d, h, w] and so on; `mask` is as in `VectorQuantize`."""
        layout = self._layout(latents)
        layout.check(self.owner, latents, self.dim, mask)
        rows, places = layout.rows(latents), layout.places(latents)
        keep = finite(rows) if mask is None else finite(rows) & mask.reshape(-1)
        z, keep = self._projected(rows, keep)
        keep = self._whole(keep, places)
        with torch.autocast(z.device.type, enabled=False):
            passed = self._quantize(z, keep, places, self._depths(z.detach(), places))
        if self.training and not transformed():
            advance(self.step)
        result = self._unproject((passed.total + passed.through).to(latents.dtype)).to(latents.dtype)
        quantized = layout.back(restore(result, keep, rows), latents)
        return Stacked(quantized, self._arranged(passed.indices, places), passed.loss, StackInfo.of(passed.infos))

    @torch.no_grad()
    def decode(self, indices: Any) -> Tensor:
        """Latents for the indices that a pass has given, or for those of its first levels: the pass's value to the bit.

        In the layout that a pass gives back, and zeros where all indices are -1. A pass in training may move the codes
        afterwards: then what it gave is decoded by the codes from before.
        """
        columns, places = self._columns(indices)
        latents = self._unproject(self._decoded(columns, places))
        latents = torch.where(self._any(columns, places)[:, None], latents, 0).reshape(*places, self.dim)
        return latents.movedim(-1, 1) if self._is_second(places) else latents

    def indices_to_codes(self, indices: Any) -> Tensor:
        """`decode`, by its name in `VectorQuantize`."""
        return self.decode(indices)

    def get_output_from_indices(self, indices: Any) -> Tensor:
        """`decode`, by its name in vector-quantize-pytorch."""
        return self.decode(indices)

    @torch.no_grad()
    def initialize(self, latents: Tensor) -> None:
        """Start all levels from latents in any layout of `forward`, before training on smaller batches.

        The first level starts as `VectorQuantize` does, on K of the latents; each further one on K of what the nearest
        codes leave of them, without counting the code that a latent is itself. Those rests are not zero, however few
        latents there are, and are as wide as what fresh latents leave.
        """
        x, keep, places = self._seen(latents)
        if not bool(keep.any()):
            raise ValueError(f"{self.owner}.initialize needs at least one latent that is finite.")
        self._start(x, keep, places)

    @torch.no_grad()
    def inputs(self, latents: Tensor) -> list[Tensor]:
        """What each level is given of latents in any layout, [n, D] for each level: its own cloud. No code moves.

        For `vqtheory.theory.which_codebook` and spreads. Levels that share a codebook have an entry each.
        """
        x, keep, places = self._seen(latents)
        return self._inputs(x, keep, places)

    def reset_parameters(self) -> None:
        """Count passes anew; levels and projections have a method of their own."""
        self.step.zero_()

    def extra_repr(self) -> str:
        """Of the stack; its levels have their own."""
        return f"dim={self.dim}, depth={self.depth}, dropout={self.dropout}"

    def _quantize(self, z: Tensor, keep: Tensor, places: torch.Size, depths: Tensor | None) -> Passed:
        raise NotImplementedError

    def _start(self, x: Tensor, keep: Tensor, places: torch.Size) -> None:
        raise NotImplementedError

    def _inputs(self, x: Tensor, keep: Tensor, places: torch.Size) -> list[Tensor]:
        raise NotImplementedError

    def _arranged(self, indices: list[Tensor], places: torch.Size) -> Any:
        """The indices of all levels as a pass returns them."""
        return torch.stack(indices, dim=-1).reshape(*places, len(indices))

    def _columns(self, indices: Any) -> tuple[list[Tensor], torch.Size]:
        """The reverse: indices [N] of each level, and the places' shape."""
        raise NotImplementedError

    def _decoded(self, columns: list[Tensor], places: torch.Size) -> Tensor:
        raise NotImplementedError

    def _any(self, columns: list[Tensor], places: torch.Size) -> Tensor:
        """Where there is a code at all, bool [N]."""
        return torch.stack(columns).ge(0).any(dim=0)

    def _whole(self, keep: Tensor, places: torch.Size) -> Tensor:
        """Which rows are quantized, of those that are latents."""
        return keep

    def _depths(self, x: Tensor, places: torch.Size) -> Tensor | None:
        """How many levels each row is given in training, [N], the same along an example: by seed and pass alone."""
        if not (self.training and self.dropout) or len(x) == 0:
            return None
        step = self.step
        if repeated():
            step, _ = self._passes.find(x)
        elif not torch.compiler.is_compiling():
            self._passes.keep(x, step, None)
        drops, depth = noise.shares(x.new_empty(2, places[0]), step, self.seed)
        fewer = 1 + (depth * self.depth).long().clamp_max(self.depth - 1)
        return torch.where(drops < self.dropout, fewer, self.depth).repeat_interleave(math.prod(places[1:]))

    def _seen(self, latents: Tensor) -> tuple[Tensor, Tensor, torch.Size]:
        """Rows of latents as the chains are given them, without gradient, which of them count, and the places' shape."""
        layout = self._layout(latents)
        layout.check(self.owner, latents, self.dim, None)
        rows, places = layout.rows(latents), layout.places(latents)
        z, keep = self._projected(rows, finite(rows))
        return z.detach(), self._whole(keep, places), places

    def _layout(self, latents: Tensor) -> Layout:
        latents = check_tensor(self.owner, "latents", latents)
        if latents.device != self.step.device:
            raise ValueError(f"The latents of {self.owner} are on {latents.device}, and its codes on {self.step.device}.")
        return Layout.of(latents, self.accept_image_fmap, self.channel_last)

    def _is_second(self, places: torch.Size) -> bool:
        """Whether the dimensions of decoded latents are their second axis, as `Layout.of` says of a pass."""
        if self.accept_image_fmap is not None:
            return self.accept_image_fmap
        return len(places) in (3, 4) if self.channel_last is None else not self.channel_last

    def _projected(self, rows: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        part, z = self.project_in, fill(rows, keep)
        if isinstance(part, nn.Linear):
            z = part(z.to(part.weight.dtype))
            keep = keep & finite(z)  # which may overflow in half precision
            z = fill(z, keep)
        return wide(z), keep

    def _unproject(self, rows: Tensor) -> Tensor:
        part = self.project_out
        return part(rows.to(part.weight.dtype)) if isinstance(part, nn.Linear) else rows


def sizes_of(owner: str, codebook_size: int | Sequence[int], levels: int) -> list[int]:
    """K of each level."""
    levels = check.integer(owner, "levels", levels)
    if not isinstance(codebook_size, Sequence):
        return [check.integer(owner, "codebook_size", codebook_size)] * levels
    if len(codebook_size) != levels:
        raise check.fail(owner, "codebook_size", f"an int or {levels} of them, one for each level", codebook_size)
    return [check.integer(owner, "codebook_size", size) for size in codebook_size]


def rules_of(owner: str, rule: Rule | str | Sequence[Rule | str], sizes: list[int], shared: bool) -> list[Rule | str]:
    """The rule of each level; of codebooks that are shared there is one, of one size."""
    if isinstance(rule, str) or not isinstance(rule, Sequence):
        rule = [rule] * len(sizes)
    elif shared or len(rule) != len(sizes):
        wanted = (
            "one rule for a codebook that levels share" if shared else f"a rule or {len(sizes)} of them, one for each level"
        )
        raise check.fail(owner, "rule", wanted, rule)
    if shared and len(set(sizes)) > 1:
        raise check.fail(owner, "codebook_size", "one int for a codebook that levels share", sizes)
    return list(rule)


def chain_of(
    owner: str,
    dim: int,
    codebook_size: int | Sequence[int],
    levels: int,
    rule: Rule | str | Sequence[Rule | str],
    shared: bool,
    kind: type[Chain] = Chain,
    **options: Any,
) -> Chain:
    """Levels by their options, checked."""
    sizes = sizes_of(owner, codebook_size, levels)
    shared = check.flag(owner, "shared", shared)
    return kind(owner, dim, sizes, rules_of(owner, rule, sizes, shared), shared, **options)


def is_integers(indices: Any) -> bool:
    """Whether these are indices at all: a tensor of integers."""
    if not isinstance(indices, Tensor):
        return False
    return not (indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool)


def columns_of(owner: str, indices: Any, axes: int, stored: tuple[int, ...]) -> Tensor:
    """Integer indices whose last axes are those of the stack, checked against what is stored; int64."""
    if not is_integers(indices):
        got = indices.dtype if isinstance(indices, Tensor) else type(indices).__name__
        raise ValueError(f"The indices of {owner} must be a tensor of integers. Got {got}.")
    last = tuple(indices.shape[-axes:])
    if indices.ndim < axes + 1 or last[:-1] != stored[:-1] or not 1 <= last[-1] <= stored[-1]:
        wanted = ", ".join(["..", *map(str, stored[:-1]), f"1 to {stored[-1]}"])
        raise ValueError(f"The indices of {owner} must have the shape [{wanted}]. Got {tuple(indices.shape)}.")
    return indices.long()


def check_sizes(owner: str, columns: Sequence[Tensor], sizes: Sequence[int]) -> None:
    """Refuses numbers of codes that there are not."""
    for i, (column, size) in enumerate(zip(columns, sizes, strict=False)):
        low, high = (int(column.min()), int(column.max())) if len(column) else (0, 0)
        if low < -1 or high >= size:
            got = low if low < -1 else high
            raise ValueError(f"The indices of {owner} at level {i} must be in -1 .. {size - 1}. Got {got}.")
