"""Where a codebook starts: the codes given, or the law that a method was published with."""

from __future__ import annotations

import numpy as np

from vqtheory._base import check
from vqtheory._base.randomness import Purpose, generator


def check_start(owner: str, start: str) -> None:
    """Refuses a start that is not known."""
    check.choice(owner, "start", start, ["matched", "published"])


def uniform_start(codes: np.ndarray, seed: int, bound: float) -> np.ndarray:
    """Codes of the same shape and dtype from U(-bound, bound)."""
    return generator(seed, Purpose.RULE).uniform(-bound, bound, codes.shape).astype(codes.dtype)
