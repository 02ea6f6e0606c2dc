"""What the commands `python -m simulations`, `simulations.benchmarks` and `paper_figures` share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import tyro

from vqtheory._base import check
from vqtheory.sweeps import Backend
from vqtheory.sweeps.cluster import connected

Names = Annotated[tuple[str, ...], tyro.conf.Positional]
Scheduler = Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")]  # of a Dask cluster


def names(help: str) -> Any:
    """How names of experiments or figures are asked for."""
    return tyro.conf.arg(metavar="[NAME ...]", help_behavior_hint="", help=help)


def known(program: str, names: Iterable[str], options: Iterable[str]) -> list[str]:
    """The names, if all of them are among the options; else the program ends, and suggests the nearest one."""
    options = list(options)
    try:
        return [check.choice(program, "NAME", name, options) for name in names]
    except ValueError as error:
        raise SystemExit(str(error)) from None


@contextmanager
def workers(scheduler: str | None) -> Iterator[Backend | None]:
    """The cluster of a scheduler, its workers given the experiments as they are here; None where there is no address."""
    with ExitStack() as stack:
        yield None if scheduler is None else stack.enter_context(_prepared(scheduler))


@contextmanager
def _prepared(scheduler: str) -> Iterator[Backend]:
    with ExitStack() as stack:
        try:
            cluster = stack.enter_context(connected("simulations", scheduler))
            cluster.check("simulations", "scheduler", len)
        except ValueError as error:
            raise SystemExit(str(error)) from None
        cluster.send(Path(__file__).parent)
        yield cluster


def run(main: Callable[..., None], program: str) -> None:
    """Call `main` with the arguments of the command line."""
    tyro.cli(main, prog=program, config=(tyro.conf.FlagCreatePairsOff,))
