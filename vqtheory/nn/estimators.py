"""How the decoder's gradient passes the quantizer, which has none of its own.

With z a latent, c its nearest code, e and q their directions, g the decoder's gradient dL/dz_q and sg(.) held constant:

===================  ==================================================  ==========================================
straight-through     z_q = z + sg(c - z)                                 Bengio et al. 2013
code-gradient        z_q = z + a c + sg((1 - a) c - z)                   Lu et al., arXiv 2602.18896
synchronised         z_q = z + sg(c - z) + nu (c - sg(c))                Huh et al., arXiv 2305.08842
rotation             z_q = sg(|c|/|z| R) z, R turning e to q             Fifty et al., arXiv 2410.06424
rotation-centred     the same about the mean of all codes                derived here
rotation-tangent     z_q = sg(|c| R) z/|z|                               its code for VQGAN
rotation-unscaled    z_q = R z/|z| + sg(c - R e), R held constant        its code, without the scale
reflection           z_q = sg(|c|/|z| H) z, H = 1 - 2 w w'               its code; w has the direction of e - q
diveq                z_q = z + |c - z| sg(v), v the direction to c       Vali et al., arXiv 2509.26469
space-filling-diveq  the same, towards both ends of a segment of codes   Vali et al., arXiv 2509.26469
gumbel               z_q = sum_k y_k c_k, y = softmax((l + noise)/tau)   Jang et al. 2017; Sønderby et al. 2017
===================  ==================================================  ==========================================

All but the last three give z_q = c up to rounding, in training and in evaluation. DiVeQ does without its noise, which is
of training alone; the space-filling form goes to a point between two codes; Gumbel-softmax mixes the codes in training,
and is the straight-through lookup in evaluation. The indices are those of the nearest codes, whatever the estimator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding, normalize

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._base.config import Configured, parse, text
from vqtheory.nn.ops import noise, processes
from vqtheory.nn.ops.presence import whole
from vqtheory.nn.ops.search import assign
from vqtheory.nn.ops.soft import soft_lookup


class Lookup(NamedTuple):
    """What the quantizer has found in a batch; latents and codes have their gradient."""

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
        alpha = self.alpha if whole(keep) else self.alpha * keep.shape[0] / keep.sum().clamp_min(1)
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
        return rows - 2 * h * _dot(h, rows) + 2 * self.q * _dot(self.e, rows)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """Products of rows, [N, 1]."""
    return (one * other).sum(dim=1, keepdim=True)


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
        reflected = (lookup.latents - 2 * w * _dot(w, lookup.latents)) * (ways.reach / ways.length)
        return torch.where(ways.both, reflected, lookup.latents + (lookup.chosen - lookup.latents).detach())


def _unit(latents: Tensor) -> Tensor:
    """Directions, with their gradient; 0 of 0."""
    return normalize(latents, dim=1, eps=torch.finfo(latents.dtype).tiny)


@dataclass(frozen=True, repr=False)
class DiVeQ(Estimator):
    """Quantization as a step of length |c - z| along a direction v that is held constant.

    With d the direction from z to c the latent gets g - d (v.g), and the code d (v.g): the decoder moves codes, along d
    alone. In training v is the direction of c - z plus noise, else it is d. As published it stands alone: give the
    codebook loss and the commitment a weight of 0.

    Parameters
    ----------
    variance : float, default 1e-3
        Of the noise in each dimension, in the latents' unit squared. It should be well below that of a cell.
    """

    variance: float = 1e-3
    key: ClassVar[str] = "diveq"
    moves_codes: ClassVar[bool] = True
    is_random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._keep(variance=check.real(type(self).__name__, "variance", self.variance, 0))

    def __call__(self, lookup: Lookup) -> Tensor:
        return lookup.latents + self._step(lookup, lookup.chosen, 0)

    def _step(self, lookup: Lookup, target: Tensor, number: int) -> Tensor:
        """|t - z| v of targets t [N, D]; `number` keeps the noise of several steps apart."""
        way = target - lookup.latents
        noisy = way.detach()
        if lookup.training and self.variance > 0:
            rows = noise.rows(lookup.latents, 2 * lookup.step + number, lookup.seed)
            noisy = noisy + self.variance**0.5 * rows
        return way.norm(dim=1, keepdim=True) * normalize(noisy, dim=1, eps=torch.finfo(way.dtype).tiny)


@dataclass(frozen=True, repr=False)
class SpaceFillingDiVeQ(DiVeQ):
    """DiVeQ onto the curve of all codes in their order: to a point between a code and the next one.

    In training each of the K - 1 segments offers one point at random, and a latent goes to the nearest of these; it moves
    both ends, so that no code is left alone. In evaluation a latent goes to the nearest point of the two segments at its
    nearest code. Then indices do not say all: with ``curve=False`` it goes to the code itself.

    Parameters
    ----------
    variance : float, default 1e-3
    curve : bool, default True
        Whether latents go to the curve in evaluation, as published.
    """

    curve: bool = True
    key: ClassVar[str] = "space-filling-diveq"

    def __post_init__(self) -> None:
        super().__post_init__()
        check.flag("SpaceFillingDiVeQ", "curve", self.curve)

    def check_codes(self, owner: str, codes: int) -> None:
        if codes < 2:
            raise check.fail(owner, "codebook_size", "at least 2 for the estimator 'space-filling-diveq'", codes)

    def __call__(self, lookup: Lookup) -> Tensor:
        first, share = self._places(lookup)
        start, end = embedding(first, lookup.codes), embedding(first + 1, lookup.codes)
        return lookup.latents + (1 - share) * self._step(lookup, start, 0) + share * self._step(lookup, end, 1)

    @torch.no_grad()
    def _places(self, lookup: Lookup) -> tuple[Tensor, Tensor]:
        """The segments of latents, by their first codes [N], and how far along each [N, 1]."""
        codes, indices, last = lookup.codes, lookup.indices, len(lookup.codes) - 2
        if lookup.training:
            shares = noise.shares(codes[1:, :1], lookup.step, lookup.seed)
            first = assign(lookup.latents, codes[:-1] + shares * (codes[1:] - codes[:-1]))
            return first, shares[first]
        if not self.curve:
            return indices.clamp_max(last), (indices > last)[:, None].to(codes.dtype)
        ends = [_along(lookup, (indices + offset).clamp(0, last)) for offset in (-1, 0)]
        (first, share, squared), (second, other, nearer) = ends
        return torch.where(nearer < squared, second, first), torch.where((nearer < squared)[:, None], other, share)


def _along(lookup: Lookup, first: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest points of the segments that begin at codes `first` [N]: these, the share [N, 1], the squared distance."""
    start, way = embedding(first, lookup.codes), embedding(first + 1, lookup.codes) - embedding(first, lookup.codes)
    tiny = torch.finfo(way.dtype).tiny
    share = (_dot(lookup.latents - start, way) / _dot(way, way).clamp_min(tiny)).clamp(0, 1)
    return first, share, (lookup.latents - start - share * way).square().sum(dim=1)


@dataclass(frozen=True, repr=False)
class GumbelSoftmax(Estimator):
    """In training a mixture of all codes, y = softmax((l + noise) / temperature) with l_k = -|z - c_k|^2 / scale.

    All codes and the latent get the gradient of the mixture. No [N, K] array is kept for the backward pass, which makes y
    once more, block by block, from the same noise.

    Parameters
    ----------
    temperature : float or schedule, default 1
        Above 0: a schedule may go down to it, but not reach it. At small ones a latent takes one code, drawn by exp(l).
    scale : float, default 1
        The squared distance within which codes are likely. Of latents far closer together than its root, all codes are.
    hard : bool, default False
        Take the code with the largest y alone, with the gradient of the mixture.
    """

    temperature: Any = 1.0
    scale: float = 1.0
    hard: bool = False
    key: ClassVar[str] = "gumbel"
    moves_codes: ClassVar[bool] = True
    is_random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        owner = "GumbelSoftmax"
        self._keep(temperature=schedules.validate(owner, "temperature", self.temperature, 0, above=True))
        if isinstance(self.temperature, (schedules.linear, schedules.cosine)):
            check.real(owner, "temperature", self.temperature.end, 0, above=True)
        self._keep(scale=check.real(owner, "scale", self.scale, 0, above=True))
        check.flag(owner, "hard", self.hard)

    def __call__(self, lookup: Lookup) -> Tensor:
        latents, codes = lookup.latents, lookup.codes
        if not lookup.training:
            return latents + (lookup.chosen - latents).detach()
        step = lookup.step.to(latents.dtype)
        temperature = self.temperature(step) if callable(self.temperature) else self.temperature + 0 * step
        before = lookup.step.clone()  # which the layer counts on in its place
        return soft_lookup(latents, codes, temperature, before, self.scale, lookup.seed, self.hard)


_KINDS: tuple[type[Estimator], ...] = (
    StraightThrough,
    CodeGradient,
    Synchronised,
    Rotation,
    CentredRotation,
    TangentRotation,
    UnscaledRotation,
    Reflection,
    DiVeQ,
    SpaceFillingDiVeQ,
    GumbelSoftmax,
)
ESTIMATORS = {kind.key: kind for kind in _KINDS}


def estimator_of(owner: str, value: Estimator | str) -> Estimator:
    """An estimator, or the one of a name such as "rotation" or a text such as "DiVeQ(variance=1e-4)"."""
    if isinstance(value, str) and "(" in value:
        value = parse(value, more={kind.__name__: kind for kind in _KINDS})
    if isinstance(value, Estimator):
        return value
    return ESTIMATORS[check.choice(owner, "estimator", value, ESTIMATORS)]()


def text_of(estimator: Estimator) -> str:
    """What `estimator_of` reads: the name, where nothing differs from the defaults."""
    return estimator.key if estimator == type(estimator)() else text(estimator)
