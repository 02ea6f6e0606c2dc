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

    reach: Tensor  # |c| [N, 1]
    ratio: Tensor  # |c| / |z|, and 0 without both directions
    e: Tensor  # z / |z|
    q: Tensor  # c / |c|
    both: Tensor  # bool [N, 1]

    @classmethod
    @torch.no_grad()
    def of(cls, latents: Tensor, chosen: Tensor) -> Directions:
        """A vector has no direction whose squared length is 0, too small for all its digits, or too large."""
        shortest = torch.finfo(latents.dtype).tiny ** 0.5
        length, reach = latents.norm(dim=1, keepdim=True), chosen.norm(dim=1, keepdim=True)
        e, q, ratio = latents / length.clamp_min(shortest), chosen / reach.clamp_min(shortest), reach / length
        both = (length > shortest) & (reach > shortest) & length.isfinite() & reach.isfinite()
        return cls(reach, torch.where(both, ratio, 0), e, q, both)

    @property
    def between(self) -> Tensor:
        """The direction of e + q [N, D], 0 of opposite ones: many rotations turn e to q, each by another direction."""
        return _axis(self.e + self.q, self.e - self.q)

    @property
    def across(self) -> Tensor:
        """The direction of e - q [N, D], 0 of equal ones."""
        return _axis(self.e - self.q, self.e + self.q)

    def rotated(self, rows: Tensor, between: Tensor) -> Tensor:
        """R x of rows x [N, D], R = (1 - 2 h h') (1 - 2 e e') with h the direction `between`."""
        return _reflected(_reflected(rows, self.e), between)


def _axis(one: Tensor, other: Tensor) -> Tensor:
    """The direction of the sum of two unit vectors, given their difference, or the other way round.

    Those two are at right angles, but the shorter one may be rounding for the most part: it loses what it has along the
    other, and has no direction, 0, where rounding alone would give it one.
    """
    axis = one - products(one, other) / products(other, other).clamp_min(1) * other
    length = axis.norm(dim=1, keepdim=True)
    return torch.where(length > 4 * torch.finfo(axis.dtype).eps, axis / length, 0)


def _reflected(rows: Tensor, axis: Tensor) -> Tensor:
    """(1 - 2 w w') x of rows x [N, D] and unit vectors w [N, D], or x itself where w is 0."""
    return rows - 2 * axis * products(axis, rows)


def _valued(value: Tensor, way: Tensor) -> Tensor:
    """A value with the gradient of another one."""
    return value.detach() + (way - way.detach())


class _Turning(Estimator):
    """An orthogonal map about the origin takes latents to codes; without one the gradient passes straight through."""

    def __call__(self, lookup: Lookup) -> Tensor:
        ways = Directions.of(lookup.latents, lookup.chosen)
        between = ways.between
        turns = ways.both & between.any(dim=1, keepdim=True)
        return torch.where(turns, self._turned(lookup, ways, between), _valued(lookup.chosen, lookup.latents))

    def _turned(self, lookup: Lookup, ways: Directions, between: Tensor) -> Tensor:
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class Rotation(_Turning):
    """The rotation trick: the latent gets |c|/|z| R'g, the gradient turned back by the rotation that took it to its code.

    Of a gradient that points from z to c it is straight-through with a pull to the origin, `theory.rotation_pull`.
    """

    key: ClassVar[str] = "rotation"

    def _turned(self, lookup: Lookup, ways: Directions, between: Tensor) -> Tensor:
        return ways.rotated(lookup.latents, between) * ways.ratio


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

    def _turned(self, lookup: Lookup, ways: Directions, between: Tensor) -> Tensor:
        return ways.rotated(_unit(lookup.latents), between) * ways.reach


@dataclass(frozen=True, repr=False)
class UnscaledRotation(_Turning):
    """The rotation alone, and from there straight through: 1/|z| (1 - e e') R'g, whatever the code's length."""

    key: ClassVar[str] = "rotation-unscaled"

    def _turned(self, lookup: Lookup, ways: Directions, between: Tensor) -> Tensor:
        return _valued(lookup.chosen, ways.rotated(_unit(lookup.latents), between))


@dataclass(frozen=True, repr=False)
class Reflection(_Turning):
    """The latent gets |c|/|z| H g, H the reflection that takes its direction to its code's.

    For a latent on the ray of its code, up to rounding, nothing has to be reflected, and H is 1; next to the ray it is not:
    whatever the gradient has along z - c comes back with the other sign.
    """

    key: ClassVar[str] = "reflection"

    def __call__(self, lookup: Lookup) -> Tensor:
        ways = Directions.of(lookup.latents, lookup.chosen)
        reflected = _reflected(lookup.latents, ways.across) * ways.ratio
        return torch.where(ways.both, reflected, _valued(lookup.chosen, lookup.latents))


def _unit(latents: Tensor) -> Tensor:
    """Directions, with their gradient; 0 of 0."""
    return normalize(latents, dim=1, eps=torch.finfo(latents.dtype).tiny)
