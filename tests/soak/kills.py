"""Kill simulate, train and sweep at random moments, go on, and compare what comes out with what was never stopped.

    python tests/soak/kills.py --seconds 600 simulate train sweep

Not run by CI. Every case is a program that begins or goes on with what is in its folder and, at its end, prints a digest of
all that it made. It is killed by SIGKILL after a random time, with all its processes, until the seconds are over.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAMS = {
    "simulate": """
import hashlib, sys, vqtheory as vq
from pathlib import Path
from vqtheory.simulation import run as module
module._SECONDS_BETWEEN_CHECKPOINTS = 0.0
folder = Path(sys.argv[1])
if (folder / "manifest.json").exists():
    run = vq.resume(folder, progress=False)
else:
    stream = vq.streams.Stream(vq.streams.Gaussian(dim=8), vq.streams.RandomWalk(1e-3))
    run = vq.simulate(vq.rules.TransVQ(width=16), stream, codes=32, steps=4000, batch_size=16, save=folder, progress=False)
print(hashlib.sha256(run.codes.tobytes() + run.hits.tobytes() + run.history.write_csv().encode()).hexdigest())
""",
    "train": """
import hashlib, sys
from pathlib import Path
from vqtheory.nn.training import loop, resume, train
loop._SECONDS_BETWEEN_CHECKPOINTS = 0.0
folder = Path(sys.argv[1])
if (folder / "manifest.json").exists():
    run = resume(folder, progress=False)
else:
    options = {"codes": 64, "dim": 8, "size": 16, "steps": 300, "records": 60, "replace_every": 25, "latents": (20, 60)}
    run = train(rule="ema", **options, save=folder, progress=False)
made = run.quantizer.codebook.numpy().tobytes() + run.history.write_csv().encode() + (folder / "latents.npy").read_bytes()
print(hashlib.sha256(made).hexdigest())
""",
    "sweep": """
import hashlib, sys, time, vqtheory as vq

def point(x, seed):
    time.sleep(0.02)
    return {"value": x / 3 + seed}

if __name__ == "__main__":
    table = vq.sweep(point, {"x": list(range(100))}, seeds=2, folder=sys.argv[1], jobs=2, progress=False)
    print(hashlib.sha256(table.write_csv().encode()).hexdigest())
""",
}


def begin(case: str, folder: Path) -> subprocess.Popen:
    """The program, in a process group of its own."""
    program = folder.parent / "program.py"
    program.write_text(PROGRAMS[case])
    command = [sys.executable, str(program), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def whole(case: str, place: Path) -> tuple[str, float]:
    """The digest of a program that is never stopped, and how long it takes."""
    started = time.monotonic()
    out, err = begin(case, place / "whole").communicate()
    if not out:
        raise SystemExit(f"{case} does not run: {err}")
    return out.strip(), time.monotonic() - started


def soak(case: str, seconds: float, seed: int) -> bool:
    """Kill and go on for so long; whether every program that came to its end made the same."""
    draw, place = random.Random(seed), Path(tempfile.mkdtemp())
    wanted, duration = whole(case, place)
    ends, kills, failures, until = 0, 0, [], time.monotonic() + seconds
    while time.monotonic() < until:
        process = begin(case, place / "killed")
        try:
            out, err = process.communicate(timeout=draw.uniform(0.2, 1.0) * duration)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            continue
        ends += 1
        if out.strip() != wanted:
            failures.append(err.strip().splitlines()[-1] if err else out.strip())
        shutil.rmtree(place / "killed")
    print(f"{case}: {kills} kills, {ends} ends, {len(failures)} of them not as if never stopped", *failures[:3], sep="\n  ")
    shutil.rmtree(place)
    return not failures


def main() -> None:
    """Soak the cases that are named."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", default=list(PROGRAMS), help=f"of {', '.join(PROGRAMS)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each case")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    results = [soak(case, arguments.seconds, arguments.seed) for case in arguments.cases]
    raise SystemExit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
