"""How a probe of latents moves: pure geometry."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np

from vqtheory._base.shards import Frames


class Motion(NamedTuple):
    """How a probe of latents moves: per update of the T - 1 times between, and its shape at the T times."""

    speed: np.ndarray  # [T-1], distance of the mean
    moved: np.ndarray  # [T-1], root mean square of the samples' own moves
    growth: np.ndarray  # [T-1], rate of the spread's logarithm
    left: np.ndarray  # [T-1], share of a uniform cloud of this spread along the motion that is outside the cloud in the end
    length: np.ndarray  # [T-1], of such a cloud in the end
    sides: np.ndarray  # [T-1, D], of a uniform box with the spread along principal axes in the end, the longest first
    direction: np.ndarray  # [T-1, D], of length 1; 0 where the mean rests
    spread: np.ndarray  # [T], root mean squared distance from the mean
    dimension: np.ndarray  # [T], (sum of variances)^2 / sum of their squares, on principal axes


class _Shape(NamedTuple):
    """The probe at one time."""

    latents: np.ndarray  # float64 [N, D]
    covariance: np.ndarray  # [D, D]

    @classmethod
    def of(cls, latents: np.ndarray, mean: np.ndarray) -> Self:
        return cls(latents, (latents - mean).T @ (latents - mean) / len(latents))

    def moved(self, before: _Shape) -> float:
        """Root mean square of the samples' own moves."""
        return np.sqrt(np.mean(np.sum((self.latents - before.latents) ** 2, axis=1)))

    def length(self, direction: np.ndarray) -> float:
        """Of a uniform cloud with this covariance along a direction [D]."""
        return np.sqrt(12 * max(0.0, direction @ self.covariance @ direction))


def motion_of(latents: np.ndarray | Frames, steps: np.ndarray) -> Motion:
    """How latents [T, N, D] of the same samples have moved at these steps."""
    means, every = np.array([_at(latents, time).mean(axis=0) for time in range(len(steps))]), np.diff(steps)
    moves = np.diff(means, axis=0)
    distance = np.linalg.norm(moves, axis=1)
    direction = moves / np.where(distance > 0, distance, 1)[:, None]
    variances, between, before = [], [], None
    for time, mean in enumerate(means):  # two times in memory: a recording may be larger
        now = _Shape.of(_at(latents, time), mean)
        variances.append(np.linalg.eigvalsh(now.covariance)[::-1].clip(0))
        if before is not None:
            along = direction[time - 1]
            between.append((now.moved(before), before.length(along), now.length(along)))
        before = now
    own, start, end = np.array(between).reshape(-1, 3).T
    sizes = np.array(variances)
    total, squares = sizes.sum(axis=1), np.sum(sizes**2, axis=1)
    left = (distance - (end - start) / 2) / np.where(start > 0, start, 1)
    spread = np.sqrt(total)
    grown = np.diff(np.log(np.maximum(spread, np.finfo(float).tiny)))
    return Motion(
        speed=distance / every,
        moved=own / every,
        growth=grown / every,
        left=np.where(start > 0, left, distance > 0).clip(0, 1),
        length=end,
        sides=np.sqrt(12 * sizes[1:]),
        direction=direction,
        spread=spread,
        dimension=np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1), 1.0),
    )


def _at(latents: np.ndarray | Frames, time: int) -> np.ndarray:
    return np.asarray(latents[time], np.float64)
