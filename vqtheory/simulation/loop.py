"""The loop: a rule follows a stream, and what happens is recorded."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from vqtheory.protocols import Batches, Diverged, Ended, Loop
from vqtheory.rules.base import declared
from vqtheory.simulation.contract import held_answer, held_batches
from vqtheory.simulation.probe import measured, probe_points
from vqtheory.simulation.record import AnyRecord, Record

_CHUNK_ELEMENTS = 2**16  # numbers handed to one call of `advance`: fits the cache, dwarfs the call
_FINITE_ROWS = 2**12  # codes looked at together


def play(run: AnyRecord) -> Iterator[tuple[AnyRecord, bool]]:
    """Go on to the last step; yields the run after each call of `advance`, and whether it has just been recorded."""
    config = run.config
    points = config.record_steps()
    probed = probe_points(config, points, len(run.codes), run.codes.shape[1])
    if run.step == 0 and not run.rows:
        run = run.recorded(measured(run, 0 in probed))
        yield run, True
    for stop in points[1:]:
        if stop <= run.step or run.status == "diverged":
            continue
        while run.step < stop and run.status != "diverged":
            try:
                run = _advance_towards(run, stop)
            except Ended as end:
                warnings.warn(f"{end} The run ends after update {run.step:,} of {run.config.steps:,}.", stacklevel=2)
                if run.rows[-1]["step"] < run.step:
                    yield run.recorded(measured(run, len(probed) > 0)), True
                return
            if run.step < stop and run.status != "diverged":
                yield run, False
        run = run.recorded(measured(run, stop in probed or (run.status == "diverged" and len(probed) > 0)))
        yield run, True


def _advance_towards(run: AnyRecord, stop: int) -> AnyRecord:
    """One call of `advance`, not beyond `stop` nor over the update at which the window of `usage` begins."""
    window = run.config.window_start
    if run.step == window:
        run = replace(run, hits=np.zeros_like(run.hits), hits_since=run.step)
    return _advance_chunk(run, (min(stop, window) if run.step < window else stop) - run.step)


def _advance_chunk(run: AnyRecord, most: int) -> AnyRecord:
    """At most `most` updates in one call; halved until the very update at which a run diverges."""
    config = run.config
    steps = 1 if run.loop is not None else min(most, max(1, _CHUNK_ELEMENTS // (config.batch_size * config.stream.dim)))
    while True:
        try:
            loop, batches = _draw(run, steps)
        except Diverged:
            return replace(run, status="diverged")
        except Ended as end:
            if steps == 1:
                raise
            steps = end.steps if 0 < end.steps < steps else steps // 2
            continue
        state, info = held_answer(config.rule, config.rule.advance(run.state, batches), run.codes)
        if _finite(state.codes):
            return run.advanced(state, loop, info, steps)
        if steps == 1:
            return replace(run, status="diverged")
        steps //= 2


def _finite(codes: np.ndarray) -> bool:
    """Whether all codes are finite, without a mask as large as the codebook."""
    return all(np.isfinite(codes[k : k + _FINITE_ROWS]).all() for k in range(0, len(codes), _FINITE_ROWS))


def _draw(run: Record, steps: int) -> tuple[Any, Batches]:
    config, stream = run.config, run.config.stream
    if isinstance(stream, Loop):
        loop, batches = stream.respond(run.loop, run.codes.astype(np.float64), config.batch_size)
        moved = batches.displacement
        return loop, Batches(batches.x.astype(config.dtype), None if moved is None else moved.astype(config.dtype))
    extra = {"displacement": True} if declared(config.rule, "needs_displacement") else {}
    batches = stream.draw(run.step, steps, config.batch_size, config.seed, config.dtype, **extra)
    return None, held_batches(stream, batches, (steps, config.batch_size, run.codes.shape[1]))
