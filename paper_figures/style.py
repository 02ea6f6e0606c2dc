"""What all figures share: the lines of the rules, and how a picture is saved."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.lines import Line2D

from simulations.lineup import LINEUP

RC = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "figure.dpi": 150}


class NotYet(ValueError):
    """The bundled table of a study has no rows of a figure yet."""


def rows_of(table: pl.DataFrame, group: str) -> pl.DataFrame:
    """The trainings of a group of the face study; `NotYet` where there are none."""
    rows = table.filter(group=group)
    if len(rows) == 0:
        raise NotYet(f"the face study has no trainings of the group {group!r} yet; python -m simulations faces makes them.")
    return rows


def stacked(rules: Sequence[str]) -> list[str]:
    """Rules in the order in which their lines are drawn: broken lines over the whole ones that they may hide."""
    return sorted(reversed(rules), key=lambda rule: LINEUP[rule].dashes != "-")


def lines_of(rules: Sequence[str]) -> list[Line2D]:
    """The rules' lines, for a legend."""
    return [Line2D([], [], **LINEUP[rule].line, label=rule) for rule in rules]


def save(path: Path, write: Callable[[Path], None]) -> None:
    """Write a picture under a temporary name that keeps the suffix, rename it, and close what was drawn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    write(beside)
    beside.replace(path)
    plt.close("all")
