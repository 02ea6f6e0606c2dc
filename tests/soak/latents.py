"""Latents that are larger than memory: what is done with a file of them, and how much memory it takes.

    python tests/soak/latents.py --mib 8192

Not run by CI at this size. Writes latents of 64 dimensions in shards of .npy files, and prints for each thing done with them
how many seconds it takes, and the most anonymous memory above what the imports and a run on small data have taken: RssAnon
of /proc/self/status, sampled every few milliseconds. Pages of mapped files are not in it: the system takes them back.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import vqtheory as vq
from vqtheory import measure, reference
from vqtheory.reference import optimal
from vqtheory.streams import Latents, Recorded, Stream

DIM, PIECE = 64, 2**14  # rows written at a time, and of a frame
SHARDS = 4
CODES = np.random.default_rng(1).normal(size=(4, DIM))


def anonymous() -> float:
    """MiB of memory that no file is behind."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


def highest(act: Callable[[], object]) -> tuple[float, float]:
    """The most memory while it runs, and how many seconds that takes."""
    over, seen = threading.Event(), [anonymous()]

    def watch() -> None:
        while not over.wait(0.003):
            seen.append(anonymous())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    try:
        act()
    finally:
        over.set()
        watcher.join()
    return max(*seen, anonymous()), time.monotonic() - started


def write(folder: Path, mib: int) -> None:
    """Frames [time, 2^14, 64] in float32, of a cloud that drifts."""
    frames = mib * 2**20 // (4 * DIM * PIECE)
    cloud = np.random.default_rng(0).normal(size=(PIECE, DIM)).astype(np.float32)
    for shard, times in enumerate(np.array_split(np.arange(frames), SHARDS)):
        file = np.lib.format.open_memmap(folder / f"{shard}.npy", "w+", np.float32, (len(times), PIECE, DIM))
        for place, frame in enumerate(times.tolist()):
            file[place] = cloud + np.float32(1e-3 * frame)
        file.flush()


def as_rows(folder: Path, rows: Path) -> None:
    """The same numbers as rows [N, 64]: another header before the same bytes."""
    for path in sorted(folder.iterdir()):
        frames = np.load(path, mmap_mode="r")
        with open(rows / path.name, "wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": (len(frames) * PIECE, DIM)}
            np.lib.format.write_array_header_1_0(file, header)
            for frame in frames:
                file.write(frame.tobytes())


def tasks(rows: Latents, recorded: Recorded, steps: int) -> dict[str, Callable[[], object]]:
    """What is done, by name."""
    rule = vq.rules.VQ(step_size=0.05)
    run = {"codes": CODES, "steps": steps, "batch_size": 64, "records": 1, "progress": False}
    return {
        "simulate": lambda: vq.simulate(rule, Stream(rows), **run),
        "simulate a recording": lambda: vq.simulate(rule, recorded, **run),
        "distortion": lambda: measure.distortion(rows, CODES),
        "lloyd": lambda: reference.lloyd(rows, len(CODES), restarts=1),
        "diagnose": lambda: str(vq.diagnose(recorded, CODES, rule=rule).forecast),
    }


def main() -> None:
    """Write the files, do everything with a small array and then with the files, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--steps", type=int, default=2000, help="of a run")
    parser.add_argument("--lloyd-steps", type=int, default=optimal._STEPS, help="over all latents")
    parser.add_argument("--folder", type=Path, help="where the files are written; removed at the end")
    arguments = parser.parse_args()
    optimal._STEPS = arguments.lloyd_steps
    small = np.random.default_rng(0).normal(size=(8, 256, DIM)).astype(np.float32)
    for act in tasks(Latents(small.reshape(-1, DIM), block=512), Recorded(small, every=250), 2000).values():
        act()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as place:
        frames, rows = Path(place) / "frames", Path(place) / "rows"
        frames.mkdir()
        rows.mkdir()
        write(frames, arguments.mib)
        as_rows(frames, rows)
        before, results = anonymous(), {}
        for name, act in tasks(Latents(rows), Recorded(frames, every=250), arguments.steps).items():
            most, seconds = highest(act)
            results[name] = {"mib": round(most - before, 1), "seconds": round(seconds, 1)}
    print(json.dumps(results))


if __name__ == "__main__":
    with threadpool_limits(1):  # threads of a busy machine wait for each other
        main()
