"""What a stream hands to a rule, and the check at the rule's door."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vqtheory._base import check


class Diverged(ValueError):
    """A closed loop whose encoder has run away; `simulate` ends the run there and says so."""


class Batches(NamedTuple):
    """Latents for T updates of the codebook, from B samples each.

    Attributes
    ----------
    x : float [T, B, D]
        The latents, C-contiguous, in the dtype of the codes.
    displacement : float [T, B, D], optional
        How far each sample itself moved since the step before; 0 at step 0. For
        rules with `needs_displacement`.
    weight : float [T, B], optional
        Weight of each sample in its batch's sums; 1 where not given.
    """

    x: np.ndarray
    displacement: np.ndarray | None = None
    weight: np.ndarray | None = None


def checked(owner: str, batches: Batches, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The latents and their weights, ready for a kernel.

    Raises `ValueError` where shape or dtype do not fit the codes, and at the
    first latent that is not finite.
    """
    if not isinstance(batches, Batches) or not isinstance(batches.x, np.ndarray):
        raise check.fail(owner, "batches", "Batches that hold an array [T, B, D]", type(batches).__name__)
    x = batches.x
    if x.ndim != 3 or x.shape[2] != codes.shape[1] or 0 in x.shape[1:]:
        raise ValueError(
            f"The 'batches' parameter of {owner} must hold latents [T, B, D] for codes [K, D]. "
            f"Got latents of shape {x.shape} and codes of shape {codes.shape}."
        )
    if x.dtype != codes.dtype:
        raise ValueError(
            f"The 'batches' parameter of {owner} must have the dtype of the codes, {codes.dtype}. Got {x.dtype}."
        )
    check.finite(owner, "batches", x)
    if batches.weight is None:
        return np.ascontiguousarray(x), np.ones(x.shape[:2], x.dtype)
    if batches.weight.shape != x.shape[:2] or not (batches.weight >= 0).all():
        raise ValueError(
            f"The 'weight' of the batches of {owner} must be >= 0 and of shape {x.shape[:2]}, [T, B]. "
            f"Got shape {batches.weight.shape}."
        )
    return np.ascontiguousarray(x), np.ascontiguousarray(check.finite(owner, "weight", batches.weight), x.dtype)
