"""The record of a run: what was asked for, where it stands, what was measured on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

import numpy as np

from vqtheory.protocols import Snapshot, State
from vqtheory.simulation.config import Config
from vqtheory.simulation.start import snapshot_at

if TYPE_CHECKING:
    import polars as pl

COLUMNS = {
    "step": int,
    "samples": int,
    "used": int,
    "usage": float,
    "perplexity": float,
    "distortion": float,
    "distortion_over_optimum": float,
    "residual": float,
    "lag": float,
    "dead": int,
}


class Interval(NamedTuple):
    """What was counted since the last record."""

    start: int
    hits: np.ndarray  # int64 [K]
    distortion: float  # sum over the updates


@dataclass(frozen=True)
class Record:
    """Where a run stands, and what was measured on the way: all that the loop, the picture and the folder look at.

    Attributes
    ----------
    config : Config
        What was asked for.
    state : NamedTuple
        The rule's state at `step`.
    status : str
        "running", "finished" or "diverged".
    hits : int64 [K]
        Hits in the window of `usage`: the last max(1, ceil(steps / 10)) updates.
    """

    config: Config
    state: State
    loop: Any
    status: str
    hits: np.ndarray
    hits_since: int
    since_record: Interval
    rows: tuple[dict[str, Any], ...] = ()

    @classmethod
    def new(cls, config: Config, state: State, loop: Any) -> Self:
        """A run at step 0."""
        empty = np.zeros(len(state.codes), np.int64)
        return cls(config, state, loop, "running", empty, 0, Interval(0, empty, 0.0))

    @property
    def codes(self) -> np.ndarray:
        """The codes [K, D]."""
        return self.state.codes

    @property
    def step(self) -> int:
        """Updates done."""
        return int(self.state.step)

    @property
    def used(self) -> np.ndarray:
        """Which codes were chosen in the window of `usage`, bool [K]."""
        return self.hits > 0

    @property
    def usage(self) -> float:
        """The fraction of codes chosen in the last max(1, ceil(steps / 10)) updates."""
        return float(self.used.mean())

    @property
    def window(self) -> tuple[int, int]:
        """First update of the window of `usage`, and the one after its last."""
        return self.hits_since, self.step

    @property
    def short_window(self) -> bool:
        """Whether the window holds under 20 K samples, so that codes that are alive may be missed in it."""
        return (self.step - self.hits_since) * self.config.batch_size < 20 * len(self.codes)

    @property
    def snapshot(self) -> Snapshot | None:
        """Where the latents are at `step`; None if the stream does not tell."""
        return snapshot_at(self.config, self.loop, self.step)

    @property
    def row(self) -> dict[str, Any]:
        """The last row of the history, with null for what is not known."""
        return {column: self.rows[-1].get(column) for column in COLUMNS}

    @property
    def history(self) -> pl.DataFrame:
        """One row per record.

        used, usage, perplexity and distortion (of each batch before its update) are of the updates
        since the row before; distortion_over_optimum, residual, lag and dead are measured on 200 K
        fresh latents of the law at that step. null where unknown.
        """
        import polars as pl

        return pl.DataFrame([{column: row.get(column) for column in COLUMNS} for row in self.rows], schema=COLUMNS)

    def __repr__(self) -> str:
        start, stop = self.window
        short = ", too few to see all codes that are alive" if self.short_window else ""
        return (
            f"{type(self).__name__}({self.config.rule!r} on {self.config.stream!r}: {self.status} "
            f"at step {self.step:,} of {self.config.steps:,}, {self.used.sum()} of {len(self.codes)} codes used "
            f"in updates {start:,} to {stop:,}{short})"
        )

    def advanced(self, state: State, loop: Any, info: Mapping[str, np.ndarray], steps: int) -> Self:
        """The run after a call of `advance`."""
        since = self.since_record
        # one after the other, since a sum over chunks would depend on where they were cut
        total = np.add.accumulate(np.append(since.distortion, info.get("distortion", np.full(1, np.nan))))[-1]
        done = self.step + steps == self.config.steps
        return replace(
            self,
            state=state,
            loop=loop,
            status="finished" if done else "running",
            hits=self.hits + info["hits"],
            since_record=Interval(since.start, since.hits + info["hits"], float(total)),
        )

    def recorded(self, row: dict[str, Any]) -> Self:
        """The run with a row added to its history."""
        row = {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in row.items()}
        return replace(self, rows=(*self.rows, row), since_record=Interval(self.step, np.zeros_like(self.hits), 0.0))


AnyRecord = TypeVar("AnyRecord", bound=Record)
