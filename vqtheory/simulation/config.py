"""What is asked of a run: the parameters of `simulate`, checked, and as the text that is kept."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._base.config import parse, text
from vqtheory._base.folder import arrays_beside, read_toml
from vqtheory.protocols import Drawn, Finite, Loop, Rule, Stream
from vqtheory.rules.base import declared


@dataclass(frozen=True)
class Config:
    """The parameters of `simulate` that make a run what it is."""

    rule: Rule
    stream: Stream | Loop
    codes: int | np.ndarray
    steps: int
    batch_size: int = 1
    seed: int = 0
    init: str = "latents"
    dtype: str = "float64"
    records: int = 100

    def checked(self) -> Config:
        """The same, validated; raises `ValueError` with the parameter's name."""
        owner = "simulate"
        if isinstance(self.rule, type):
            raise ValueError(f"The 'rule' parameter of {owner} must be a rule. {_written(self.rule)}")
        if isinstance(self.stream, type):
            raise ValueError(f"The 'stream' parameter of {owner} must be a stream. {_written(self.stream)}")
        for name in ("init", "advance"):
            if not callable(getattr(self.rule, name, None)):
                raise check.fail(owner, "rule", f"a rule such as VQ(step_size=0.05), with a method {name!r}", self.rule)
        if not isinstance(self.stream, Drawn | Loop):
            raise check.fail(owner, "stream", "a stream such as Stream(Uniform(dim=1)), with a method 'draw'", self.stream)
        if not hasattr(self.stream, "dim"):
            raise check.fail(owner, "stream", "a stream with an attribute 'dim'", self.stream)
        check.integer(owner, "stream.dim", self.stream.dim, 0)
        steps = check.integer(owner, "steps", self.steps)
        batch_size = check.integer(owner, "batch_size", self.batch_size)
        seed = check.seed(owner, self.seed)
        records = check.integer(owner, "records", self.records)
        check.choice(owner, "init", self.init, ["latents", "kmeans++"])
        name = self.dtype if isinstance(self.dtype, str) else check.floating(owner, "dtype", self.dtype).name
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
        step_size = declared(self.rule, "step_size")
        one_by_one = self.batch_size == 1 or declared(self.rule, "clock") == "wins"
        if not one_by_one or step_size is None or declared(self.rule, "optimizer") is not None:
            return
        for step in (0, self.steps - 1):
            value = float(schedules.values(step_size, step, 1)[0])
            if value > 1:
                raise check.fail(type(self.rule).__name__, "step_size", "at most 1 at batch size 1 or by wins", value)

    def _check_length(self) -> None:
        if isinstance(self.stream, Finite) and self.steps > self.stream.steps:
            raise check.fail("simulate", "steps", f"at most {self.stream.steps}, the length of the stream", self.steps)

    @property
    def window_start(self) -> int:
        """The update at which the last tenth of the run begins, in which `usage` is counted."""
        return self.steps - max(1, -(-self.steps // 10))

    def record_steps(self) -> list[int]:
        """The steps at which a row of the history is written."""
        records = min(self.records, self.steps)
        return sorted({round(i * self.steps / records) for i in range(records + 1)})


def _written(kind: type) -> str:
    return f"{kind.__name__} is a class: write {kind.__name__}(...) for one."


def as_text(config: dict[str, Any]) -> dict[str, Any]:
    """The parameters as TOML holds them: numbers and names as they are, the rest as texts."""
    return {name: value if isinstance(value, (int, str)) else text(value) for name, value in config.items()}


def built(values: dict[str, Any], path: Path, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The parameters of `simulate`, their texts turned into what they describe."""
    parameters = [field.name for field in fields(Config)]
    for name in values:
        if name not in parameters:
            raise ValueError(f"Unknown parameter {name!r} in {path} ({check.nearest(name, parameters)}).")
    described = {
        name: value for name, value in values.items() if name in ("rule", "stream", "codes") and isinstance(value, str)
    }
    return values | {name: _parsed(name, value, arrays) for name, value in described.items()}


def _parsed(name: str, value: str, arrays: dict[str, np.ndarray]) -> Any:
    try:
        return parse(value, arrays)
    except ValueError as error:
        own = f"One of your own is given, as {name}=, on the command line --{name} FILE.py:CALL."
        raise ValueError(f"The {name!r} of the run: {error} {own}") from None


def read_config(path: str | Path) -> dict[str, Any]:
    """The parameters in a `config.toml`, ready for `simulate`; raises `ValueError` for unknown names."""
    return built(read_toml(Path(path)), Path(path), arrays_beside(Path(path)))
