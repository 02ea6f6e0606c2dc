"""Running a grid: every point once, in whichever process, and one table of what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vqtheory._base import check
from vqtheory.sweeps.backends import Backend
from vqtheory.sweeps.grid import Outcome, Point, points_of, provenance
from vqtheory.sweeps.places import check_sent, place_of
from vqtheory.sweeps.running import cpus, run

if TYPE_CHECKING:
    import polars as pl
    from distributed import Client


def sweep(
    function: Callable[..., Any],
    grid: Mapping[str, Sequence[Any]] | Iterable[Mapping[str, Any]],
    *,
    seeds: int | Iterable[int] | None = 1,
    folder: str | Path | None = None,
    jobs: int = -1,
    backend: Backend | Client | str | None = None,
    shard: tuple[int, int] | None = None,
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
        are done again; changes elsewhere are not noticed, and a reason to delete the folder. Sweeps that run at the same
        time with one folder, on one host or on several, divide the points among them: no other takes a point that one is
        working on, unless that process has ended or has not renewed its lease on the point for two minutes.
    jobs : int, default -1
        Processes; -1 for as many as there are cores, 1 for this process.
    backend : Backend, dask.distributed.Client or str, optional
        Where the points run: on a Dask cluster, given by a client or by the address of its scheduler
        (the extra "cluster"); `vqtheory.sweeps.ThisProcess()`, `vqtheory.sweeps.Joblib(jobs)`, or an
        object of yours with the same two members. By default `jobs` decides. The workers of a cluster need this version
        of the package, of Python, NumPy, SciPy and numba, and no file system of ours: results travel back and are
        written here. The points of a worker that dies are run again by another.
    shard : (int, int), optional
        ``(i, n)``: only the points i, i + n, i + 2 n, ..., as job i of an array of n jobs. The same call without it
        gives the whole table, from the folder that the jobs have shared, or from their folders copied into one.
    warm : callable, optional
        Called once in this process before the others start, to fill numba's cache on disk, which they
        would otherwise each compile for themselves. For `simulate` this is done without it. On a cluster each worker
        compiles once, with its first point.
    progress : bool, default True
        Show a progress bar if the sweep takes more than two seconds.

    Returns
    -------
    polars.DataFrame
        One row per point, or as many as it returned, in the order of the grid: the configuration (rules
        and streams as their text), the seed, what was returned, and `error`, null where there was none. A
        point that fails is reported as it does, does not stop the others, and is tried again next time.
        If the points were run on CPUs of more than one type, which is also a warning, a column `host_cpu` before
        `error` says where each was: only between CPUs of one type are the bits the same.

    Raises
    ------
    ValueError
        For a grid, seeds, jobs or a folder that are none; for a configuration that the function does not take, a folder of
        another function, and, with a folder, a configuration that has no text of its own by which it could be found
        again; for a function or a configuration that cannot be pickled, where it must be; for a scheduler that does not
        answer, and workers that have other versions or cannot import the function.
    ConnectionError
        If the scheduler is gone in the middle. With a folder the sweep goes on from there the next time.

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
    first, every = (0, 1) if shard is None else _shard(shard)
    if isinstance(jobs, bool) or not isinstance(jobs, Integral) or jobs == 0:
        raise check.fail("sweep", "jobs", "a number of processes, or -1 for as many as there are cores", jobs)
    parts = None if folder is None else check.path("sweep", "folder", folder)
    points = points_of(function, grid, seeds, parts)[first::every]
    with place_of("sweep", backend, jobs) as place:
        check_sent("sweep", place, function, [point.arguments for point in points], ("function", "grid"))
        outcomes = run(function, points, provenance(function), place, warm, {"disable": not progress})
    return _table(points, outcomes)


def _shard(shard: Any) -> tuple[int, int]:
    """Which of how many parts; `ValueError` for anything else."""
    try:
        index, number = (check.integer("sweep", "shard", value, 0) for value in shard)
    except (TypeError, ValueError):
        index, number = 0, 0
    if index >= number:
        raise check.fail("sweep", "shard", "two ints (i, n) with 0 <= i < n: part i of n", shard)
    return index, number


def _table(points: list[Point], outcomes: list[Outcome]) -> pl.DataFrame:
    """One row after the other, with all columns that there are."""
    import polars as pl

    mixed = len(cpus(outcomes)) > 1
    rows = [row for point, outcome in zip(points, outcomes, strict=True) for row in _with_names(point, outcome, mixed)]
    names = {name: None for row in rows for name in row if name != "error"}
    filled = [{name: row.get(name) for name in [*names, "error"]} for row in rows]
    return pl.DataFrame(filled, infer_schema_length=None, schema_overrides={"error": pl.String} if rows else None)


def _with_names(point: Point, outcome: Outcome, mixed: bool) -> Iterator[dict[str, Any]]:
    host = {"host_cpu": outcome.cpu} if mixed else {}
    for row in outcome.rows if outcome.error is None else [{}]:
        yield point.named | row | host | {"error": outcome.error}
