"""`python -m simulations.benchmarks`: speed, as a ratio to a named peer in the same process and run.

Each figure is the median of several repetitions, taken in turn with the peer's, on one thread.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import polars as pl
from sklearn.cluster import MiniBatchKMeans
from threadpoolctl import threadpool_limits

import vqtheory as vq
from vqtheory.rules import VQ
from vqtheory.streams import Stream, Translation, Uniform

REPETITIONS = 7
SHAPES = ((16, 2), (64, 16), (256, 8))  # K, D


def main() -> None:
    """Print millions of samples per second for each shape, and the ratios to the peers."""
    with threadpool_limits(1):
        rows = [measure(num_codes, dim) for num_codes, dim in SHAPES]
    with pl.Config(tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, tbl_cols=-1, tbl_width_chars=160):
        print(
            f"Million samples per second on one thread, {platform.processor() or platform.machine()}, float64, medians of 7."
        )
        print(pl.DataFrame(rows))


def measure(num_codes: int, dim: int) -> dict[str, float | int]:
    """One row: our rates, the peers', and the ratios."""
    samples = min(2_000_000, 2**28 // (num_codes * dim))
    competitors = {
        "advance": online(num_codes, dim, samples),
        "simulate": whole_runs(num_codes, dim, 10 * samples),
        "scikit-learn": mini_batches(num_codes, dim, samples // 4),
        "NumPy loop": numpy_loop(num_codes, dim, 20_000),
    }
    for run in competitors.values():
        run()  # compiles
    rates: dict[str, list[float]] = {name: [] for name in competitors}
    for _ in range(REPETITIONS):
        for name, run in competitors.items():
            began = time.perf_counter()
            rates[name].append(run() / (time.perf_counter() - began) / 1e6)
    row = {name: round(median(rate), 3) for name, rate in rates.items()}
    ratios = {f"advance / {peer}": round(row["advance"] / row[peer], 1) for peer in ("scikit-learn", "NumPy loop")}
    return {"K": num_codes, "D": dim} | row | ratios


def online(num_codes: int, dim: int, samples: int) -> Callable[[], int]:
    """`VQ.advance` alone: one sample per update, latents at hand."""
    random = np.random.default_rng(0)
    rule, batches = VQ(0.05), vq.Batches(random.random((samples, 1, dim)))
    state = rule.init(random.random((num_codes, dim)))

    def run() -> int:
        rule.advance(state, batches)
        return samples

    return run


def whole_runs(num_codes: int, dim: int, samples: int) -> Callable[[], int]:
    """`simulate` end to end: drawing the latents, records and measurements included."""
    stream = Stream(Uniform(dim), Translation(1e-6))

    def run() -> int:
        vq.simulate(VQ(0.05), stream, codes=num_codes, steps=samples, progress=False)
        return samples

    return run


def mini_batches(num_codes: int, dim: int, samples: int) -> Callable[[], int]:
    """scikit-learn's online k-means in the batches it likes, max(1024, K): not sequential in the samples."""
    size = max(1024, num_codes)
    x = np.random.default_rng(0).random((samples // size, size, dim))
    means = MiniBatchKMeans(num_codes, init="random", n_init=1, random_state=0, reassignment_ratio=0)

    def run() -> int:
        for batch in x:
            means.partial_fit(batch)
        return x.shape[0] * size

    return run


def numpy_loop(num_codes: int, dim: int, samples: int) -> Callable[[], int]:
    """The same sequential rule in a NumPy loop."""
    random = np.random.default_rng(0)
    x, codes = random.random((samples, dim)), random.random((num_codes, dim))

    def run() -> int:
        for sample in x:
            k = np.argmin(((codes - sample) ** 2).sum(axis=1))
            codes[k] += 0.05 * (sample - codes[k])
        return samples

    return run


if __name__ == "__main__":
    main()
