"""How long a new process takes to import the package, and to finish a first small run, kernels being on disk."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from simulations.benchmarks.timing import REPETITIONS, elsewhere

_CLOCK = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"
CASES = {
    "import vqtheory": "import vqtheory",
    "first simulate": "import vqtheory as vq; vq.simulate(vq.rules.VQ(), vq.streams.Stream(vq.streams.Uniform(dim=1)), "
    "codes=16, steps=1000, progress=False)",
    "first MiniBatchKMeans": "import numpy as np; from sklearn.cluster import MiniBatchKMeans; "
    "MiniBatchKMeans(16, n_init=1).fit(np.random.default_rng(0).random((1000, 1)))",
}


def start() -> Iterator[dict]:
    """Medians of several processes; one before them fills the caches."""
    for case, statements in CASES.items():
        call = _CLOCK.format(statements)
        elsewhere(call)
        yield {"section": "start", "case": case, "seconds": median(elsewhere(call) for _ in range(REPETITIONS))}
