"""What a folder of a training has to hold. Its files may be anyone's, with a manifest that fits."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn

_COLUMNS = ("step", "epoch", "lr", "loss", "reconstruction", "quantization", "distortion", "used", "usage", "perplexity")
_MOMENTS = {torch.optim.Adam: {"step", "exp_avg", "exp_avg_sq"}, torch.optim.SGD: {"momentum_buffer"}}


@contextmanager
def of(path: Path) -> Iterator[None]:
    """Whatever fails in a file is one sentence that names it."""
    try:
        yield
    except (Exception, pl.exceptions.PanicException) as error:  # each decoder fails in its own ways
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = f"it has no {lines[0]}" if isinstance(error, KeyError) else lines[0].strip()
        raise ValueError(f"{path} is not one of a training: {reason.rstrip('.:')}.") from None


def count(stored: dict[str, Any], name: str, low: int, high: int | None = None) -> int:
    """An integer of a checkpoint."""
    value = stored[name]
    if type(value) is not int or value < low or (high is not None and value > high):
        raise ValueError(f"its {name} is {value!r}")
    return value


def rows(content: bytes, step: int) -> list[dict[str, Any]]:
    """The rows of a history up to an update."""
    table = pl.read_parquet(io.BytesIO(content))
    if table.is_empty() and step == 0:
        return []
    columns = table.select(_COLUMNS)
    if not all(dtype.is_numeric() for dtype in columns.dtypes) or sum(columns.null_count().row(0)):
        raise ValueError("not all of its entries are numbers")
    if columns["step"][-1] != step:
        raise ValueError(f"it ends at update {columns['step'][-1]}, and the checkpoint at {step}")
    return table.to_dicts()


def check_numbers(module: nn.Module, owner: str) -> None:
    """That all weights are finite."""
    for name, value in module.state_dict().items():
        if not bool(value.isfinite().all()):
            raise ValueError(f"{name} of {owner} is not finite")


def check_optimizer(optimizer: torch.optim.Optimizer, groups: list[dict[str, Any]]) -> None:
    """That an optimizer's memory is of its parameters, and its settings are those of the configuration but for the rate."""
    for group, known in zip(optimizer.param_groups, groups, strict=True):
        if any(group[name] != value for name, value in known.items() if name not in ("params", "lr")):
            raise ValueError("the optimizer's settings are others than in config.toml")
    for parameter, moments in optimizer.state.items():
        if set(moments) != _MOMENTS[type(optimizer)] or not all(_fits(value, parameter) for value in moments.values()):
            raise ValueError("the optimizer's memory is not of these parameters")


def _fits(moment: Any, parameter: Any) -> bool:
    if not isinstance(moment, Tensor):
        return moment is None
    return moment.shape in ((), parameter.shape) and bool(moment.isfinite().all())
