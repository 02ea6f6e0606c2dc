"""Codes used at each level of a residual stack over the updates, and what a replay on each level's own inputs keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib import colormaps
from matplotlib.axes import Axes

TABLE, SUFFIX = "stacks", ".png"
COLUMNS = (("stationary", 0.0), ("translating", 0.01), ("translating", 0.03), ("shrinking", 0.005))


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """A row for each rule; a column for each drift, and one for the replays; the first level is the darkest."""
    drifts = [drift for drift in COLUMNS if len(table.filter(drift=drift[0], rate=drift[1]))]
    rules, levels = table["rule"].unique(maintain_order=True).to_list(), table["level"].n_unique()
    size = (2.1 * len(drifts) + 3, 1.7 * len(rules) + 0.6)
    figure, axes = plt.subplots(len(rules), len(drifts) + 1, figsize=size, squeeze=False, layout="constrained")
    for row, rule in zip(axes, rules, strict=True):
        for panel, (drift, rate) in zip(row[:-1], drifts, strict=True):
            draw_run(panel, table.filter(rule=rule, drift=drift, rate=rate, seed=0), levels)
        draw_replays(row[-1], table.filter(rule=rule), levels)
        row[0].set_ylabel(f"{rule}\ncodes used".replace(", ", ",\n"), fontsize=8)
    for panel, (drift, rate) in zip(axes[0], drifts, strict=False):
        panel.set_title(f"{drift}, {rate:g} per update" if rate else drift, fontsize=9)
    axes[0, -1].set_title("replay of each level,\nall drifts", fontsize=9)
    for panel in axes[-1, :-1]:
        panel.set_xlabel("updates")
    axes[-1, -1].set_xlabel("counted on the probe")
    shades = plt.cm.ScalarMappable(plt.Normalize(1, levels), colormaps["viridis"])
    figure.colorbar(shades, ax=axes, label="level", shrink=0.5, ticks=range(1, levels + 1))
    return lambda path: figure.savefig(path)


def draw_run(axes: Axes, table: pl.DataFrame, levels: int) -> None:
    """One run, a line for each level."""
    for level in range(levels):
        rows = table.filter(level=level).sort("step")
        axes.plot(rows["step"], rows["used"], color=shade(level, levels), lw=1.2)
    axes.set_ylim(0, 1.05 * max(table["used"]))


def draw_replays(axes: Axes, table: pl.DataFrame, levels: int) -> None:
    """Codes that the replay of a level keeps against those that the stack has in the end, on the same latents."""
    rows = table.drop_nulls("replayed")
    colors = [shade(level, levels) for level in rows["level"]]
    axes.scatter(rows["on_probe"], rows["replayed"], s=9, c=colors)
    ends = [1, int(rows.select("on_probe", "replayed").to_numpy().max())]
    axes.plot(ends, ends, color="black", lw=0.7)
    axes.set(xscale="log", yscale="log")
    axes.set_ylabel("replayed", fontsize=8)


def shade(level: int, levels: int) -> tuple[float, float, float, float]:
    """The colour of a level."""
    return colormaps["viridis"](level / max(1, levels - 1))
