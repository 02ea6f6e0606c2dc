"""Drifts: how the law of the latents moves, per update of the codebook. They add with ``+``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vqtheory import _check
from vqtheory._config import Configured
from vqtheory.streams._motion import Motion


class Drift(Configured):
    """A drift gives the motion at any run of steps, the same for the same seed."""

    def motion(self, start: int, steps: int, dim: int, seed: int) -> Motion:
        """The motion at steps ``start .. start + steps - 1``; `start` may be -1, the step before the first."""
        raise NotImplementedError

    def __add__(self, other: Drift) -> Drift:
        return Sum((*_parts(self), *_parts(other)))


@dataclass(frozen=True, repr=False)
class Sum(Drift):
    """Several drifts at once; written ``a + b``."""

    parts: tuple[Drift, ...]

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))

    def motion(self, start: int, steps: int, dim: int, seed: int) -> Motion:
        total = Motion.none(steps, dim)
        for part in self.parts:
            total = total + part.motion(start, steps, dim, seed)
        return total


def _parts(drift: Drift) -> tuple[Drift, ...]:
    return drift.parts if isinstance(drift, Sum) else (drift,)


@dataclass(frozen=True, repr=False)
class Stationary(Drift):
    """No drift: a standing encoder."""

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
        _check.real("Translation", "speed", self.speed)
        if self.limit is not None:
            _check.real("Translation", "limit", self.limit, 0)
        object.__setattr__(self, "direction", as_direction("Translation", self.direction))

    def motion(self, start: int, steps: int, dim: int, seed: int) -> Motion:
        distance = self.speed * np.arange(start, start + steps)
        if self.limit is not None:
            distance = np.clip(distance, -self.limit, self.limit)
        return along(self, distance, self.direction, dim)


def as_direction(owner: str, direction: Any) -> tuple[float, ...] | None:
    """A direction as a tuple of floats, which is hashable and can be written in a configuration."""
    if direction is None:
        return None
    vector = np.asarray(direction, np.float64)
    if vector.ndim != 1 or not np.isfinite(vector).all() or not vector.any():
        raise _check.fail(owner, "direction", "a sequence of finite floats that are not all zero", direction)
    return tuple(vector.tolist())


def along(drift: Drift, distance: np.ndarray, direction: tuple[float, ...] | None, dim: int) -> Motion:
    """The motion that shifts by `distance` [T] along a direction, by default the first axis."""
    axis = np.eye(dim)[0] if direction is None else np.array(direction) / np.linalg.norm(direction)
    if len(axis) != dim:
        raise ValueError(f"The 'direction' parameter of {type(drift).__name__} has {len(axis)} entries, the latents have {dim}.")
    return Motion.none(len(distance), dim)._replace(shift=np.outer(distance, axis))
