"""The best partition of weighted points on a line into cells, by dynamic programming.

A cell of an optimal 1-D quantizer is an interval, so the least cost D(k, j) of covering
the first j points with k cells obeys

    D(k, j) = min over i of  D(k-1, i) + w(i, j)

with w the scatter of points i..j-1 about their mean, which running sums give in O(1) (Wu
1991). Since w is a Monge cost the minimising i does not fall as j rises; halving the range
of j from that costs O(N log N) per cell (Gronlund et al., arXiv 1701.07204).
"""

from __future__ import annotations

import numpy as np

from vqtheory._kernels.jit import inlined_kernel, kernel


def best_partition(points: np.ndarray, weights: np.ndarray, num_cells: int, *, inward: bool) -> np.ndarray:
    """Where each of the cells [num_cells] begins that minimise sum of weights * (points - cell's mean)^2.

    `points` [N] are distinct and ascending, `weights` [N] positive, N >= num_cells. Among
    partitions of equal cost the one with the lowest borders is taken. Sums that run inward,
    from both ends to the median, keep tails of tiny weight; sums that run outward keep the
    bulk from the squares of outliers. Needs 4 N num_cells bytes.
    """
    middle = len(points) // 2
    centred = points - points[middle]
    sums = np.stack([_running_sum(weights * centred**power, middle, inward) for power in range(3)])
    whole = np.array([np.sum(weights * centred**power) for power in range(3)]) * inward
    first = np.empty((num_cells, len(points) + 1), np.int32)
    _solve(sums, whole, middle, first)
    begins = np.empty(num_cells, np.int64)
    end = len(points)
    for k in reversed(range(num_cells)):
        begins[k] = end = first[k, end]
    return begins


def _running_sum(values: np.ndarray, middle: int, inward: bool) -> np.ndarray:
    """S [N+1] with S[j] - S[i] = sum of values[i:j], on either side of the middle.

    Outward S[middle] = 0 and this also holds across the middle. Inward S[0] = S[N] = 0, and
    across the middle the sum of all values is to be added.
    """
    below, above = values[:middle], values[middle:]
    if inward:
        return np.concatenate([[0.0], np.cumsum(below), -np.cumsum(above[::-1])[::-1][1:], [0.0]])
    return np.concatenate([-np.cumsum(below[::-1])[::-1], [0.0], np.cumsum(above)])


@inlined_kernel
def _scatter(sums, whole, middle, i, j):
    """sum w (x - mean)^2 over the points i..j-1."""
    across = 1.0 if i <= middle < j else 0.0
    mass = sums[0, j] - sums[0, i] + across * whole[0]
    moment = sums[1, j] - sums[1, i] + across * whole[1]
    return sums[2, j] - sums[2, i] + across * whole[2] - moment * moment / mass


@kernel
def _solve(sums, whole, middle, first):
    """OUT first [K, N+1]: where cell k begins if cells 0..k cover the first j points.

    IN sums [3, N+1] of w, wx, wxx; whole [3] to be added to them across the middle.
    """
    num_cells, ends = first.shape
    cost, previous = np.zeros(ends), np.zeros(ends)
    for j in range(1, ends):
        first[0, j] = 0
        cost[j] = _scatter(sums, whole, middle, 0, j)
    for k in range(1, num_cells):
        cost, previous = previous, cost
        # Every cell holds a point, so j = k + r with r from 1 to size. The r at odd multiples of a stride lie
        # between two at even multiples, whose minimisers, found at the stride before, bound theirs.
        size = ends - 1 - k
        stride = 1
        while 2 * stride <= size:
            stride *= 2
        while stride >= 1:
            for r in range(stride, size + 1, 2 * stride):
                j = r + k
                low = first[k, j - stride] if r > stride else k
                high = min(first[k, j + stride], j - 1) if r + stride <= size else j - 1
                best, where = np.inf, low
                for i in range(low, high + 1):
                    total = previous[i] + _scatter(sums, whole, middle, i, j)
                    if total < best:
                        best, where = total, i
                cost[j] = best
                first[k, j] = where
            stride //= 2
