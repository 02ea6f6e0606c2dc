"""Time and memory of large codebooks: 2^10 to 2^18 codes in 256 dimensions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import product
from statistics import median

import numpy as np
from threadpoolctl import threadpool_limits

import vqtheory as vq
from simulations.benchmarks.timing import added_memory, elsewhere
from vqtheory.protocols import Rule, State
from vqtheory.rules import EMA, NSVQ, VQ

DIM, SIZES = 256, tuple(2**power for power in (10, 12, 14, 16, 18))
CASES: dict[str, tuple[Rule, int]] = {
    "VQ, one sample per update": (VQ(), 1),
    "VQ, 1,024 samples per update": (VQ(), 1024),
    "EMA, 1,024 samples per update": (EMA(), 1024),
    "NSVQ, one sample per update": (NSVQ(bandwidth=0.5), 1),
}
WORK = 2**34  # products of a latent's coordinate and a code's in a call of `advance`


def scale() -> Iterator[dict]:
    """A row for each rule and number of codes: microseconds per sample, and memory in units of the codebook's."""
    for (case, (_, size)), num_codes in product(CASES.items(), SIZES):
        call = f"from simulations.benchmarks import scale; print(scale.{{}}({case!r}, {num_codes}))"
        task = {"section": "scale", "case": case, "codes": num_codes, "dim": DIM, "batch": size}
        seconds, memory = elsewhere(call.format("seconds")), elsewhere(call.format("memory"))
        yield task | {"microseconds": 1e6 * seconds, "codebooks": memory / (4 * num_codes * DIM), "megabytes": memory / 1e6}


def prepared(case: str, num_codes: int) -> tuple[Rule, State, vq.Batches]:
    """A rule, its state, and batches for one call."""
    rule, size = CASES[case]
    random = np.random.default_rng(0)
    steps = max(1, min(4096, WORK // (num_codes * DIM)) // size)
    codes = random.random((num_codes, DIM), dtype=np.float32)
    return rule, rule.init(codes, seed=0), vq.Batches(random.random((steps, size, DIM), dtype=np.float32))


def seconds(case: str, num_codes: int) -> float:
    """Per sample, the median of several calls on one thread."""
    rule, state, batches = prepared(case, num_codes)
    times = []
    with threadpool_limits(1):
        for _ in range(4):
            began = time.perf_counter()
            rule.advance(state, batches)
            times.append(time.perf_counter() - began)
    return median(times[1:]) / (batches.x.shape[0] * batches.x.shape[1])


def memory(case: str, num_codes: int) -> float:
    """The most that a call has beside the state and the latents that it is given, the new codes included, bytes."""
    rule, state, batches = prepared(case, 1024)
    rule.advance(state, batches)  # compiles, and loads what products need
    rule, state, batches = prepared(case, num_codes)
    return added_memory(lambda: rule.advance(state, batches))
