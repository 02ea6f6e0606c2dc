"""What the simulator is compared with."""

from __future__ import annotations

from collections.abc import Callable

import numba
import numpy as np
from sklearn.cluster import MiniBatchKMeans


@numba.njit
def _loop(x, codes_t, rate):
    """Online k-means, one sample after the other; the sum over the dimensions runs for all codes [D, K] side by side."""
    dim, num_codes = codes_t.shape
    distances = np.empty(num_codes, x.dtype)
    for sample in x:
        distances[:] = 0
        for d in range(dim):
            for k in range(num_codes):
                difference = sample[d] - codes_t[d, k]
                distances[k] += difference * difference
        best = 0
        for k in range(1, num_codes):
            if distances[k] < distances[best]:
                best = k
        for d in range(dim):
            codes_t[d, best] += rate * (sample[d] - codes_t[d, best])


def compiled_loop(x: np.ndarray, codes: np.ndarray) -> Callable[[], int]:
    """The plain loop, compiled by numba into vector instructions: latents x [N, D]."""
    codes_t, rate = codes.T.copy(), x.dtype.type(0.05)

    def run() -> int:
        _loop(x, codes_t, rate)
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
