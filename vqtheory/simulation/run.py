"""A run, the thing that people call: `simulate`, `resume`, and `Run` with its picture and its folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from vqtheory._base import check
from vqtheory._base.folder import MANIFEST, locked
from vqtheory._kernels.threads import threads as allowed_threads
from vqtheory.protocols import Loop, Rule, Stream
from vqtheory.simulation import store
from vqtheory.simulation.config import Config
from vqtheory.simulation.loop import play
from vqtheory.simulation.plot import plot_run
from vqtheory.simulation.record import Record
from vqtheory.simulation.start import begin

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SECONDS_BETWEEN_CHECKPOINTS = 2.0


@dataclass(frozen=True, repr=False)
class Run(Record):
    """A run of `simulate`, finished or not: its record, its picture and its folder."""

    def plot(self) -> Figure:
        """Usage, distortion and dead codes against the step, and the codes where they can be drawn."""
        return plot_run(self)

    def save(self, folder: str | Path) -> None:
        """Write the run to a folder: `config.toml`, `history.parquet`, `checkpoint.npz`, `manifest.json`.

        A kill at any moment leaves the folder as it was before or as it is after.
        """
        store.save(self, folder)

    @classmethod
    def load(cls, folder: str | Path, rule: Rule | None = None, stream: Stream | Loop | None = None) -> Self:
        """Read a saved run. `rule` and `stream` are needed only where they are not of the package.

        Raises `ValueError` naming the file that is missing, damaged or altered, data of the run included. A run whose
        data are not there can be looked at, and not continued.
        """
        return store.load(cls, folder, rule, stream)


def simulate(
    rule: Rule,
    stream: Stream | Loop,
    *,
    codes: int | np.ndarray,
    steps: int,
    batch_size: int = 1,
    seed: int = 0,
    init: str = "latents",
    dtype: str = "float64",
    records: int = 100,
    save: str | Path | None = None,
    progress: bool = True,
    on_record: Callable[[int, np.ndarray, dict], None] | None = None,
    threads: int | None = None,
) -> Run:
    """Let a rule follow a stream.

    Parameters
    ----------
    rule : rule
        How the codebook moves: `vqtheory.rules`, or anything with their `init` and `advance`.
    stream : stream
        What it follows: `vqtheory.streams`.
    codes : int or float [K, D]
        The codebook to start from, or how many latents of step 0 to start from.
    steps : int
        Updates of the codebook.
    batch_size : int, default 1
        Samples in an update; 1 is online k-means.
    seed : int, default 0
        Two rules under one seed see the same latents and are given the same codes.
    init : {"latents", "kmeans++"}, default "latents"
        How codes are chosen among latents of step 0 if `codes` is an int.
    dtype : {"float64", "float32"}
    records : int, default 100
        Rows of the history after the first; they are equal parts of the run.
    save : path, optional
        A folder that is kept up to date while the run goes on, for `resume` and `Run.load`.
    progress : bool, default True
        Show a progress bar if the run takes more than two seconds.
    on_record : callable, optional
        Called with (step, codes, row of the history) at each record.
    threads : int, optional
        Cores that may search for the nearest codes of large batches: by default one, or what `vqtheory.assign.threads` says.
        The bits are the same with any number.

    Returns
    -------
    Run
        A run that diverges ends with status "diverged" and its record up to there. A run whose stream ends before it does
        (`vqtheory.streams.Batched`) ends there with a warning, and its status stays "running", since `resume` may go on.
        What takes 200 K fresh latents to measure is left null where that is more than 1e12 products of coordinates and more
        than the run itself: from 4,500 codes of 256 dimensions or 9,000 of 64 on.

    Raises
    ------
    ValueError
        For parameters out of range, more codes than distinct latents, codes whose dimension
        differs from the stream's, and a `save` folder that holds a run already.

    Examples
    --------
    >>> import vqtheory as vq
    >>> stream = vq.streams.Stream(vq.streams.Uniform(dim=1), vq.streams.Translation(speed=1e-3))
    >>> run = vq.simulate(vq.rules.VQ(step_size=0.05), stream, codes=16, steps=20_000, records=10)
    >>> run.status, run.used.sum() < 16
    ('finished', np.True_)
    """
    config = Config(rule, stream, codes, steps, batch_size, seed, init, dtype, records).checked()
    threads = None if threads is None else check.integer("simulate", "threads", threads)
    progress = check.flag("simulate", "progress", progress)
    if on_record is not None and (not callable(on_record) or isinstance(on_record, type)):
        raise check.fail("simulate", "on_record", "a function of step, codes and row", on_record)
    save = None if save is None else check.path("simulate", "save", save, "the path of a folder")
    run = Run.new(config, *begin(config))
    if save is None:
        return carry_on(run, None, progress, on_record, threads)
    with locked(Path(save)):
        store.create(run, save)
        return carry_on(run, save, progress, on_record, threads)


def carry_on(
    run: Run,
    save: str | Path | None = None,
    progress: bool = True,
    on_record: Callable[[int, np.ndarray, dict], None] | None = None,
    threads: int | None = None,
) -> Run:
    """Take a run to its last step."""
    saved = time.monotonic()
    with (
        threadpool_limits(1, user_api="blas"),
        nullcontext() if threads is None else allowed_threads(threads),
        tqdm(
            total=run.config.steps, initial=run.step, unit=" updates", unit_scale=True, delay=2, disable=not progress
        ) as bar,
    ):
        try:
            for run, recorded in play(run):  # noqa: B020 - each is the one before, further on
                if recorded and (used := run.row["used"]) is not None:
                    bar.set_postfix_str(f"used {used:,} of {len(run.codes):,}", refresh=False)
                bar.update(run.step - bar.n)
                if recorded and on_record is not None:
                    on_record(run.step, run.codes, run.row)
                if save is not None and time.monotonic() - saved > _SECONDS_BETWEEN_CHECKPOINTS:
                    run.save(save)
                    saved = time.monotonic()
        finally:  # also when it is stopped from the keyboard
            if save is not None:
                run.save(save)
    return run


def resume(
    folder: str | Path,
    steps: int | None = None,
    rule: Rule | None = None,
    progress: bool = True,
    threads: int | None = None,
    stream: Stream | Loop | None = None,
) -> Run:
    """Continue a saved run to its end, or to `steps` updates; to the same bits as if it had not stopped.

    Parameters
    ----------
    folder : path
        The `save` folder of `simulate`.
    steps : int, optional
        A new number of updates, at least those done. The history's records and the window of
        `usage` follow it from here on; what was recorded stays. Where the new window began before
        the updates already done, it is counted from here, and is shorter.
    rule : rule, optional
        Needed only if the run's rule is not one of the package's.
    threads : int, optional
        As of `simulate`; the bits do not depend on it.
    stream : stream, optional
        Needed only if the run's stream is not one of the package's.

    Raises
    ------
    ValueError
        For a folder that holds no run, or is in use by another process; for files that are damaged, and for data of the
        run that have been altered.
    """
    threads = None if threads is None else check.integer("resume", "threads", threads)
    progress = check.flag("resume", "progress", progress)
    folder = check.path("resume", "folder", folder, "the folder of a saved run")
    if not (Path(folder) / MANIFEST).is_file():
        return Run.load(folder)  # which says so
    with locked(Path(folder)):
        run = Run.load(folder, rule, stream)
        if isinstance(run.config.stream, store.Missing):
            raise FileNotFoundError(run.config.stream.reason)
        steps = run.config.steps if steps is None else check.integer("resume", "steps", steps, max(run.step, 1))
        if steps != run.config.steps:
            run = _towards(run, steps)
        return carry_on(run, folder, progress, threads=threads)


def _towards(run: Run, steps: int) -> Run:
    """The run with another number of updates ahead."""
    run = replace(run, config=replace(run.config, steps=steps).checked())
    if run.status != "diverged":
        run = replace(run, status="running" if steps > run.step else "finished")
    if run.config.window_start < run.step < steps:  # what was counted is of another window
        run = replace(run, hits=np.zeros_like(run.hits), hits_since=run.step)
    return run
