"""How long a sweep of equal points takes on Dask workers of this machine, beside the model of `docs/clusters.md`.

    python tests/soak/workers.py

Not run by CI. Points sleep, so that more workers than cores can be tried; what Dask does with them is not slept. Points that
take no time give the overhead of one, and the model has the rest.
"""

from __future__ import annotations

import time

from distributed import Client, LocalCluster

import vqtheory as vq

LENGTHS = (0.0, 0.01, 0.1, 1.0)  # seconds
WORKERS = (1, 2, 4, 8, 16, 32, 64)


def point(i: int, length: float) -> dict:
    time.sleep(length)
    return {}


def seconds(client: Client, number: int, length: float) -> float:
    """Of a sweep of so many points."""
    began = time.monotonic()
    grid = {"i": list(range(number)), "length": [length]}
    vq.sweep(point, grid, seeds=None, backend=client, progress=False)
    return time.monotonic() - began


def modelled(number: int, length: float, workers: int, overhead: float, serial: float) -> float:
    """n / W points one after the other on each worker, or n times what is done for a point in one place."""
    return max(number * (length + overhead) / workers, number * serial + length)


def main() -> None:
    overhead = serial = None
    print("workers  processes  points  length  seconds  model")
    for workers in WORKERS:
        processes = workers <= 2
        options = {"processes": processes, "dashboard_address": ":0", "silence_logs": 50}
        with LocalCluster(n_workers=workers, threads_per_worker=1, **options) as cluster, Client(cluster) as client:
            seconds(client, 8 * workers, 0.0)  # imports
            for length in LENGTHS:
                number = 400 if length == 0 else max(4 * workers, min(400, round(5 * workers / length)))
                took = seconds(client, number, length)
                if length == 0 and workers == 1:
                    overhead = took / number
                if length == 0 and workers == 2:
                    serial = took / number
                model = modelled(number, length, workers, overhead, serial or overhead / 2)
                print(f"{workers:7} {processes!s:>10} {number:7} {length:7.3f} {took:8.2f} {model:6.2f}", flush=True)


if __name__ == "__main__":
    main()
