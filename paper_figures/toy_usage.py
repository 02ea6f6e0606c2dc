"""Codes alive and distortion of the toy against the update: three drifts, two step sizes, all seeds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes

from paper_figures.style import lines_of
from paper_figures.toy import SHOWN
from simulations.lineup import LINEUP, in_order
from simulations.toy import BATCH, CODES, DRIFTING

TABLE, SUFFIX = "toy", ".png"


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Rows: codes alive and distortion at each step size; columns: drifts. Of the rules that the toy shows."""
    table = table.filter(pl.col("rule").is_in(SHOWN))
    drifts, step_sizes = (table[name].unique(maintain_order=True).to_list() for name in ("drift", "step_size"))
    rows = list(product(step_sizes, ("alive", "ratio")))
    size = (10, 2.25 * len(rows))
    figure, grid = plt.subplots(len(rows), len(drifts), figsize=size, sharex=True, sharey="row", layout="constrained")
    for axes_row, (step_size, column) in zip(grid, rows, strict=True):
        for axes, drift in zip(axes_row, drifts, strict=True):
            draw_panel(axes, table.filter(drift=drift, step_size=step_size), column)
        label = f"codes alive, of {CODES}" if column == "alive" else "distortion / best Lloyd"
        axes_row[0].set_ylabel(f"{label}\nstep size {step_size:g}")
    for axes, drift in zip(grid[0], drifts, strict=True):
        axes.set_title(drift)
    for axes in grid[-1]:
        axes.set_xlabel(f"updates of batch {BATCH}")
    figure.legend(handles=lines_of(in_order(table["rule"])), loc="outside lower center", ncols=6)
    figure.suptitle("Drift in the shaded third: the median of all seeds, and their range")
    return lambda path: figure.savefig(path)


def draw_panel(axes: Axes, table: pl.DataFrame, column: str) -> None:
    """One measure for all rules."""
    value = pl.col(column)
    summary = table.group_by("rule", "step").agg(
        value.median().alias("median"), value.min().alias("low"), value.max().alias("high")
    )
    axes.axvspan(0, DRIFTING, color="0.94", zorder=0)
    for rule in in_order(summary["rule"]):
        of_rule, entry = summary.filter(rule=rule).sort("step"), LINEUP[rule]
        axes.fill_between(of_rule["step"], of_rule["low"], of_rule["high"], color=entry.color, alpha=0.2, lw=0)
        axes.plot(of_rule["step"], of_rule["median"], **entry.line)
    if column == "alive":
        axes.set(ylim=(0, CODES + 1), yticks=range(0, CODES + 1, 4))
    else:
        axes.set_yscale("log")
