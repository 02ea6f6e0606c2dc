"""How well a codebook does: usage, perplexity, distortion, residual, lag, dead codes.

Distortions are mean squared Euclidean distances, summed over the dimensions. Latents are arrays [N, D], or
`vqtheory.streams.Latents`, which are read block by block and may be more than memory holds; results are the same to
rounding.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self, overload

import numpy as np

from vqtheory._base import check
from vqtheory._kernels.cells import find_all
from vqtheory.protocols import Batches, Blocks, Rule, State


def usage(hits: np.ndarray) -> float:
    """Fraction of the codes chosen at least once, from the hits [K] of a window.

    Examples
    --------
    >>> usage([3, 0, 1, 0])
    0.5
    """
    return float(np.mean(_checked("usage", hits) > 0))


def perplexity(hits: np.ndarray) -> float:
    """exp(-sum_k p_k ln p_k) with p_k the share of the hits [K]; between 1 and K, 0 without hits.

    It weighs how evenly codes are used, and equals K only where all cells have equal mass, which
    is not where the distortion is least: the optimum gives more codes to the tails.

    Examples
    --------
    >>> perplexity([5, 5, 0, 0])
    2.0
    """
    counts = _checked("perplexity", hits).astype(np.float64)
    if not counts.any():
        return 0.0
    shares = counts[counts > 0] / counts.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def carrying(hits: np.ndarray, share: float = 0.99) -> int:
    """The fewest codes that have this share of the hits [K]; 0 without hits.

    What is left of a codebook by mass: a code in a thin tail counts as used, however seldom it is chosen.

    Examples
    --------
    >>> carrying([50, 1, 0, 49]), carrying([50, 1, 0, 49], share=1.0)
    (2, 3)
    """
    share = check.real("carrying", "share", share, 0, 1)
    counts = np.cumsum(np.sort(_checked("carrying", hits))[::-1])
    return int(np.searchsorted(counts, share * counts[-1])) + 1 if counts[-1] else 0


def _checked(owner: str, hits: Any) -> np.ndarray:
    """The hits [K] of at least one code, numbers >= 0."""
    requirement = "a list of one number >= 0 per code"
    counts = check.array(owner, "hits", hits, requirement)
    if counts.ndim != 1 or counts.size == 0:
        raise check.fail(owner, "hits", requirement, hits)
    if np.any(check.finite(owner, "hits", counts) < 0):
        raise check.fail(owner, "hits", requirement, hits)
    return counts


def distinct(codes: np.ndarray) -> int:
    """Number of distinct codes: codes that merged to the same bits count once.

    Examples
    --------
    >>> distinct([[0.0], [1.0], [0.0]])
    2
    """
    return len(np.unique(check.matrix("distinct", "codes", codes), axis=0))


class Cells(NamedTuple):
    """A sample of latents in the cells of a codebook."""

    hits: np.ndarray  # int64 [K]
    centroids: np.ndarray  # float64 [K, D], the code itself where the cell is empty
    error: np.ndarray  # float64 [N, D], x - c_q(x)
    assignment: np.ndarray  # int64 [N]
    codes: np.ndarray  # float [K, D]

    @classmethod
    def of(cls, assignment: np.ndarray, latents: np.ndarray, codes: np.ndarray) -> Self:
        """Of latents [N, D] that go to codes [K, D] by this assignment [N], whatever it is."""
        error = latents.astype(np.float64) - codes[assignment]
        hits = np.bincount(assignment, minlength=len(codes))
        centroids = codes + _sums(error, assignment, len(codes)) / np.maximum(hits, 1)[:, None]
        return cls(hits, centroids, error, assignment, codes)

    @property
    def distortion(self) -> float:
        """Mean |x - c_q(x)|^2."""
        return float(np.mean(np.sum(self.error**2, axis=1)))

    def residual(self, unbiased: bool = False) -> float:
        """R(C) = sum_k p_k |m_k - c_k|^2, see `residual`."""
        unbiased, offset = check.flag("residual", "unbiased", unbiased), self.centroids - self.codes
        total = np.sum(self.hits * np.sum(offset**2, axis=1))
        if unbiased:  # the spread of a mean of n samples is their variance over n
            squares = np.sum((self.error - offset[self.assignment]) ** 2, axis=1)
            scatter = np.bincount(self.assignment, squares, len(self.codes))
            total -= np.sum(scatter[self.hits > 1] / (self.hits[self.hits > 1] - 1))
        return float(total / len(self.error))

    def lag(self, direction: np.ndarray) -> float:
        """Mean of (x - c_q(x)) . e, see `lag`."""
        axis = _direction(direction, self.codes.shape[1])
        return float(np.mean(self.error @ axis) / np.linalg.norm(axis))


class CellSums(NamedTuple):
    """Sums over the cells of a codebook of latents that are not kept: all that the measures need."""

    hits: np.ndarray  # int64 [K]
    pull: np.ndarray  # float64 [K, D], sum of x - c_k over a cell
    squares: np.ndarray  # float64 [K], sum of |x - c_k|^2 over a cell
    codes: np.ndarray  # float [K, D]

    @classmethod
    def of(cls, latents: Blocks, codes: np.ndarray) -> Self:
        """Of latents that are read block by block."""
        num_codes, dim = codes.shape
        sums = cls(np.zeros(num_codes, np.int64), np.zeros((num_codes, dim)), np.zeros(num_codes), codes)
        for block in latents.blocks():
            x = check.matrix("cells", "latents", block, columns=dim).astype(codes.dtype, copy=False)
            assignment, _ = find_all(x, codes)
            error = x.astype(np.float64) - codes[assignment]
            sums.hits[:] += np.bincount(assignment, minlength=num_codes)
            sums.pull[:] += _sums(error, assignment, num_codes)
            sums.squares[:] += np.bincount(assignment, np.sum(error**2, axis=1), num_codes)
        return sums

    @property
    def centroids(self) -> np.ndarray:
        """Means of the cells, float64 [K, D]; the code itself where the cell is empty."""
        return self.codes + self.pull / np.maximum(self.hits, 1)[:, None]

    @property
    def distortion(self) -> float:
        """Mean |x - c_q(x)|^2."""
        return float(self.squares.sum() / self.hits.sum())

    def residual(self, unbiased: bool = False) -> float:
        """R(C) = sum_k p_k |m_k - c_k|^2, see `residual`."""
        unbiased, several = check.flag("residual", "unbiased", unbiased), self.hits > 1
        own = np.sum(self.pull**2, axis=1) / np.maximum(self.hits, 1)
        noise = np.sum((self.squares - own)[several] / (self.hits[several] - 1)) if unbiased else 0.0
        return float((own.sum() - noise) / self.hits.sum())

    def lag(self, direction: np.ndarray) -> float:
        """Mean of (x - c_q(x)) . e, see `lag`."""
        axis = _direction(direction, self.codes.shape[1])
        return float(self.pull.sum(axis=0) @ axis / self.hits.sum() / np.linalg.norm(axis))


def _direction(direction: Any, dim: int) -> np.ndarray:
    axis = check.vector("lag", "direction", direction, dim)
    if not axis.any():
        raise check.fail("lag", "direction", "a vector that is not 0", direction)
    return axis


@overload
def cells(latents: Blocks, codes: Any) -> CellSums: ...
@overload
def cells(latents: Any, codes: Any) -> Cells: ...
def cells(latents: Any, codes: Any) -> Cells | CellSums:
    """Sort latents [N, D] into the cells of codes [K, D]; all other measures come from this.

    `vqtheory.streams.Latents` are read block by block, and of them sums over the cells alone are kept.

    Examples
    --------
    >>> from vqtheory.streams import Latents
    >>> cells(Latents([[0.0], [2.0], [5.0]]), [[1.0], [4.0]]).hits
    array([2, 1])
    """
    codes = check.matrix("cells", "codes", codes)
    if isinstance(latents, Blocks):
        if latents.dim != codes.shape[1]:
            raise ValueError(
                f"The 'latents' parameter of cells has {latents.dim} dimensions, and the codes have {codes.shape[1]}."
            )
        return CellSums.of(latents, codes)
    latents = check.matrix("cells", "latents", latents, columns=codes.shape[1]).astype(codes.dtype, copy=False)
    assignment, _ = find_all(latents, codes)
    return Cells.of(assignment, latents, codes)


def _sums(values: np.ndarray, assignment: np.ndarray, num_codes: int) -> np.ndarray:
    """Sums of values [N, D] over the cells, [K, D]."""
    columns = [np.bincount(assignment, weights=column, minlength=num_codes) for column in values.T]
    return np.stack(columns, axis=1)


def distortion(latents: Any, codes: Any) -> float:
    """Mean squared distance of latents [N, D] to their codes [K, D].

    Examples
    --------
    >>> distortion([[0.0], [2.0]], [[1.0]])
    1.0
    """
    return cells(latents, codes).distortion


def residual(latents: Any, codes: Any, unbiased: bool = False) -> float:
    """R(C) = sum_k p_k |m_k - c_k|^2: how far codes [K, D] are from the centroids of their cells.

    0 exactly at a k-means solution of the latents [N, D]. Where the latents are a sample of a
    law, the sample's own noise adds about distortion * K / N; `unbiased` takes that off, and the
    figure can then fall below 0 by the noise that is left.

    Examples
    --------
    >>> residual([[0.0], [2.0]], [[1.5]])
    0.25
    """
    return cells(latents, codes).residual(unbiased)


def lag(latents: Any, codes: Any, direction: Any) -> float:
    """Mean of (x - c_q(x)) . e: how far the codes trail behind along a direction e of drift.

    Under a steady drift of speed v, plain VQ with all K codes alive has K v / eta.

    Examples
    --------
    >>> lag([[1.0], [2.0]], [[1.0]], direction=[1.0])
    0.5
    """
    return cells(latents, codes).lag(direction)


def dead(latents: Any, codes: Any) -> np.ndarray:
    """Which codes no latent chooses, bool [K]; take 200 K latents or more of the law in question.

    Examples
    --------
    >>> dead([[0.0], [0.2]], [[0.1], [5.0]])
    array([False,  True])
    """
    return cells(latents, codes).hits == 0


def idempotence(rule: Rule, state: State) -> float:
    """Share of the codes that, taken as latents, go to themselves, as the rule assigns in its next update.

    1 where latents go to the nearest of distinct codes. Less where they are compared otherwise: then a code that is decoded
    and encoded again may come back as another one.

    Examples
    --------
    >>> from vqtheory.rules import IBQ
    >>> rule = IBQ()  # by the dot product, for which the second code is more alike to the first one than itself
    >>> idempotence(rule, rule.init(np.array([[1.0, 0.0], [3.0, 0.0]])))
    0.5
    """
    if isinstance(rule, type) or not callable(getattr(rule, "advance", None)):
        raise check.fail("idempotence", "rule", "a rule such as VQ(step_size=0.05)", rule)
    check.instance("idempotence", "state", state, tuple, "a state of the rule")
    codes = check.matrix("idempotence", "state", getattr(state, "codes", None))
    _, counted = rule.advance(state, Batches(codes[None].copy(), np.zeros_like(codes[None])))
    return float(np.mean(counted["assignment"] == np.arange(len(codes))))


class Drift(NamedTuple):
    """How latents move, in the terms of `vqtheory.theory.critical_speed`."""

    speed: float  # distance per update of the cloud's mean, along its steady course
    width: float  # of a uniform cloud with the same spread along that course
    dimension: float  # that the latents fill: (sum of variances)^2 / sum of their squares


def drift(latents: np.ndarray, every: int = 1) -> Drift:
    """The drift of an encoder, from the latents of one and the same batch at successive times.

    The course is the least-squares line through the batch's means, so that what goes to and fro does not count; a
    rotation or a change of scale about the mean is no drift of this kind. Variances are those about the means, on
    principal axes.

    Parameters
    ----------
    latents : float [T, N, D]
        T >= 2 times, the same N >= 2 samples in the same rows.
    every : int, default 1
        Updates from one time to the next.

    Raises
    ------
    ValueError
        For another shape, values that are not finite, and latents that are all the same.

    Examples
    --------
    >>> square = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> found = drift(square + np.array([0.0, 0.1, 0.2])[:, None, None] * [1, 0])
    >>> round(found.speed, 9), round(found.width, 3), round(found.dimension, 9)
    (0.1, 1.732, 2.0)
    """
    every = check.integer("drift", "every", every)
    latents = check.array("drift", "latents", latents, "an array [T >= 2, N >= 2, D]").astype(np.float64)
    if latents.ndim != 3 or min(latents.shape[:2]) < 2 or latents.shape[2] < 1:
        raise check.fail("drift", "latents", "an array [T >= 2, N >= 2, D]", latents.shape)
    check.finite("drift", "latents", latents)
    means, times = latents.mean(axis=1), every * np.arange(len(latents)) - every * (len(latents) - 1) / 2
    velocity = times @ means / (times @ times)
    moved = (latents - means[:, None]).reshape(-1, latents.shape[2])
    covariance = moved.T @ moved / len(moved)
    total = np.trace(covariance)
    if total == 0:
        raise check.fail("drift", "latents", "not all the same", latents.shape)
    speed = float(np.linalg.norm(velocity))
    along = velocity @ covariance @ velocity / speed**2 if speed > 0 else total / len(covariance)
    return Drift(speed, float(np.sqrt(12 * along)), float(total**2 / np.sum(covariance**2)))
