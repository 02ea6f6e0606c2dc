"""k-means over latents at hand beside faiss-cpu's, SuperKMeans and scikit-learn's: the same latents, as many passes.

All but SuperKMeans begin at the same codes, some of the latents. `agreement` is the share of latents that are given the
code that is nearest by the direct distance: a pruned assignment may be another one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from statistics import median

import numpy as np
from threadpoolctl import threadpool_limits

from simulations.benchmarks.peers import CLUSTERINGS, Clustering
from vqtheory.assign import nearest

SHAPES = ((1024, 64), (8192, 64), (65536, 64), (8192, 256))  # K, D
PER_CODE, PASSES = 4, 2
LONG = 20  # seconds of one run, above which it is not repeated
PEER = "ours, Lloyd"


def latents(num_codes: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Latents [4 K, D] in float32 whose variances fall as 1 / d, and codes [K, D] among them."""
    random = np.random.default_rng(0)
    x = random.standard_normal((PER_CODE * num_codes, dim), dtype=np.float32)
    x /= np.sqrt(np.arange(1, dim + 1, dtype=np.float32))
    return x, x[random.permutation(len(x))[:num_codes]].copy()


def kmeans() -> Iterator[dict]:
    """A row for each shape and program: seconds on one thread, distortion, and how many latents have their nearest code."""
    with threadpool_limits(1):
        for num_codes, dim in SHAPES:
            x, codes = latents(num_codes, dim)
            ours = 0.0
            for name, program in CLUSTERINGS.items():
                taken, means, labels = timed(program(x, codes, PASSES))
                ours = taken if name == PEER else ours
                best, distances = nearest(x, means)
                task = {"section": "kmeans", "case": name, "codes": num_codes, "dim": dim, "batch": len(x)}
                result = {"distortion": float(distances.mean(dtype=float)), "agreement": float((labels == best).mean())}
                yield task | {"seconds": taken, "ratio": taken / ours} | result


def timed(program: Clustering) -> tuple[float, np.ndarray, np.ndarray]:
    """Seconds of a run, the median of three where it is short; the codes, and the latents' labels by the program."""
    times: list[float] = []
    while len(times) < 4 and max(times, default=0) < LONG:
        began = time.perf_counter()
        means = program.fit()
        times.append(time.perf_counter() - began)
    return median(times[1:] or times), means, program.labels(means)
