"""Estimators that pass the gradient straight through, to the latent alone or to the code as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from vqtheory._base import check
from vqtheory.nn.estimators.base import Estimator, Lookup
from vqtheory.nn.ops import processes
from vqtheory.nn.ops.presence import whole


@dataclass(frozen=True, repr=False)
class StraightThrough(Estimator):
    """The latent gets g as it is."""

    key: ClassVar[str] = "straight-through"

    def __call__(self, lookup: Lookup) -> Tensor:
        return lookup.latents + (lookup.chosen - lookup.latents).detach()


@dataclass(frozen=True, repr=False)
class CodeGradient(Estimator):
    """The latent gets g, and the code a g, which makes it chase z - dL/dz_q (`theory.straight_through_target`).

    a = 2 alpha / (number of elements of z, of all processes).

    Parameters
    ----------
    alpha : float, default 1
        The codebook loss' own weight.
    """

    alpha: float = 1.0
    key: ClassVar[str] = "code-gradient"
    moves_codes: ClassVar[bool] = True
    needs_trained_codes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._keep(alpha=check.real("CodeGradient", "alpha", self.alpha, 0))

    def __call__(self, lookup: Lookup) -> Tensor:
        latents, chosen, keep = lookup.latents, lookup.chosen, lookup.keep
        alpha = self.alpha if whole(keep) else self.alpha * keep.shape[0] / keep.sum().clamp_min(1).to(latents.dtype)
        share = 2 * alpha / (latents.numel() * processes.world_size())
        return latents + share * chosen + ((1 - share) * chosen - latents).detach()


@dataclass(frozen=True, repr=False)
class Synchronised(Estimator):
    """The latent gets g, and the code nu g, so that both move by what the decoder wants.

    Parameters
    ----------
    nu : float, default 1
        0 is straight-through.
    """

    nu: float = 1.0
    key: ClassVar[str] = "synchronised"
    moves_codes: ClassVar[bool] = True
    needs_trained_codes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._keep(nu=check.real("Synchronised", "nu", self.nu, 0))

    def __call__(self, lookup: Lookup) -> Tensor:
        latents, chosen = lookup.latents, lookup.chosen
        return latents + (chosen - latents).detach() + self.nu * (chosen - chosen.detach())
