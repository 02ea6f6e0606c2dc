"""Tables: made once, kept as parquet with the record of how they were made, and read back."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl

from simulations import STUDIES
from simulations.identity import Unchanged, digest
from vqtheory.sweeps import Backend
from vqtheory.sweeps.grid import Point, path_of_point
from vqtheory.sweeps.machine import versions
from vqtheory.sweeps.places import check_sent, place_of
from vqtheory.sweeps.running import run

RESULTS = Path("results")
PICTURED = ("matplotlib", "pillow")  # which bring and read the photograph of the patches
DATA = Path(__file__).parents[1] / "paper_figures" / "data"
_running: ContextVar[tuple[Path | None, Backend | None]] = ContextVar("_running", default=(None, None))


def path_of(name: str, fast: bool, results: Path = RESULTS) -> Path:
    """Where the table of an experiment lies."""
    return DATA / f"{name}.parquet" if name in STUDIES else results / ("fast" if fast else "full") / f"{name}.parquet"


def table(
    name: str, fast: bool = False, results: Path = RESULTS, anew: bool = False, backend: Backend | None = None
) -> pl.DataFrame:
    """The table of an experiment; its simulations are run if it is not there yet. The table of a study is bundled.

    Finished runs are kept beside the table, in NAME.points: a table that was stopped, or is deleted, is made from them and
    from the runs that are missing or would now be others. With `anew` they are deleted, and everything is run.
    """
    path = path_of(name, fast, results)
    if name in STUDIES and not path.is_file():
        raise SystemExit(f"{path} is missing; {STUDIES[name]} makes it.")
    if name not in STUDIES and (anew or not path.is_file()):
        began, points = time.monotonic(), path.with_suffix(".points")
        if anew:
            shutil.rmtree(points, ignore_errors=True)
        with kept(points, backend):
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


@contextmanager
def kept(folder: Path, backend: Backend | None = None) -> Iterator[None]:
    """Let `run_all` keep its runs in a folder, and run them there."""
    token = _running.set((folder, backend))
    try:
        yield
    finally:
        _running.reset(token)


def run_all(function: Callable[..., list[dict]], tasks: Iterable[tuple], what: str) -> pl.DataFrame:
    """The rows of `function` for all tasks, on all cores or on a cluster, in the order of the tasks.

    Runs that are finished are kept, under `what`, by all that decides their rows: the arguments, the function with the
    settings and helpers that its code names, the versions of packages. A rule is an argument, so that one more rule is
    one more run.
    """
    folder, backend = _running.get()
    points = [_point(function, task, None if folder is None else folder / what) for task in tasks]
    call = Unchanged(function, digest(function))
    by = {"function": what, "code": call.code, **versions(), **{name: version(name) for name in PICTURED}}
    order = _kinds_first(points)
    with place_of("run_all", backend) as place:
        check_sent("run_all", place, call, [point.arguments for point in points], ("function", "tasks"))
        ran = run(call, [points[i] for i in order], by, place, bar={"desc": what, "unit": " runs", "delay": 0})
    outcomes = [outcome for _, outcome in sorted(zip(order, ran, strict=True), key=lambda pair: pair[0])]
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    if errors:
        raise RuntimeError(f"{len(errors)} of {len(outcomes)} runs of {what} failed, the first by {errors[0]}")
    return pl.DataFrame([row for outcome in outcomes for row in outcome.rows], infer_schema_length=None)


def _kinds_first(points: list[Point]) -> list[int]:
    """The order in which runs begin: one of each kind first, so that processes do not compile the same at the same time."""
    first = {_kind(point): i for i, point in reversed(list(enumerate(points)))}
    return sorted(range(len(points)), key=lambda i: (first[_kind(points[i])] != i, i))


def _kind(point: Point) -> str:
    """What a run compiles: the types of its rule and of whatever else is no number or name, and their options by name."""
    rules = [value for value in point.arguments.values() if dataclasses.is_dataclass(value)]
    options = [[one for one in vars(rule).values() if isinstance(one, (str, bool))] for rule in rules]
    return repr([[type(rule).__qualname__ for rule in rules], options])


def _point(function: Callable[..., Any], task: tuple, folder: Path | None) -> Point:
    arguments = inspect.signature(function).bind(*task).arguments
    named = {name: value if _is_plain(value) else digest(value) for name, value in arguments.items()}
    return Point(arguments, named, None if folder is None else path_of_point(folder, named))


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))
