"""What the commands `python -m simulations`, `simulations.benchmarks` and `paper_figures` share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

import tyro

from vqtheory._base import check

Names = Annotated[tuple[str, ...], tyro.conf.Positional]


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


def run(main: Callable[..., None], program: str) -> None:
    """Call `main` with the arguments of the command line."""
    tyro.cli(main, prog=program, config=(tyro.conf.FlagCreatePairsOff,))
