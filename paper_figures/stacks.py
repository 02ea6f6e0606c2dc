"""Codes used at each level of a residual stack over the updates, and what a replay on each level's own inputs keeps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib import colormaps
from matplotlib.axes import Axes

TABLE, SUFFIX = "stacks", ".png"
COLUMNS = (("stationary", 0.0), ("translating", 0.01), ("translating", 0.03), ("shrinking", 0.005))


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """A row for each rule and a column for each drift; the first level is the darkest line, crosses are the replay."""
    drifts = [drift for drift in COLUMNS if len(table.filter(drift=drift[0], rate=drift[1]))]
    rules, levels = table["rule"].unique(maintain_order=True).to_list(), table["level"].n_unique()
    size = (2.4 * len(drifts) + 1, 1.6 * len(rules) + 0.6)
    figure, axes = plt.subplots(len(rules), len(drifts), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for (i, rule), (j, (drift, rate)) in product(enumerate(rules), enumerate(drifts)):
        draw_run(axes[i, j], table.filter(rule=rule, drift=drift, rate=rate, seed=0), levels)
        if i == 0:
            axes[i, j].set_title(f"{drift}, {rate:g} per update" if rate else drift, fontsize=9)
        if j == 0:
            axes[i, j].set_ylabel(rule.replace(", ", ",\n") + "\ncodes used", fontsize=8)
    for panel in axes[-1]:
        panel.set_xlabel("updates")
    shades = plt.cm.ScalarMappable(plt.Normalize(1, levels), colormaps["viridis"])
    figure.colorbar(shades, ax=axes, label="level", shrink=0.5, ticks=range(1, levels + 1))
    return lambda path: figure.savefig(path)


def draw_run(axes: Axes, table: pl.DataFrame, levels: int) -> None:
    """One run: a line for each level, and in the end what its replay keeps, in the share of what is seen by its probe."""
    for level in range(levels):
        rows, color = table.filter(level=level).sort("step"), colormaps["viridis"](level / max(1, levels - 1))
        axes.plot(rows["step"], rows["used"], color=color, lw=1.2)
        last = rows.row(-1, named=True)
        if last["replayed"] is not None:
            axes.plot(
                last["step"], last["used"] * last["replayed"] / last["on_probe"], "x", color=color, ms=5, clip_on=False
            )
    axes.set_ylim(bottom=0)
