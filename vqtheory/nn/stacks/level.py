"""A level of a stack, what a pass through the levels gives, and the start of a level on what the levels before leave."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vqtheory.nn.codebooks.base import Soft
from vqtheory.nn.estimators import Lookup
from vqtheory.nn.ops.search import closest
from vqtheory.nn.quantize import Info, VectorQuantize


class Level(VectorQuantize):
    """A `VectorQuantize` whose quantized latents are codes to the bit, so that a sum of them can be decoded."""

    def _passed(self, lookup: Lookup, soft: Soft | None) -> Tensor:
        through = lookup.latents if soft is None else soft.quantized
        return lookup.chosen.detach() + (through - through.detach())  # which is 0, and has the gradient


class Passed(NamedTuple):
    """What rows become in a pass through levels."""

    total: Tensor  # [N, D], the sum of the levels' codes, without gradient
    through: Tensor  # [N, D], zeros, with the decoder's gradient
    indices: list[Tensor]  # of each level, -1 where it has no latent
    loss: Tensor
    infos: list[Info]


class StackInfo(NamedTuple):
    """What a batch says of each of the codebooks in a stack, level after level; tensors on the device of the latents."""

    hits: tuple[Tensor, ...]  # int64 [K] of each level
    usage: Tensor  # [L], share of the codes that are hit
    perplexity: Tensor  # [L], exp of the entropy of the hits
    distortion: Tensor  # [L], mean of |r - c|^2 of each level's own input r, summed over the dimensions
    attraction: Tensor  # [L], as in `Info`

    @classmethod
    def of(cls, infos: list[Info]) -> StackInfo:
        """Those of the levels, side by side."""
        hits, *numbers = zip(*infos, strict=True)
        return cls(hits, *(torch.stack(values).detach() for values in numbers))


class Stacked(NamedTuple):
    """What a stack returns."""

    quantized: Tensor  # as the latents
    indices: Tensor  # int64, the places' axes and then those of the stack; -1 where masked, not finite or dropped
    loss: Tensor  # the sum of the levels' losses
    info: StackInfo


def left_by_others(rows: Tensor, codes: Tensor) -> Tensor:
    """Rows [N, D] minus the nearest code at another place, [N, D].

    A codebook that has just started on some of the rows leaves nothing of these, and of the others what it leaves of any
    latent. Without the code that a row is itself, all rows are as fresh latents are to the other codes.
    """
    codes = codes.to(rows.dtype).unique(dim=0)
    near = codes[closest(rows, codes, min(2, len(codes)))]
    squared = (rows[:, None] - near).square().sum(dim=2)
    apart = torch.where(squared > 0, squared, torch.inf)
    return rows - near[torch.arange(len(rows), device=rows.device), apart.argmin(dim=1)]


for _kind in (StackInfo, Stacked):
    torch.utils._pytree._register_namedtuple(_kind, serialized_type_name=f"vqtheory.nn.stacks.{_kind.__name__}")
