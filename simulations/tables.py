"""Tables: made once, kept as parquet with the record of how they were made, and read back."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path

import polars as pl
from joblib import Parallel, delayed
from tqdm import tqdm

from simulations import STUDIES

RESULTS = Path("results")
DATA = Path(__file__).parents[1] / "paper_figures" / "data"


def path_of(name: str, fast: bool, results: Path = RESULTS) -> Path:
    """Where the table of an experiment lies."""
    return DATA / f"{name}.parquet" if name in STUDIES else results / ("fast" if fast else "full") / f"{name}.parquet"


def table(name: str, fast: bool = False, results: Path = RESULTS, anew: bool = False) -> pl.DataFrame:
    """The table of an experiment; its simulations are run if it is not there yet. The table of a study is bundled."""
    path = path_of(name, fast, results)
    if name in STUDIES and not path.is_file():
        raise SystemExit(f"{path} is missing; {STUDIES[name]} makes it.")
    if name not in STUDIES and (anew or not path.is_file()):
        began = time.monotonic()
        frame = importlib.import_module(f"simulations.{name}").run(fast)
        write(path, frame, time.monotonic() - began)
    try:
        return pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise SystemExit(f"{path} is damaged ({error}); delete it to have it made again.") from None


def write(path: Path, frame: pl.DataFrame, seconds: float, also: tuple[str, ...] = ()) -> None:
    """Write a table with its record, under a temporary name that is then renamed; `also` names further packages."""
    packages = {name: version(name) for name in ("vqtheory", "numpy", "numba", "scipy", *also)}
    command = ["python", "-m", Path(sys.argv[0]).parent.name, *sys.argv[1:]]
    record = {"command": " ".join(command), "seconds": f"{seconds:.1f}", "python": platform.python_version(), **packages}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    frame.write_parquet(beside, metadata=record)
    beside.replace(path)


def run_all(function: Callable[..., list[dict]], tasks: Iterable[tuple], what: str) -> pl.DataFrame:
    """The rows of `function` for all tasks, on all cores, in the order of the tasks."""
    tasks = list(tasks)
    parts = Parallel(n_jobs=-1, return_as="generator")(delayed(function)(*task) for task in tasks)
    rows = [row for part in tqdm(parts, total=len(tasks), desc=what, unit=" runs") for row in part]
    return pl.DataFrame(rows, infer_schema_length=None)
