"""What every estimator is."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from torch import Tensor

from vqtheory._base.config import Configured


class Lookup(NamedTuple):
    """What the quantizer has found in a batch, float32 or float64; latents and codes have their gradient."""

    latents: Tensor  # [N, D]
    codes: Tensor  # [K, D]
    indices: Tensor  # of the nearest codes, int64 [N]
    chosen: Tensor  # these codes, [N, D]
    keep: Tensor  # bool [N]; False for rows that only fill a place
    step: Tensor  # passes in training before
    seed: int
    training: bool


class Estimator(Configured):
    """What makes quantized latents of a lookup, with a gradient for the latents and perhaps for the codes."""

    key: ClassVar[str] = ""
    moves_codes: ClassVar[bool] = False  # whether the decoder's gradient reaches codes
    needs_trained_codes: ClassVar[bool] = False  # whether it is nothing but straight-through without
    is_random: ClassVar[bool] = False  # whether a pass depends on how many were before it

    def __call__(self, lookup: Lookup) -> Tensor:
        """z_q [N, D]."""
        raise NotImplementedError

    def check_codes(self, owner: str, codes: int) -> None:
        """Refuse a number of codes that it cannot have."""


def products(one: Tensor, other: Tensor) -> Tensor:
    """Products of rows, [N, 1]."""
    return (one * other).sum(dim=1, keepdim=True)
