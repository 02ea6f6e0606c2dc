"""Drifts: how the distribution of the latents moves, per update of the codebook. They add with ``+``."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from vqtheory._base import check
from vqtheory._base.randomness import Purpose, generator
from vqtheory.streams.base import Drift
from vqtheory.streams.motion import Motion


@dataclass(frozen=True, repr=False)
class Stationary(Drift):
    """No drift: a stationary encoder."""

    def motion(self, start: int, steps: int, dim: int, seed: int) -> Motion:
        return Motion.none(steps, dim)


@dataclass(frozen=True, repr=False)
class Translation(Drift):
    """The cloud moves by `speed` per update: d_t = min(speed t, limit) e.

    Parameters
    ----------
    speed : float
        Distance per update.
    direction : sequence of D floats, optional
        e before it is normalised; the first axis by default.
    limit : float, optional
        The distance at which the cloud stops; it never stops by default.

    Examples
    --------
    >>> Translation(speed=0.1, direction=[0, 2], limit=0.25).motion(0, 4, dim=2, seed=0).shift[:, 1]
    array([0.  , 0.1 , 0.2 , 0.25])
    """

    speed: float
    direction: Any = None
    limit: float | None = None

    def __post_init__(self) -> None:
        self._keep(speed=check.number("Translation", "speed", self.speed))
        if self.limit is not None:
            self._keep(limit=check.number("Translation", "limit", self.limit, 0))
        self._keep(direction=as_direction("Translation", self.direction))

    def motion(self, start: int, steps: int, dim: int, seed: int) -> Motion:
        distance = self.speed * np.arange(start, start + steps)
        if self.limit is not None:
            distance = np.clip(distance, -self.limit, self.limit)
        return along(self, distance, self.direction, dim)


_LOG_FACTORS = 300  # logarithm of the largest factor of a cloud that grows on and on


@dataclass(frozen=True, repr=False)
class Scaling(Drift):
    """The cloud grows about its mean by the factor r_t = exp(rate t), or shrinks if `rate` is negative.

    Parameters
    ----------
    rate : float
        Relative growth per update.
    limit : float, optional
        The factor at which it stops: >= 1 for a cloud that grows, in (0, 1] for one that shrinks. By
        default it goes on to exp(300) or exp(-300), whose squares a float can still hold.

    Examples
    --------
    >>> Scaling(rate=-0.5, limit=0.5).motion(0, 4, dim=1, seed=0).factor.round(3)
    array([1.   , 0.607, 0.5  , 0.5  ])
    """

    rate: float
    limit: float | None = None

    def __post_init__(self) -> None:
        self._keep(rate=check.number("Scaling", "rate", self.rate))
        if self.limit is not None:
            self._keep(limit=check.number("Scaling", "limit", self.limit, 0, above=True))
            if (self.limit - 1) * self.rate < 0:
                side = "<= 1 where the rate is negative" if self.rate < 0 else ">= 1 where the rate is positive"
                raise check.fail("Scaling", "limit", side, self.limit)

    def motion(self, start: int, steps: int, dim: int, seed: int) -> Motion:
        last = math.copysign(_LOG_FACTORS, self.rate) if self.limit is None else math.log(self.limit)
        log_factor = np.clip(self.rate * _time(start, steps), min(last, 0.0), max(last, 0.0))
        return Motion.none(steps, dim)._replace(log_factor=log_factor)


@dataclass(frozen=True, repr=False)
class Rotation(Drift):
    """The cloud turns about its mean in the plane of the first two axes, by the angle rate t.

    Parameters
    ----------
    rate : float
        Radians per update, from the first axis towards the second.

    Raises
    ------
    ValueError
        When put on a stream of one dimension.

    Examples
    --------
    >>> Rotation(rate=0.1).motion(0, 3, dim=2, seed=0).angle
    array([0. , 0.1, 0.2])
    """

    rate: float

    def __post_init__(self) -> None:
        self._keep(rate=check.number("Rotation", "rate", self.rate))

    def motion(self, start: int, steps: int, dim: int, seed: int) -> Motion:
        if dim < 2:
            raise ValueError(
                "Rotation turns the plane of the first two axes: it needs latents of at least 2 dimensions. Got 1."
            )
        return Motion.none(steps, dim)._replace(angle=self.rate * _time(start, steps))


@dataclass(frozen=True, repr=False)
class RandomWalk(Drift):
    """The cloud wanders: d_t = scale (g_1 + .. + g_t), every g from N(0, I).

    The increments are a function of the stream's seed alone, so that two walks on one stream
    go the same way.

    Parameters
    ----------
    scale : float
        Standard deviation of each coordinate's move per update.

    Examples
    --------
    >>> walk = RandomWalk(scale=0.1)
    >>> walk.motion(0, 1000, dim=2, seed=0).shift[0], walk.motion(0, 1000, dim=2, seed=0).shift.shape
    (array([0., 0.]), (1000, 2))
    """

    scale: float

    def __post_init__(self) -> None:
        self._keep(scale=check.number("RandomWalk", "scale", self.scale, 0))

    def motion(self, start: int, steps: int, dim: int, seed: int) -> Motion:
        first, stop = max(start, 0), max(start + steps, 1)
        walked = _walk(first, stop, dim, seed)[np.maximum(np.arange(start, start + steps), 0) - first]
        return Motion.none(steps, dim)._replace(shift=self.scale * walked)


_WALK_ELEMENTS = 2**14  # numbers in a block of a walk


def _walk(start: int, stop: int, dim: int, seed: int) -> np.ndarray:
    """Positions [stop - start, D] of the walk with unit increments."""
    length = max(64, 1 << max(0, (_WALK_ELEMENTS // dim).bit_length() - 1))
    pieces = []
    for block in range(start // length, (stop - 1) // length + 1):
        cut = slice(max(start - block * length, 0), stop - block * length)
        pieces.append(_block_start(block, length, dim, seed) + _block_path(block, length, dim, seed)[cut])
    return np.concatenate(pieces)


@lru_cache(maxsize=16)
def _block_path(block: int, length: int, dim: int, seed: int) -> np.ndarray:
    """Where the walk goes in a block, [length, D], from where it stands before it. Step 0 has no increment."""
    increments = generator(seed, Purpose.WALK, block).standard_normal((length, dim))
    if block == 0:
        increments[0] = 0
    path = np.cumsum(increments, axis=0)
    path.setflags(write=False)
    return path


def _block_start(block: int, length: int, dim: int, seed: int) -> np.ndarray:
    """Where the walk stands before a block: always the sum over the blocks before it, from the first on."""
    known = _known_starts(length, dim, seed)
    for last in range(len(known) - 1, block):
        known[last + 1] = known[last] + _block_path(last, length, dim, seed)[-1]
    return known[block]


@lru_cache(maxsize=64)
def _known_starts(length: int, dim: int, seed: int) -> dict[int, np.ndarray]:
    """The block starts met so far, for every block up to some; what is dropped is summed again, to the same bits."""
    return {0: np.zeros(dim)}


@dataclass(frozen=True, repr=False)
class Oscillation(Drift):
    """The cloud goes to and fro: d_t = amplitude sin(2 pi t / period) e.

    Parameters
    ----------
    amplitude : float
        The farthest that it goes to either side.
    period : float
        Updates until it is back and goes the same way.
    direction : sequence of D floats, optional
        e before it is normalised; the first axis by default.

    Examples
    --------
    >>> Oscillation(amplitude=2.0, period=4).motion(0, 4, dim=1, seed=0).shift.round(12).ravel() + 0.0
    array([ 0.,  2.,  0., -2.])
    """

    amplitude: float
    period: float
    direction: Any = None

    def __post_init__(self) -> None:
        self._keep(amplitude=check.number("Oscillation", "amplitude", self.amplitude))
        self._keep(period=check.number("Oscillation", "period", self.period, 0, above=True))
        self._keep(direction=as_direction("Oscillation", self.direction))

    def motion(self, start: int, steps: int, dim: int, seed: int) -> Motion:
        turns = _time(start, steps) % self.period / self.period  # the remainder is exact, late phases stay so
        return along(self, self.amplitude * np.sin(2 * np.pi * turns), self.direction, dim)


@dataclass(frozen=True, repr=False)
class Jump(Drift):
    """The cloud stands, jumps once, and stands: d_t = 0 for t < at, and `by` from there on.

    Parameters
    ----------
    at : int
        The first step at the new place.
    by : float or sequence of D floats
        How far it jumps; a number is a distance along the first axis.

    Examples
    --------
    >>> Jump(at=2, by=[0.0, 3.0]).motion(0, 4, dim=2, seed=0).shift[:, 1]
    array([0., 0., 3., 3.])
    """

    at: int
    by: Any

    def __post_init__(self) -> None:
        self._keep(at=check.integer("Jump", "at", self.at, 0))
        if np.ndim(self.by) > 0 if isinstance(self.by, np.ndarray) else isinstance(self.by, (list, tuple)):
            self._keep(by=as_vector("Jump", "by", self.by))
        else:
            self._keep(by=check.number("Jump", "by", self.by))

    def motion(self, start: int, steps: int, dim: int, seed: int) -> Motion:
        by = np.array(self.by) if isinstance(self.by, tuple) else self.by * first_axis(dim)
        if len(by) != dim:
            raise ValueError(f"The 'by' parameter of Jump has {len(by)} entries, the latents have {dim}.")
        return Motion.none(steps, dim)._replace(shift=np.outer(np.arange(start, start + steps) >= self.at, by))


@dataclass(frozen=True, repr=False)
class Fading(Drift):
    """A drift that dies out: the move from step t to t + 1 is speed q^t, q = 2^(-1 / half_life).

    The position is the exact sum of these moves,

        d_t = speed (1 + q + .. + q^(t-1)) e = speed (1 - q^t) / (1 - q) e,

    so that the first move is `speed` and all of them together are speed / (1 - q), which is
    near 1.44 speed half_life.

    Parameters
    ----------
    speed : float
        Distance of the first move.
    half_life : float
        Updates in which the speed halves.
    direction : sequence of D floats, optional
        e before it is normalised; the first axis by default.

    Examples
    --------
    >>> Fading(speed=1.0, half_life=1).motion(0, 4, dim=1, seed=0).shift.ravel()
    array([0.  , 1.  , 1.5 , 1.75])
    """

    speed: float
    half_life: float
    direction: Any = None

    def __post_init__(self) -> None:
        self._keep(speed=check.number("Fading", "speed", self.speed))
        self._keep(half_life=check.duration("Fading", "half_life", self.half_life))
        self._keep(direction=as_direction("Fading", self.direction))

    def motion(self, start: int, steps: int, dim: int, seed: int) -> Motion:
        log_q = -math.log(2) / self.half_life
        moves = np.expm1(log_q * _time(start, steps)) / np.expm1(log_q)  # (1 - q^t) / (1 - q), exact for long half-lives
        return along(self, self.speed * moves, self.direction, dim)


def _time(start: int, steps: int) -> np.ndarray:
    """The steps as floats; the step before the first counts as the first."""
    return np.maximum(np.arange(start, start + steps, dtype=np.float64), 0)


def as_direction(owner: str, direction: Any) -> tuple[float, ...] | None:
    """A direction as a tuple of floats, which is hashable and can be written in a configuration."""
    if direction is None:
        return None
    vector = as_vector(owner, "direction", direction)
    if not any(vector):
        raise check.fail(owner, "direction", "a sequence of finite floats that are not all zero", direction)
    return vector


def as_vector(owner: str, name: str, values: Any) -> tuple[float, ...]:
    """A sequence of finite floats as a tuple."""
    vector = check.array(owner, name, values, "a sequence of finite floats").astype(np.float64)
    if vector.ndim != 1 or not vector.size or not np.isfinite(vector).all():
        raise check.fail(owner, name, "a sequence of finite floats", values)
    return tuple(vector.tolist())


def first_axis(dim: int) -> np.ndarray:
    """The unit vector (1, 0, ..), [dim]."""
    axis = np.zeros(dim)
    axis[0] = 1
    return axis


def along(drift: Drift, distance: np.ndarray, direction: tuple[float, ...] | None, dim: int) -> Motion:
    """The motion that shifts by `distance` [T] along a direction, by default the first axis."""
    axis = first_axis(dim) if direction is None else np.array(direction) / np.linalg.norm(direction)
    if len(axis) != dim:
        raise ValueError(
            f"The 'direction' parameter of {type(drift).__name__} has {len(axis)} entries, the latents have {dim}."
        )
    motion = Motion.none(len(distance), dim)
    for d in np.flatnonzero(axis):
        motion.shift[:, d] = distance * axis[d]
    return motion
