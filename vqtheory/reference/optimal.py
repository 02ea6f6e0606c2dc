"""The best codes: exact in one dimension, for a density or for samples, and otherwise the best found."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from vqtheory._base import check
from vqtheory._base.randomness import Purpose, generator
from vqtheory.assign import nearest
from vqtheory.measure import cells
from vqtheory.protocols import Blocks
from vqtheory.reference._lloyd_max import best_on_grid, settle
from vqtheory.reference._optimum import Optimum
from vqtheory.reference._partition import best_partition
from vqtheory.reference._swap import swap
from vqtheory.reference.density import Density

_SAMPLE, _PER_CODE = 2**20, 32  # numbers, and latents to a code, of those that are more than memory may hold
_STEPS, _GAIN = 20, 1e-4  # of Lloyd's algorithm over all of them


def lloyd_max(distribution: Any, num_codes: int) -> Optimum:
    """The optimal scalar quantizer of a density in one dimension (Lloyd 1982, Max 1960).

    It is centroidal: with borders b_k midway between the codes, each code is the mean of
    its cell,

        g_k = integral over (b_(k-1), b_k) of (c_k - x) f(x) dx = 0.

    The start is the global optimum on a grid of at least 64 K pieces of the line, found by
    dynamic programming. From there Newton's method solves g = 0; its Hessian has the
    diagonal p_k - (h_(k-1) f(b_(k-1)) + h_k f(b_k)) / 4 and beside it -h_k f(b_k) / 4, with
    gaps h_k = c_(k+1) - c_k. A step that leaves the codes out of order or raises the
    distortion is shortened, and where the Hessian is not positive definite it is Lloyd's.

    If f is log-concave the centroidal codebook is unique (Fleischer 1964; Kieffer 1983). For
    any other f several can exist and the best is returned; a better one that the grid misses
    is better by a few parts in 10,000 at most. Every code is the mean of its cell to a few
    units in the last place; its distance from the optimum is that over the least eigenvalue
    of the Hessian, which is 0 for the Laplace density and even K (codes to about 1e-8 there).

    Parameters
    ----------
    distribution : frozen continuous distribution of scipy.stats
        Its `pdf`, `cdf`, `support`, `mean` and `var` are used. The density may have jumps,
        kinks, integrable singularities, gaps and power-law tails.
    num_codes : int
        K >= 1.

    Returns
    -------
    Optimum
        Codes [K, 1], ascending, and the distortion.

    Raises
    ------
    ValueError
        For what is not a continuous distribution of one number, for a variance that is not
        finite, and where density and variance contradict one another.

    Examples
    --------
    >>> from scipy import stats
    >>> codes, distortion = lloyd_max(stats.norm(), 2)
    >>> codes.ravel().round(6), round(distortion, 6)
    (array([-0.797885,  0.797885]), 0.36338)
    """
    num_codes = check.integer("lloyd_max", "num_codes", num_codes)
    density = Density("lloyd_max", distribution)
    codes, cells = settle(density, best_on_grid(density, num_codes))
    return Optimum(codes[:, None], cells.distortion)


def optimal_1d(samples: np.ndarray, num_codes: int) -> Optimum:
    """The optimal k-means solution of samples in one dimension, by dynamic programming.

    O(K N log N) time and 4 K N bytes for N distinct samples (Wu 1991; Gronlund et al.,
    arXiv 1701.07204). Exact up to rounding: among partitions whose distortions differ by
    less than about 1e-16 times the samples' variance any may be returned, always the same
    one; of exact ties, the one with the lowest borders.

    Parameters
    ----------
    samples : float [N] or [N, 1]
    num_codes : int
        K, at most the number of distinct samples.

    Returns
    -------
    Optimum
        Codes [K, 1], ascending, and the mean squared distance of the samples to them.

    Raises
    ------
    ValueError
        For samples that are not finite, and for more codes than distinct samples.

    Examples
    --------
    >>> optimal_1d([0.0, 1.0, 10.0, 12.0, 20.0], 3)
    Optimum(codes=array([[ 0.5], [11. ], [20. ]]), distortion=0.5)
    """
    samples = check.array("optimal_1d", "samples", samples, "a list of numbers")
    samples = check.matrix("optimal_1d", "samples", samples[:, None] if samples.ndim == 1 else samples, columns=1)
    points, counts = np.unique(samples.astype(np.float64), return_counts=True)
    num_codes = _at_most_distinct("optimal_1d", num_codes, len(points), "samples")
    weights = counts.astype(np.float64)
    begins = best_partition(points, weights, num_codes, inward=False)
    sizes = np.diff(begins, append=len(points))
    offsets = points - np.repeat(points[begins], sizes)  # so that a far cell's mean keeps the digits of its width
    codes = points[begins] + np.add.reduceat(weights * offsets, begins) / np.add.reduceat(weights, begins)
    return Optimum(codes[:, None], float(weights @ (points - np.repeat(codes, sizes)) ** 2 / len(samples)))


def lloyd(latents: np.ndarray | Blocks, num_codes: int, restarts: int = 10, seed: int = 0) -> Optimum:
    """The best of several runs of Lloyd's algorithm from k-means++ starts (scikit-learn's KMeans).

    Each run goes on until no latent changes its cell. That is a centroidal codebook, and in
    general not the optimum: the distortion is an upper bound of the least one. `random_swap`
    is better, and takes longer.

    Latents that are read block by block and are more than 2^20 numbers and than 32 to a code stay where they are: the runs
    are on so many of them at random, and from the best one Lloyd's algorithm goes on over all latents, one pass over the
    files for each step, until a step gains less than one part in 10,000 or for 20 steps.

    Parameters
    ----------
    latents : float [N, D] or `vqtheory.streams.Latents`
    num_codes : int
        K, at most the number of distinct latents.
    restarts : int, default 10
    seed : int, default 0
        The same seed gives the same bits: the runs use one thread.

    Returns
    -------
    Optimum
        Codes [K, D] in lexicographic order, and the mean squared distance of the latents to
        them, by `vqtheory.assign.nearest`.

    Raises
    ------
    ValueError
        For latents that are not finite, and for more codes than distinct latents.

    Examples
    --------
    >>> import numpy as np
    >>> lloyd(np.array([[0.0, 0.0], [0.0, 1.0], [5.0, 5.0]]), 2)
    Optimum(codes=array([[0. , 0.5], [5. , 5. ]]), distortion=0.166...)
    """
    if isinstance(latents, Blocks):
        return _lloyd_of_blocks(latents, num_codes, restarts, seed)
    latents = check.matrix("lloyd", "latents", latents).astype(np.float64)
    num_codes = _at_most_distinct("lloyd", num_codes, len(np.unique(latents, axis=0)), "latents")
    restarts = check.integer("lloyd", "restarts", restarts)
    seeds = generator(check.integer("lloyd", "seed", seed, low=0), Purpose.START).integers(2**31, size=restarts)
    runs = [_lloyd_run("lloyd", latents, num_codes, int(one)) for one in seeds]
    return _in_order(min(runs, key=lambda run: run.distortion))


def _lloyd_of_blocks(latents: Blocks, num_codes: int, restarts: int, seed: int) -> Optimum:
    size = max(_SAMPLE // latents.dim, _PER_CODE * check.integer("lloyd", "num_codes", num_codes))
    sample = _sampled(latents, size, check.integer("lloyd", "seed", seed, low=0))
    start = lloyd(sample, num_codes, restarts, seed)
    if len(sample) == latents.num_rows:
        return start
    best = cells(latents, start.codes)
    for _ in range(_STEPS):
        further = cells(latents, best.centroids)
        gained, best = further.distortion < best.distortion * (1 - _GAIN), further
        if not gained:
            break
    return _in_order(Optimum(best.codes, best.distortion))


def _sampled(latents: Blocks, size: int, seed: int) -> np.ndarray:
    """About so many of the latents at random, or all of them, in one pass."""
    if size >= latents.num_rows:
        return np.concatenate(list(latents.blocks()))
    rows = np.unique(generator(seed, Purpose.START, 1).integers(latents.num_rows, size=size))
    picked, first = [], 0
    for block in latents.blocks():
        low, high = np.searchsorted(rows, (first, first + len(block)))
        picked.append(block[rows[low:high] - first])
        first += len(block)
    return np.concatenate(picked)


def random_swap(latents: np.ndarray, num_codes: int, swaps: int = 1000, seed: int = 0) -> Optimum:
    """The best codes found from one run of Lloyd's algorithm by many steps out of its local optimum.

    First single latents change their cell wherever that lowers the distortion, each code
    being the mean of its cell (Hartigan 1975). Then, `swaps` times, one code at random is
    put on one latent at random, exchanges follow, and the outcome is kept if it is better
    (Franti 2018).

    Best found, not exact: nothing proves that the distortion is the least one, and it is an
    upper bound of it. It is the published global minimum, to the last printed digit, for
    Fisher's iris data (scikit-learn's; the UCI repository's file differs in two rows) and for
    Ruspini's 75 points, K = 2 to 10, where the optima are proven (du Merle et al. 2000;
    Aloise et al. 2012). In one dimension `optimal_1d` is exact.

    Parameters
    ----------
    latents : float [N, D]
    num_codes : int
        K, at most the number of distinct latents.
    swaps : int, default 1000
        Each takes a few passes over all pairs of latents and codes. A swap that helps takes
        away a code that is not needed and puts it where one is, about one in K^2, so that
        large codebooks need more.
    seed : int, default 0
        The same seed gives the same bits.

    Returns
    -------
    Optimum
        As `lloyd`.

    Raises
    ------
    ValueError
        As `lloyd`.

    Examples
    --------
    The least sum of squares of iris in ten cells is 25.834055:

    >>> from sklearn.datasets import load_iris
    >>> iris = load_iris().data
    >>> [round(150 * search(iris, 10).distortion, 6) for search in (lloyd, random_swap)]
    [26.4..., 25.834055]
    """
    owner = "random_swap"
    latents = check.matrix(owner, "latents", latents).astype(np.float64)
    num_codes = _at_most_distinct(owner, num_codes, len(np.unique(latents, axis=0)), "latents")
    swaps, seed = check.integer(owner, "swaps", swaps, low=0), check.integer(owner, "seed", seed, low=0)
    random = generator(seed, Purpose.START)
    start = _lloyd_run(owner, latents, num_codes, int(random.integers(2**31)))
    return _in_order(swap(latents, start.codes, swaps, random))


def _in_order(optimum: Optimum) -> Optimum:
    return optimum._replace(codes=optimum.codes[np.lexsort(optimum.codes.T[::-1])])


def _lloyd_run(owner: str, latents: np.ndarray, num_codes: int, seed: int) -> Optimum:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    means = KMeans(num_codes, n_init=1, max_iter=100_000, tol=0, algorithm="lloyd", random_state=seed)
    with warnings.catch_warnings(), threadpool_limits(1):  # threads add up in the order in which they finish
        warnings.simplefilter("error", ConvergenceWarning)
        try:
            codes = means.fit(latents).cluster_centers_
        except ConvergenceWarning:
            requirement = "at most the number of latents that differ by more than rounding"
            raise check.fail(owner, "num_codes", requirement, num_codes) from None
    return Optimum(codes, float(np.mean(nearest(latents, codes)[1])))


def _at_most_distinct(owner: str, num_codes: int, distinct: int, name: str) -> int:
    num_codes = check.integer(owner, "num_codes", num_codes)
    if num_codes > distinct:
        raise check.fail(owner, "num_codes", f"at most {distinct}, the number of distinct {name}", num_codes)
    return num_codes
