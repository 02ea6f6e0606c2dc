"""One run: a rule follows a stream, and what happens is recorded."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from vqtheory._base import check
from vqtheory._begin import begin
from vqtheory._kernels.threads import threads as allowed_threads
from vqtheory.measure import cells, perplexity
from vqtheory.protocols import Batches, Diverged
from vqtheory.run import Config, Run

_CHUNK_ELEMENTS = 2**16  # numbers handed to one call of `advance`: fits the cache, dwarfs the call
_PROBE_WORK = 2e9  # multiply-adds that all measurements of a run may cost, about a second
_PROBE_AT_MOST = 1e12  # and that the least, one at the end, may cost, about a quarter of a minute
_FINITE_ROWS = 2**12  # codes looked at together
_SECONDS_BETWEEN_CHECKPOINTS = 2.0


def simulate(
    rule: Any,
    stream: Any,
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
        A run that diverges ends with status "diverged" and its record up to there. What takes
        200 K fresh latents to measure is left null where that is more than 1e12 products of coordinates and more than
        the run itself: from 4,500 codes of 256 dimensions or 9,000 of 64 on.

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
    run = Run.new(config, *begin(config))
    if save is not None:
        run.create(save)
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
            for run, recorded in _play(run):  # noqa: B020 - each is the one before, further on
                bar.set_postfix_str(f"used {(run.since_record.hits > 0).sum()} of {len(run.codes)}", refresh=False)
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


def _play(run: Run) -> Iterator[tuple[Run, bool]]:
    """Go on to the last step; yields the run after each call of `advance`, and whether it has just been recorded."""
    config = run.config
    points = config.record_steps()
    probed = _probe_points(config, points, len(run.codes), run.codes.shape[1])
    if run.step == 0 and not run.rows:
        run = run.recorded(_measure(run, 0 in probed))
        yield run, True
    for stop in points[1:]:
        if stop <= run.step or run.status == "diverged":
            continue
        while run.step < stop and run.status != "diverged":
            run = _advance_towards(run, stop)
            if run.step < stop and run.status != "diverged":
                yield run, False
        run = run.recorded(_measure(run, stop in probed or (run.status == "diverged" and len(probed) > 0)))
        yield run, True


def _advance_towards(run: Run, stop: int) -> Run:
    """One call of `advance`, not beyond `stop` nor over the update at which the window of `usage` begins."""
    window = run.config.window_start
    if run.step == window:
        run = replace(run, hits=np.zeros_like(run.hits), hits_since=run.step)
    return _advance_chunk(run, (min(stop, window) if run.step < window else stop) - run.step)


def _advance_chunk(run: Run, most: int) -> Run:
    """At most `most` updates in one call; halved until the very update at which a run diverges."""
    config = run.config
    steps = 1 if run.loop is not None else min(most, max(1, _CHUNK_ELEMENTS // (config.batch_size * config.stream.dim)))
    while True:
        try:
            loop, batches = _draw(run, steps)
        except Diverged:
            return replace(run, status="diverged")
        state, info = config.rule.advance(run.state, batches)
        if _finite(state.codes):
            return run.advanced(state, loop, info, steps)
        if steps == 1:
            return replace(run, status="diverged")
        steps //= 2


def _finite(codes: np.ndarray) -> bool:
    """Whether all codes are finite, without a mask as large as the codebook."""
    return all(np.isfinite(codes[k : k + _FINITE_ROWS]).all() for k in range(0, len(codes), _FINITE_ROWS))


def _draw(run: Run, steps: int) -> tuple[Any, Batches]:
    config = run.config
    if run.loop is not None:
        loop, batches = config.stream.respond(run.loop, run.codes.astype(np.float64), config.batch_size)
        moved = batches.displacement
        return loop, Batches(batches.x.astype(config.dtype), None if moved is None else moved.astype(config.dtype))
    extra = {"displacement": True} if getattr(config.rule, "needs_displacement", False) else {}
    return None, config.stream.draw(run.step, steps, config.batch_size, config.seed, config.dtype, **extra)


def _probe_points(config: Config, points: list[int], num_codes: int, dim: int) -> set[int]:
    """The records at which the codebook is measured on fresh latents: as many as the work allows, the first and the last
    among them; none where one alone is beyond all proportion."""
    work, own = 200 * num_codes**2 * dim, config.steps * config.batch_size * num_codes * dim
    if work > max(_PROBE_AT_MOST, own):
        return set()
    allowed = max(_PROBE_WORK, 0.1 * own) / work
    every = max(1, math.ceil(len(points) / max(allowed, 1)))
    return {0, *points[::-every]}


def _measure(run: Run, probe: bool) -> dict[str, Any]:
    """One row of the history."""
    counted = run.since_record.hits
    updates = run.step - run.since_record.start
    row: dict[str, Any] = {"step": run.step, "samples": run.step * run.config.batch_size}
    if updates:
        row |= {"used": int((counted > 0).sum()), "usage": float((counted > 0).mean()), "perplexity": perplexity(counted)}
        row |= {"distortion": run.since_record.distortion / updates}
    law = run.law if probe else None
    return row if law is None else row | _probe(run, law)


def _probe(run: Run, law: Any) -> dict[str, Any]:
    """What fresh latents of the law say of the codes; dead codes by the first 200 K of them."""
    project = getattr(run.config.rule, "project", None)
    latents = law.sample(max(200 * len(run.codes), 10_000))
    with np.errstate(over="ignore", invalid="ignore"):  # the codes of a run that diverges
        found = cells(latents if project is None else project(latents), run.codes)
        row: dict[str, Any] = {"residual": found.residual(unbiased=True)}
    row["dead"] = len(run.codes) - len(np.unique(found.assignment[: 200 * len(run.codes)]))
    if project is None and hasattr(law, "velocity") and law.velocity.any():
        row["lag"] = found.lag(law.velocity)
    optimum = law.optimum(len(run.codes)) if project is None and hasattr(law, "optimum") else None
    return row if not optimum else row | {"distortion_over_optimum": found.distortion / optimum}
