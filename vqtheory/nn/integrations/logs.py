"""Numbers by name and step, for any log: a run of trackio or wandb, or TensorBoard's writer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vqtheory._base import check

Scalars = Callable[[dict[str, float], int], None]


def scalar_log(owner: str, log: Any) -> Scalars:
    """A function of numbers by name and of a step, which hands them to `log`.

    That is an object or a module with ``log(dict, step=)``, as a run of trackio or wandb, or one with
    ``add_scalar(name, number, step)``, as TensorBoard's SummaryWriter. Raises `ValueError` for anything else.

    >>> class Run:
    ...     def log(self, scalars, step):
    ...         print(step, scalars)
    >>> scalar_log("Monitor", Run())({"used": 3.0}, 50)
    50 {'used': 3.0}
    """
    if not isinstance(log, type) and callable(getattr(log, "log", None)):
        return lambda scalars, step: log.log(scalars, step=step)
    if not isinstance(log, type) and callable(getattr(log, "add_scalar", None)):
        return lambda scalars, step: _add_scalars(log, scalars, step)
    requirement = "a run with log(dict, step=), as of trackio or wandb, or TensorBoard's SummaryWriter"
    raise check.fail(owner, "log", requirement, log)


def _add_scalars(writer: Any, scalars: dict[str, float], step: int) -> None:
    for name, number in scalars.items():
        writer.add_scalar(name, number, step)
