"""Rotation less straight-through in the share of codes used, by where latents start and how fast EMA's codes are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes

TABLE, SUFFIX = "rotation", ".png"
COLORS = {0.8: "#9ecae1", 0.99: "#4292c6", 0.999: "#08306b"}  # by EMA's decay
STYLES = {"straight-through": "o--", "rotation": "s-", "rotation-centred": "^:"}


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Three panels: usage by the stretch of the start and by its distance, and how far latents have grown."""
    figure, (stretch, distance, growth) = plt.subplots(1, 3, figsize=(12, 3.9), layout="constrained")
    about, beside = table.filter(distance=0), table.filter(stretch=1)
    draw_usage(stretch, about, "stretch")
    stretch.set(xscale="log", xlabel="latents' spread at the start", ylabel="share of the codes used in the end")
    stretch.set_title("Latents about the origin: rotation keeps\nthose that start small, loses those that start large")
    draw_usage(distance, beside, "distance")
    distance.set(xlabel="latents' distance from the origin at the start, of spread 2")
    distance.set_title("Latents off the origin: rotation moves\nthem to it, and slow codes stay behind")
    draw_growth(growth, about)
    stretch.legend(fontsize=7.5)
    return lambda path: figure.savefig(path)


def draw_usage(axes: Axes, table: pl.DataFrame, column: str) -> None:
    """Means over seeds; a line for each estimator and decay."""
    for (estimator, decay), runs in table.group_by("estimator", "decay", maintain_order=True):
        means = runs.group_by(column).agg(pl.col("usage").mean()).sort(column)
        label = f"{estimator}, EMA {decay:g}"
        axes.plot(means[column], means["usage"], STYLES[str(estimator)], color=COLORS[decay], ms=4, lw=1.2, label=label)
    axes.set_ylim(0, 1.05)


def draw_growth(axes: Axes, table: pl.DataFrame) -> None:
    """The latents' length in the end over its start, against the spread they start with, for the slowest codes."""
    slow = table.filter(decay=table["decay"].max())
    for (estimator,), runs in slow.group_by("estimator", maintain_order=True):
        means = runs.group_by("stretch").agg(pl.col("growth").mean()).sort("stretch")
        axes.plot(
            means["stretch"], means["growth"], STYLES[str(estimator)], color=COLORS[0.999], ms=4, lw=1.2, label=estimator
        )
    axes.axhline(1, color="black", lw=0.8, ls=":")
    axes.set(xscale="log", yscale="log", xlabel="latents' spread at the start", ylabel="growth of their length")
    axes.set_title("Straight-through lets latents grow,\nrotation holds them at their error")
    axes.legend(fontsize=7.5)
