"""What the simulator is compared with."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
from sklearn.cluster import MiniBatchKMeans


@numba.njit
def _loop(x, codes, rate):
    """Online k-means, one sample and one code after the other."""
    for sample in x:
        best, closest = 0, np.inf
        for k in range(len(codes)):
            distance = x.dtype.type(0)
            for d in range(len(sample)):
                difference = sample[d] - codes[k, d]
                distance += difference * difference
            if distance < closest:
                best, closest = k, distance
        for d in range(len(sample)):
            codes[best, d] += rate * (sample[d] - codes[best, d])


def compiled_loop(x: np.ndarray, codes: np.ndarray) -> Callable[[], int]:
    """The plain loop, compiled by numba: latents x [N, D]."""
    codes, rate = codes.copy(), x.dtype.type(0.05)

    def run() -> int:
        _loop(x, codes, rate)
        return len(x)

    return run


def numpy_loop(x: np.ndarray, codes: np.ndarray) -> Callable[[], int]:
    """The same in NumPy, one sample after the other."""
    codes = codes.copy()

    def run() -> int:
        for sample in x:
            k = np.argmin(((codes - sample) ** 2).sum(axis=1))
            codes[k] += 0.05 * (sample - codes[k])
        return len(x)

    return run


def mini_batches(x: np.ndarray, codes: np.ndarray) -> Callable[[], int]:
    """scikit-learn's `partial_fit` in batches of max(1024, K): not sequential in the samples."""
    size = max(1024, len(codes))
    batches = x[: len(x) // size * size].reshape(-1, size, x.shape[1])
    means = MiniBatchKMeans(len(codes), init=codes, n_init=1, reassignment_ratio=0)

    def run() -> int:
        for batch in batches:
            means.partial_fit(batch)
        return batches.shape[0] * size

    return run
