"""Running the points of a sweep: each once, on any backend, and each outcome is written as soon as it arrives."""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import fields, is_dataclass
from typing import Any

from tqdm import tqdm

from vqtheory.simulation.run import Run, simulate
from vqtheory.sweeps.backends import Backend, stoppable
from vqtheory.sweeps.cluster import Cluster
from vqtheory.sweeps.grid import Outcome, Point, clear, finished, keep, plain
from vqtheory.sweeps.leases import Leases
from vqtheory.sweeps.machine import host_cpu

RESERVED = {"error", "host_cpu"}  # columns of the table of a sweep
SECONDS_BETWEEN_PROBES = 1.0  # for the results of other processes, at least
_REST = 9  # times as long as leases were asked for in vain: many points that wait cost a tenth of the time


def run(
    function: Callable[..., Any],
    points: Sequence[Point],
    by: dict[str, str],
    place: Backend,
    warm: Callable[[], Any] | None = None,
    bar: dict[str, Any] | None = None,
) -> list[Outcome]:
    """The outcomes of the points: from their files where `by` made them, else by running them."""
    for folder in {point.path.parent for point in points if point.path is not None}:
        clear(folder)
    outcomes = {i: outcome for i, point in enumerate(points) if (outcome := finished(by, point)) is not None}
    left, types = [i for i in range(len(points)) if i not in outcomes], cpus(outcomes.values())
    if len(left) > 1 and place.compiles_apart:
        _warm_up(function, [points[i].arguments for i in left], warm)
    options = {"total": len(points), "initial": len(outcomes), "delay": 2, "unit": " points"} | (bar or {})
    with (
        stoppable(),
        Leases() as leases,
        closing(_settled(function, points, left, by, place, leases)) as settled,
        tqdm(**options) as progress,
    ):
        for i, outcome in settled:
            _warn_of_mixture(outcome, types)
            types |= cpus([outcome])
            outcomes[i] = outcome
            if progress.update():  # it has been drawn
                progress.set_postfix(workers_of(place), refresh=False)
    return [outcomes[i] for i in range(len(points))]


def _settled(
    function: Callable[..., Any],
    points: Sequence[Point],
    left: list[int],
    by: dict[str, str],
    place: Backend,
    leases: Leases,
) -> Generator[tuple[int, Outcome]]:
    """Outcomes as they arrive: points that no other process is working on are run here, the others are waited for."""
    waiting = dict.fromkeys(left)
    while waiting:
        before, began = len(waiting), time.monotonic()
        results = place.map(_call, _taken(function, points, by, list(waiting), leases), _killed)
        for i, outcome in _to_the_end(results):
            _settle(points[i], outcome, by, leases)
            del waiting[i]
            yield i, outcome
        if len(waiting) == before:
            time.sleep(max(SECONDS_BETWEEN_PROBES, _REST * (time.monotonic() - began)))
        for i in _with_files(points, waiting):
            if (outcome := finished(by, points[i], quiet=True)) is not None:
                del waiting[i]
                yield i, outcome


def _with_files(points: Sequence[Point], waiting: Iterable[int]) -> list[int]:
    """The waiting points that have a file by now. Each folder is listed once, however many points wait."""
    paths = {i: path for i in waiting if (path := points[i].path) is not None}
    names = {folder: set(os.listdir(folder)) for folder in {path.parent for path in paths.values()} if folder.is_dir()}
    return [i for i, path in paths.items() if path.name in names.get(path.parent, ())]


def _taken(
    function: Callable[..., Any], points: Sequence[Point], by: dict[str, str], left: list[int], leases: Leases
) -> Iterator[tuple]:
    """The tasks of points that no other process is working on; each point is leased when its task is requested."""
    for i in left:
        path = points[i].path
        if path is not None:
            if not leases.take(path):
                continue
            if finished(by, points[i], quiet=True):  # meanwhile, by another process
                leases.give_back(path)
                continue
        yield i, function, points[i]


def _to_the_end(results: Iterator[Any]) -> Iterator[Any]:
    """The results; the backend is closed as soon as the caller stops early."""
    try:
        yield from results
    finally:
        if isinstance(results, Generator):
            results.close()


def _settle(point: Point, outcome: Outcome, by: dict[str, str], leases: Leases) -> None:
    """Write an outcome, or report its error; then other processes may take the point."""
    if outcome.error is not None:
        tqdm.write(f"A point failed: {_spoken(point)}: {outcome.error}", file=sys.stderr)
    if point.path is None:
        return
    if outcome.error is None:
        keep(point.path, {"about": by, "point": point.named, "rows": outcome.rows, "cpu": outcome.cpu})
    leases.give_back(point.path)


def _warn_of_mixture(outcome: Outcome, types: set[str]) -> None:
    """Warn once, when the first point arrives from a CPU of a second type."""
    if len(types) == 1 and outcome.cpu is not None and outcome.cpu not in types:
        warnings.warn(
            f"The points are run on CPUs of more than one type, {min(types)} and {outcome.cpu}: results of the two agree to "
            "rounding, not to the bit. The table of a sweep says which is from where in the column 'host_cpu'.",
            stacklevel=3,
        )


def workers_of(place: Backend) -> dict[str, int]:
    """For the bar: how many workers a cluster has now."""
    return {"workers": place.num_workers} if isinstance(place, Cluster) else {}


def cpus(outcomes: Iterable[Outcome]) -> set[str]:
    """The types of CPU that points were run on, as far as they are known."""
    return {outcome.cpu for outcome in outcomes if outcome.cpu is not None}


def _killed(index: int, *task: Any) -> tuple[int, Outcome]:
    """What becomes of a point whose process ends in the middle of it."""
    return index, Outcome([], "its process was killed, for want of memory or from outside")


def _call(index: int, function: Callable[..., Any], point: Point) -> tuple[int, Outcome]:
    """Run a point, in whichever process."""
    options = {"progress": False} if function is simulate else {}
    try:
        rows = json.loads(json.dumps(_rows(function(**options | point.arguments)), default=plain))
        _check_names(point, rows)
    except (Exception, SystemExit) as error:
        return index, Outcome([], f"{type(error).__name__}: {error}")
    return index, Outcome(rows, None, host_cpu())


def _rows(result: Any) -> list[dict[str, Any]]:
    if isinstance(result, Run):
        window = {"status": result.status, "used": int(result.used.sum()), "usage": result.usage}
        return [result.row | window]
    rows = [result] if isinstance(result, Mapping) else result
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(f"the function must return a dictionary, a list of dictionaries or a Run. Got {result!r}")
    return [dict(row) for row in rows]


def _check_names(point: Point, rows: list[dict[str, Any]]) -> None:
    """Refuse a result with a column that has the name of a parameter."""
    for row in rows:
        taken = [name for name in row if name in point.named and row[name] != point.named[name]]
        if taken or RESERVED & row.keys():
            raise ValueError(
                f"the function must not return {(taken or [*RESERVED & row.keys()])[0]!r}, the name of another column"
            )


def _warm_up(function: Callable[..., Any], calls: list[dict[str, Any]], warm: Callable[[], Any] | None) -> None:
    """Compile in this process what the others will need, so that they find it in the cache."""
    if warm is not None:
        warm()
    if function is not simulate:
        return
    for call in {_kernels_of(call): call for call in calls}.values():
        with suppress(Exception):  # the point itself will fail, and be reported
            simulate(**call | {"steps": 1, "records": 1, "save": None, "progress": False, "on_record": None})


def _kernels_of(call: dict[str, Any]) -> tuple:
    """What decides which kernels a run compiles: its kinds of rule and stream, the rule's options, the dtype."""
    rule, stream = call["rule"], call["stream"]
    options = [value for value in _fields(rule).values() if isinstance(value, (str, bool))]
    return type(rule), *options, type(stream), type(_fields(stream).get("source")), str(call.get("dtype"))


def _fields(value: Any) -> dict[str, Any]:
    """The fields of a dataclass; none of anything else."""
    return {field.name: getattr(value, field.name) for field in fields(value)} if is_dataclass(value) else {}


def _spoken(point: Point) -> str:
    return ", ".join(f"{name}={value}" for name, value in point.named.items())
