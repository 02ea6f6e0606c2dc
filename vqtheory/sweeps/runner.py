"""Running a grid: every point once, in whichever process, and one table of what came out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from vqtheory._base import check
from vqtheory.simulation.run import Run, simulate

if TYPE_CHECKING:
    import polars as pl
from vqtheory.sweeps.backends import Backend, Joblib, ThisProcess, stoppable
from vqtheory.sweeps.grid import Outcome, Point, clear, finished, keep, plain, points_of, provenance


def sweep(
    function: Callable[..., Any],
    grid: Mapping[str, Sequence[Any]] | Iterable[Mapping[str, Any]],
    *,
    seeds: int | Iterable[int] | None = 1,
    folder: str | Path | None = None,
    jobs: int = -1,
    backend: Backend | None = None,
    warm: Callable[[], Any] | None = None,
    progress: bool = True,
) -> pl.DataFrame:
    """Call a function at every point of a grid, for every seed, on all cores.

    Parameters
    ----------
    function : callable
        Called as ``function(**configuration, seed=seed)``: `simulate`, or a function of yours that returns
        a dictionary, a list of dictionaries (one row each), or a `Run`, which becomes one row: its status,
        usage, and the last row of its history.
    grid : mapping of sequences, or iterable of mappings
        ``{"codes": [16, 64], "steps": [1000]}`` stands for all combinations, the last name fastest;
        a list of configurations for just these.
    seeds : int or iterable of int or None, default 1
        How many, or which; None for a function without a parameter `seed`.
    folder : path, optional
        Where finished points are kept, one file each. A sweep that is run again with the same folder, after
        a kill or with a larger grid, calls the function only at the points that are not there. Points that were
        finished by another version of this package, or before a change of the file that holds the function,
        are done again; changes elsewhere are not noticed, and a reason to delete the folder.
    jobs : int, default -1
        Processes; -1 for as many as there are cores, 1 for this process.
    backend : Backend, optional
        Where the points run: `vqtheory.sweeps.ThisProcess()`, `vqtheory.sweeps.Joblib(jobs)`, or an object of yours with
        the same two members. By default `jobs` decides.
    warm : callable, optional
        Called once in this process before the others start, to fill numba's cache on disk, which they
        would otherwise each compile for themselves. For `simulate` this is done without it.
    progress : bool, default True
        Show a progress bar if the sweep takes more than two seconds.

    Returns
    -------
    polars.DataFrame
        One row per point, or as many as it returned, in the order of the grid: the configuration (rules
        and streams as their text), the seed, what was returned, and `error`, null where there was none. A
        point that fails is reported as it does, does not stop the others, and is tried again next time.

    Raises
    ------
    ValueError
        For a configuration that the function does not take, a folder of another function, and, with a
        folder, a configuration that has no text of its own by which it could be found again.

    Examples
    --------
    >>> import vqtheory as vq
    >>> grid = {
    ...     "rule": [vq.rules.VQ(step_size=0.05), vq.rules.EMA(decay=0.99)],
    ...     "stream": [vq.streams.Stream(vq.streams.Uniform(dim=1), vq.streams.Translation(speed=1e-4))],
    ...     "codes": [4, 8],
    ...     "steps": [2000],
    ... }
    >>> table = vq.sweep(vq.simulate, grid, seeds=2, jobs=1)
    >>> table.select("rule", "codes", "seed", "status").row(-1)
    ('EMA()', 8, 1, 'finished')
    """
    if not callable(function):
        raise check.fail("sweep", "function", "a function", function)
    points = points_of(function, grid, seeds, None if folder is None else Path(folder))
    by = provenance(function)
    if folder is not None:
        clear(Path(folder))
    outcomes = [finished(by, point) for point in points]
    left = [i for i, outcome in enumerate(outcomes) if outcome is None]
    place = backend or (ThisProcess() if jobs == 1 else Joblib(jobs))
    if len(left) > 1 and place.compiles_apart:
        _warm_up(function, [points[i].arguments for i in left], warm)
    running = place.map(_call, [(i, function, points[i], by) for i in left], _killed)
    with (
        stoppable(),
        tqdm(total=len(points), initial=len(points) - len(left), unit=" points", delay=2, disable=not progress) as bar,
    ):
        for i, outcome in running:
            outcomes[i] = outcome
            bar.update()
            if outcome.error is not None:
                tqdm.write(f"A point failed: {_spoken(points[i])}: {outcome.error}", file=sys.stderr)
    return _table(points, [outcome for outcome in outcomes if outcome is not None])


def _killed(index: int, *task: Any) -> tuple[int, Outcome]:
    """What becomes of a point whose process ends in the middle of it."""
    return index, Outcome([], "its process was killed, for want of memory or from outside")


def _call(index: int, function: Callable[..., Any], point: Point, by: dict[str, str]) -> tuple[int, Outcome]:
    """Run a point, in whichever process, and keep what comes of it."""
    options = {"progress": False} if function is simulate else {}
    try:
        rows = json.loads(json.dumps(_rows(function(**options | point.arguments)), default=plain))
        _check_names(point, rows)
    except (Exception, SystemExit) as error:
        return index, Outcome([], f"{type(error).__name__}: {error}")
    if point.path is not None:
        keep(point.path, {"about": by, "point": point.named, "rows": rows})
    return index, Outcome(rows, None)


def _rows(result: Any) -> list[dict[str, Any]]:
    if isinstance(result, Run):
        window = {"status": result.status, "used": int(result.used.sum()), "usage": result.usage}
        return [result.row | window]
    rows = [result] if isinstance(result, Mapping) else result
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(f"the function must return a dictionary, a list of dictionaries or a Run. Got {result!r}")
    return [dict(row) for row in rows]


def _check_names(point: Point, rows: list[dict[str, Any]]) -> None:
    """That no column of the result stands in the place of a parameter's."""
    for row in rows:
        taken = [name for name in row if name in point.named and row[name] != point.named[name]]
        if taken or "error" in row:
            raise ValueError(f"the function must not return {(taken or ['error'])[0]!r}, the name of another column")


def _warm_up(function: Callable[..., Any], calls: list[dict[str, Any]], warm: Callable[[], Any] | None) -> None:
    """Compile, once, what the processes are going to need."""
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


def _table(points: list[Point], outcomes: list[Outcome]) -> pl.DataFrame:
    """One row after the other, with all columns that there are."""
    import polars as pl

    rows = [row for point, outcome in zip(points, outcomes, strict=True) for row in _with_names(point, outcome)]
    names = {name: None for row in rows for name in row if name != "error"}
    filled = [{name: row.get(name) for name in [*names, "error"]} for row in rows]
    return pl.DataFrame(filled, infer_schema_length=None, schema_overrides={"error": pl.String} if rows else None)


def _with_names(point: Point, outcome: Outcome) -> Iterator[dict[str, Any]]:
    for row in outcome.rows if outcome.error is None else [{}]:
        yield point.named | row | {"error": outcome.error}
