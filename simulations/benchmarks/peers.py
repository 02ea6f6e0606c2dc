"""What the simulator is compared with."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans

import vqtheory as vq
from vqtheory.assign import nearest


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


class Clustering(NamedTuple):
    """A k-means of some passes over latents x [N, D]: the codes that it ends with, and the code of each latent by it."""

    fit: Callable[[], np.ndarray]
    labels: Callable[[np.ndarray], np.ndarray]


def lloyd(x: np.ndarray, codes: np.ndarray, passes: int) -> Clustering:
    """Ours: Lloyd's algorithm, each pass an assignment and the means of the cells."""

    def fit() -> np.ndarray:
        means = codes
        for _ in range(passes):
            means = vq.measure.cells(x, means).centroids.astype(x.dtype)
        return means

    return Clustering(fit, lambda means: nearest(x, means)[0])


def macqueen(x: np.ndarray, codes: np.ndarray, passes: int) -> Clustering:
    """Ours: MacQueen's rule, one latent after the other, each code at the mean of what it has won."""
    rule = vq.rules.VQ(vq.schedules.harmonic(1.0), clock="wins")

    def fit() -> np.ndarray:
        state = rule.init(codes, seed=0)
        for _ in range(passes):
            state, _ = rule.advance(state, vq.Batches(x[:, None]))
        return state.codes

    return Clustering(fit, lambda means: nearest(x, means)[0])


def scikit_learn(x: np.ndarray, codes: np.ndarray, passes: int) -> Clustering:
    """scikit-learn's Lloyd, which assigns all latents once more at its end."""
    means = KMeans(len(codes), init=codes, n_init=1, max_iter=passes, tol=0, algorithm="lloyd")

    def fit() -> np.ndarray:
        with warnings.catch_warnings(action="ignore"):  # of too few passes
            return means.fit(x).cluster_centers_

    return Clustering(fit, lambda _: means.predict(x))


def faiss_kmeans(x: np.ndarray, codes: np.ndarray, passes: int) -> Clustering:
    """faiss-cpu's, on one thread."""
    with warnings.catch_warnings(action="ignore"):  # SWIG's own
        import faiss

    faiss.omp_set_num_threads(1)
    num_codes, dim = codes.shape
    means = faiss.Kmeans(dim, num_codes, niter=passes, min_points_per_centroid=1, max_points_per_centroid=len(x))

    def fit() -> np.ndarray:
        means.train(x, init_centroids=codes)
        return np.asarray(means.centroids)

    return Clustering(fit, lambda _: means.assign(x)[1])


def super_kmeans(x: np.ndarray, codes: np.ndarray, passes: int) -> Clustering:
    """SuperKMeans without its subsampling, on one thread. It draws its own first codes, and prunes assignments."""
    from superkmeans import SuperKMeans

    options = {"iters": passes, "hierarchical": False, "sampling_fraction": 1.0, "max_points_per_cluster": len(x)}
    trained: list[SuperKMeans] = []  # the last one, which knows its latents

    def fit() -> np.ndarray:
        means = SuperKMeans(*codes.shape, n_threads=1, early_termination=False, **options)
        trained[:] = [means]
        return means.train(x)

    return Clustering(fit, lambda means: trained[0].assign_training_points(x, np.ascontiguousarray(means)))


CLUSTERINGS: dict[str, Callable[[np.ndarray, np.ndarray, int], Clustering]] = {
    "ours, Lloyd": lloyd,
    "ours, MacQueen": macqueen,
    "scikit-learn": scikit_learn,
    "faiss": faiss_kmeans,
    "SuperKMeans": super_kmeans,
}
