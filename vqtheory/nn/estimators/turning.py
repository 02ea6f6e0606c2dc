"""The rotation trick and its variants, which turn the gradient back as the latent was turned to its code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vqtheory.nn.estimators.base import Estimator, Lookup, products


class Directions(NamedTuple):
    """Lengths and directions of latents and codes [N, D], without gradient, and which rows have both."""

    length: Tensor  # |z| [N, 1], at least the smallest number
    reach: Tensor  # |c|
    e: Tensor  # z / |z|
    q: Tensor  # c / |c|
    both: Tensor  # bool [N, 1]

    @classmethod
    @torch.no_grad()
    def of(cls, latents: Tensor, chosen: Tensor) -> Directions:
        """A vector of length 0 has no direction."""
        length, reach = latents.norm(dim=1, keepdim=True), chosen.norm(dim=1, keepdim=True)
        tiny = torch.finfo(latents.dtype).tiny
        both = (length > 0) & (reach > 0)
        return cls(length.clamp_min(tiny), reach, latents / length.clamp_min(tiny), chosen / reach.clamp_min(tiny), both)

    @property
    def turn(self) -> Tensor:
        """Where there is a rotation of e to q: not for opposite ones, of which there are many."""
        return self.both & ((self.e + self.q).norm(dim=1, keepdim=True) > 0)

    def rotated(self, rows: Tensor) -> Tensor:
        """R x of rows x [N, D], R = 1 - 2 h h' + 2 q e' with h the direction of e + q."""
        h = normalize(self.e + self.q, dim=1)
        return rows - 2 * h * products(h, rows) + 2 * self.q * products(self.e, rows)


class _Turning(Estimator):
    """An orthogonal map about the origin takes latents to codes; without one the gradient passes straight through."""

    def __call__(self, lookup: Lookup) -> Tensor:
        ways = Directions.of(lookup.latents, lookup.chosen)
        straight = lookup.latents + (lookup.chosen - lookup.latents).detach()
        return torch.where(ways.turn, self._turned(lookup, ways), straight)

    def _turned(self, lookup: Lookup, ways: Directions) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class Rotation(_Turning):
    """The rotation trick: the latent gets |c|/|z| R'g, the gradient turned back by the rotation that took it to its code.

    Of a gradient that points from z to c it is straight-through with a pull to the origin, `theory.rotation_pull`.
    """

    key: ClassVar[str] = "rotation"

    def _turned(self, lookup: Lookup, ways: Directions) -> Tensor:
        return ways.rotated(lookup.latents) * (ways.reach / ways.length)


@dataclass(frozen=True, repr=False)
class CentredRotation(Rotation):
    """The rotation trick about the mean of the codes, dead ones included, wherever the origin is.

    So the pull of rotation is to the middle of the codebook, and moves no latents as a whole that are about it. Dead codes
    count: without them the middle would be among the few codes that latents have not left, and |c|/|z| about it near 0.
    (EMA, 512 codes of 16 dimensions, 400 updates of faces of 32 x 32, Adam at 1e-3, one seed: 439 codes used in the end, and
    14 about the mean of the chosen ones.)
    """

    key: ClassVar[str] = "rotation-centred"

    def __call__(self, lookup: Lookup) -> Tensor:
        centre = lookup.codes.detach().mean(dim=0)
        return super().__call__(lookup._replace(latents=lookup.latents - centre, chosen=lookup.chosen - centre)) + centre


@dataclass(frozen=True, repr=False)
class TangentRotation(_Turning):
    """The rotation trick behind a normalised latent: |c|/|z| (1 - e e') R'g, so that nothing moves a latent's length."""

    key: ClassVar[str] = "rotation-tangent"

    def _turned(self, lookup: Lookup, ways: Directions) -> Tensor:
        return ways.rotated(_unit(lookup.latents)) * ways.reach


@dataclass(frozen=True, repr=False)
class UnscaledRotation(_Turning):
    """The rotation alone, and from there straight through: 1/|z| (1 - e e') R'g, whatever the code's length."""

    key: ClassVar[str] = "rotation-unscaled"

    def _turned(self, lookup: Lookup, ways: Directions) -> Tensor:
        turned = ways.rotated(_unit(lookup.latents))
        return turned + (lookup.chosen - turned).detach()


@dataclass(frozen=True, repr=False)
class Reflection(_Turning):
    """The latent gets |c|/|z| H g, H the reflection that takes its direction to its code's.

    For a latent on the ray of its code nothing has to be reflected, and H is 1; next to the ray it is not: whatever the
    gradient has along z - c comes back with the other sign.
    """

    key: ClassVar[str] = "reflection"

    def __call__(self, lookup: Lookup) -> Tensor:
        ways = Directions.of(lookup.latents, lookup.chosen)
        w = normalize(ways.e - ways.q, dim=1)
        reflected = (lookup.latents - 2 * w * products(w, lookup.latents)) * (ways.reach / ways.length)
        return torch.where(ways.both, reflected, lookup.latents + (lookup.chosen - lookup.latents).detach())


def _unit(latents: Tensor) -> Tensor:
    """Directions, with their gradient; 0 of 0."""
    return normalize(latents, dim=1, eps=torch.finfo(latents.dtype).tiny)
