"""The record of a run: what was asked for, where it stands, what was measured on the way."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._base.config import arrays_of, parse, text
from vqtheory._base.folder import MANIFEST, arrays_beside, read_run, read_toml, under, write_run
from vqtheory._begin import begin, law_at

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.figure import Figure

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


@dataclass(frozen=True)
class Config:
    """The parameters of `simulate` that make a run what it is."""

    rule: Any
    stream: Any
    codes: Any
    steps: int
    batch_size: int = 1
    seed: int = 0
    init: str = "latents"
    dtype: str = "float64"
    records: int = 100

    def checked(self) -> Config:
        """The same, validated; raises `ValueError` with the parameter's name."""
        owner = "simulate"
        for name in ("init", "advance"):
            if not callable(getattr(self.rule, name, None)):
                raise check.fail(owner, "rule", f"a rule such as VQ(step_size=0.05), with a method {name!r}", self.rule)
        if not hasattr(self.stream, "draw") and not hasattr(self.stream, "respond"):
            raise check.fail(owner, "stream", "a stream such as Stream(Uniform(dim=1)), with a method 'draw'", self.stream)
        if not hasattr(self.stream, "dim"):
            raise check.fail(owner, "stream", "a stream with an attribute 'dim'", self.stream)
        steps = check.integer(owner, "steps", self.steps)
        batch_size = check.integer(owner, "batch_size", self.batch_size)
        seed = check.integer(owner, "seed", self.seed, 0, 2**64 - 1)
        records = check.integer(owner, "records", self.records)
        check.choice(owner, "init", self.init, ["latents", "kmeans++"])
        name = self.dtype if isinstance(self.dtype, str) else np.dtype(self.dtype).name
        dtype = check.choice(owner, "dtype", name, ["float32", "float64"])
        self._check_step_size()
        self._check_length()
        codes = self.codes
        if isinstance(codes, (int, np.integer)):
            codes = check.integer(owner, "codes", codes)
        else:
            codes = check.matrix(owner, "codes", codes)
        checked = replace(self, codes=codes, dtype=dtype, steps=steps, batch_size=batch_size)
        return replace(checked, seed=seed, records=records)

    def _check_step_size(self) -> None:
        """Where a step is of one sample, a step size above 1 throws the code past it."""
        step_size = getattr(self.rule, "step_size", None)
        one_by_one = self.batch_size == 1 or getattr(self.rule, "clock", "step") == "wins"
        if not one_by_one or step_size is None or hasattr(self.rule, "optimizer"):
            return
        for step in (0, self.steps - 1):
            value = float(schedules.values(step_size, step, 1)[0])
            if value > 1:
                raise check.fail(type(self.rule).__name__, "step_size", "at most 1 at batch size 1 or by wins", value)

    def _check_length(self) -> None:
        length = getattr(self.stream, "steps", None)
        if length is not None and self.steps > length:
            raise check.fail("simulate", "steps", f"at most {length}, the length of the stream", self.steps)

    @property
    def window_start(self) -> int:
        """The update at which the last tenth of the run begins, in which `usage` is counted."""
        return self.steps - max(1, -(-self.steps // 10))

    def record_steps(self) -> list[int]:
        """The steps at which a row of the history is written."""
        records = min(self.records, self.steps)
        return sorted({round(i * self.steps / records) for i in range(records + 1)})


class Interval(NamedTuple):
    """What was counted since the last record."""

    start: int
    hits: np.ndarray  # int64 [K]
    distortion: float  # sum over the updates


@dataclass(frozen=True)
class Run:
    """A run of `simulate`, finished or not.

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
    state: Any
    loop: Any
    status: str
    hits: np.ndarray
    hits_since: int
    since_record: Interval
    rows: tuple[dict[str, Any], ...] = ()

    @classmethod
    def new(cls, config: Config, state: Any, loop: Any) -> Run:
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
        """Whether the window holds under 20 K samples, so that living codes may be missed in it."""
        return (self.step - self.hits_since) * self.config.batch_size < 20 * len(self.codes)

    @property
    def law(self) -> Any:
        """The law of the latents at `step`, None if the stream does not tell."""
        return law_at(self.config, self.loop, self.step)

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
        short = ", too few to see all living codes" if self.short_window else ""
        return (
            f"Run({self.config.rule!r} on {self.config.stream!r}: {self.status} "
            f"at step {self.step:,} of {self.config.steps:,}, {self.used.sum()} of {len(self.codes)} codes used "
            f"in updates {start:,} to {stop:,}{short})"
        )

    def plot(self) -> Figure:
        """Usage, distortion and dead codes against the step, and the codes where they can be drawn."""
        from vqtheory._plot import plot_run

        return plot_run(self)

    def advanced(self, state: Any, loop: Any, info: dict[str, np.ndarray], steps: int) -> Run:
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

    def recorded(self, row: dict[str, Any]) -> Run:
        """The run with a row added to its history."""
        row = {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in row.items()}
        return replace(self, rows=(*self.rows, row), since_record=Interval(self.step, np.zeros_like(self.hits), 0.0))

    def create(self, folder: str | Path) -> None:
        """Save to a folder that holds no run yet; raises `ValueError` if it does."""
        if (Path(folder) / MANIFEST).exists():
            raise check.fail(
                "simulate", "save", "a folder that holds no run yet; vqtheory.resume continues one", str(folder)
            )
        self.save(folder)

    def save(self, folder: str | Path) -> None:
        """Write the run to a folder: `config.toml`, `history.parquet`, `checkpoint.npz`, `manifest.json`.

        A kill at any moment leaves the folder as it was before or as it is after.
        """
        parts = {"state": self.state._asdict(), "loop": self.loop._asdict() if self.loop is not None else {}}
        arrays = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
        arrays |= {"hits": self.hits, "hits_since": self.hits_since, "status": self.status}
        arrays |= {f"since_record.{name}": value for name, value in self.since_record._asdict().items()}
        config = {field.name: getattr(self.config, field.name) for field in fields(Config)}
        arrays |= {f"array.{name}": array for name, array in arrays_of(list(config.values())).items()}
        write_run(Path(folder), _as_text(config), self.history, arrays)

    @classmethod
    def load(cls, folder: str | Path, rule: Any = None) -> Run:
        """Read a saved run. `rule` is needed only if the run's rule is not one of the package's.

        Raises `ValueError` naming the file that is missing, damaged or altered.
        """
        values, history, arrays = read_run(Path(folder))
        values |= {"rule": rule} if rule is not None else {}
        config = Config(**_built(values, Path(folder), under(arrays, "array."))).checked()
        state, loop = begin(config)
        return cls(
            config,
            type(state)(**under(arrays, "state.")),
            None if loop is None else type(loop)(**under(arrays, "loop.")),
            str(arrays["status"]),
            arrays["hits"],
            int(arrays["hits_since"]),
            Interval(**under(arrays, "since_record.")),
            tuple(history.to_dicts()),
        )


def _as_text(config: dict[str, Any]) -> dict[str, Any]:
    """The parameters as TOML holds them: numbers and names as they are, the rest as texts."""
    return {name: value if isinstance(value, (int, str)) else text(value) for name, value in config.items()}


def _built(values: dict[str, Any], path: Path, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The parameters of `simulate`, their texts turned into what they describe."""
    parameters = [field.name for field in fields(Config)]
    for name in values:
        if name not in parameters:
            raise ValueError(f"Unknown parameter {name!r} in {path} ({check.nearest(name, parameters)}).")
    described = {
        name: value for name, value in values.items() if name in ("rule", "stream", "codes") and isinstance(value, str)
    }
    return values | {name: parse(value, arrays) for name, value in described.items()}


def resume(
    folder: str | Path, steps: int | None = None, rule: Any = None, progress: bool = True, threads: int | None = None
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
    """
    from vqtheory.simulation import carry_on

    threads = None if threads is None else check.integer("resume", "threads", threads)
    run = Run.load(folder, rule)
    if steps is not None and steps != run.config.steps:
        steps = check.integer("resume", "steps", steps, max(run.step, 1))
        run = replace(run, config=replace(run.config, steps=steps).checked())
        if run.status != "diverged":
            run = replace(run, status="running" if steps > run.step else "finished")
        if run.config.window_start < run.step < steps:  # what was counted is of another window
            run = replace(run, hits=np.zeros_like(run.hits), hits_since=run.step)
    return carry_on(run, folder, progress, threads=threads)


def read_config(path: str | Path) -> dict[str, Any]:
    """The parameters in a `config.toml`, ready for `simulate`; raises `ValueError` for unknown names."""
    return _built(read_toml(Path(path)), Path(path), arrays_beside(Path(path)))
