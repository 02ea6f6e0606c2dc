"""When a run is measured, and what: the rows of its history."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vqtheory.measure import Cells, perplexity
from vqtheory.protocols import Snapshot
from vqtheory.rules.base import assign, declared, projects
from vqtheory.simulation.config import Config
from vqtheory.simulation.record import Record
from vqtheory.streams.base import reported

_PROBE_NUMBERS = 2**22  # in the latents of a measurement of few codes, 32 MiB
_PROBE_WORK = 2e9  # multiply-adds that all measurements of a run may cost, about a second
_PROBE_AT_MOST = 1e12  # and that the least, one at the end, may cost, about a quarter of a minute


def num_latents(num_codes: int, dim: int) -> int:
    """In a measurement: 200 to a code, and of few codes as many as memory has room for, 10,000 at most."""
    return max(200 * num_codes, min(10_000, _PROBE_NUMBERS // dim))


def probe_points(config: Config, points: list[int], num_codes: int, dim: int) -> set[int]:
    """The records at which the codebook is measured on fresh latents: as many as the work allows, the first and the last
    among them; none where one alone is beyond all proportion."""
    work, own = num_latents(num_codes, dim) * num_codes * dim, config.steps * config.batch_size * num_codes * dim
    if work > max(_PROBE_AT_MOST, own):
        return set()
    allowed = max(_PROBE_WORK, 0.1 * own) / work
    every = max(1, math.ceil(len(points) / max(allowed, 1)))
    return {0, *points[::-every]}


def measured(run: Record, probe: bool) -> dict[str, Any]:
    """One row of the history."""
    counted = run.since_record.hits
    updates = run.step - run.since_record.start
    row: dict[str, Any] = {"step": run.step, "samples": run.step * run.config.batch_size}
    if updates:
        row |= {"used": int((counted > 0).sum()), "usage": float((counted > 0).mean()), "perplexity": perplexity(counted)}
        row |= {"distortion": run.since_record.distortion / updates}
    snapshot = run.snapshot if probe else None
    return row if snapshot is None else row | _probe(run, snapshot)


def _probe(run: Record, snapshot: Snapshot) -> dict[str, Any]:
    """What fresh latents say of the codes; dead codes by the first 200 K of them."""
    rule, num_codes = run.config.rule, len(run.codes)
    latents = snapshot.sample(num_latents(*run.codes.shape))
    with np.errstate(over="ignore", invalid="ignore"):  # the codes of a run that diverges
        projected = declared(rule, "project")(latents).astype(run.codes.dtype, copy=False)
        found = Cells.of(assign(rule, latents, run.state), projected, run.codes)
        row: dict[str, Any] = {"residual": found.residual(unbiased=True)}
    row["dead"] = num_codes - len(np.unique(found.assignment[: 200 * num_codes]))
    if projects(rule):
        return row
    velocity, optimum = reported(snapshot, "velocity"), reported(snapshot, "optimum")(num_codes)
    row |= {"lag": found.lag(velocity)} if velocity is not None and velocity.any() else {}
    return row | ({"distortion_over_optimum": found.distortion / optimum} if optimum else {})
