"""Rates and seconds of competitors that take turns, and the memory of a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

REPETITIONS = 7
SIDE = 2048  # of the matrices whose product is the machine's own rate


def rates(competitors: dict[str, Callable[[], int]], repetitions: int | None = None) -> dict[str, float]:
    """Samples per second of each, medians of several turns; a first turn that compiles is not counted."""
    for run in competitors.values():
        run()
    turns: dict[str, list[float]] = {name: [] for name in competitors}
    for _ in range(repetitions or REPETITIONS):
        for name, run in competitors.items():
            began = time.perf_counter()
            samples = run()
            turns[name].append(samples / (time.perf_counter() - began))
    return {name: median(values) for name, values in turns.items()}


def product() -> Callable[[], int]:
    """A product of two matrices in float32, as one of 2 SIDE^3 operations."""
    random = np.random.default_rng(0)
    a, b = (random.standard_normal((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)

    def run() -> int:
        np.matmul(a, b, out=out)
        return 2 * SIDE**3

    return run


def elsewhere(call: str) -> float:
    """The number that a call prints in a process of its own: peak memory is one of a whole process."""
    done = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{call} failed: {done.stderr.strip().splitlines()[-1]}")
    return float(done.stdout.split()[-1])


def added_memory(run: Callable[[], object]) -> int:
    """The most that a call adds to what this process has in memory, bytes; as Linux counts it."""
    Path("/proc/self/clear_refs").write_text("5")  # from here on the high-water mark counts anew
    before = _status("VmRSS")
    run()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])
