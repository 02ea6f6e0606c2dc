"""How a probe of latents moves: pure geometry."""

from __future__ import annotations

from typing import NamedTuple

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


def motion_of(latents: np.ndarray | Frames, steps: np.ndarray) -> Motion:
    """How latents [T, N, D] of the same samples have moved at these steps."""
    every, before, own = np.diff(steps), None, []
    means, covariances = np.empty((len(steps), latents.shape[2])), []
    for i in range(len(steps)):  # one by one: a recording may be larger than memory
        x = np.asarray(latents[i], np.float64)
        means[i] = x.mean(axis=0)
        covariances.append((x - means[i]).T @ (x - means[i]) / len(x))
        if before is not None:
            own.append(np.sqrt(np.mean(np.sum((x - before) ** 2, axis=1))))
        before = x
    variances = np.array([np.linalg.eigvalsh(covariance)[::-1] for covariance in covariances]).clip(0)
    total, squares = variances.sum(axis=1), np.sum(variances**2, axis=1)
    moves = np.diff(means, axis=0)
    distance = np.linalg.norm(moves, axis=1)
    direction = moves / np.where(distance > 0, distance, 1)[:, None]
    start, end = (_length(direction, part) for part in (covariances[:-1], covariances[1:]))
    left = (distance - (end - start) / 2) / np.where(start > 0, start, 1)
    spread = np.sqrt(total)
    grown = np.diff(np.log(np.maximum(spread, np.finfo(float).tiny)))
    return Motion(
        speed=distance / every,
        moved=np.array(own) / every,
        growth=grown / every,
        left=np.where(start > 0, left, distance > 0).clip(0, 1),
        length=end,
        sides=np.sqrt(12 * variances[1:]),
        direction=direction,
        spread=spread,
        dimension=np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1), 1.0),
    )


def _length(direction: np.ndarray, covariances: list[np.ndarray]) -> np.ndarray:
    """Of uniform clouds with these covariances [T][D, D], along directions [T, D]."""
    variances = [max(0.0, e @ covariance @ e) for e, covariance in zip(direction, covariances, strict=True)]
    return np.sqrt(12 * np.array(variances))
