"""The rotation trick and straight-through: codes used in the end, by where latents start and how fast EMA's codes are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

TABLE, SUFFIX = "rotation", ".png"
COLORS = {0.8: "#9ecae1", 0.99: "#4292c6", 0.999: "#08306b"}  # by EMA's decay
STYLES = {"straight-through": "o--", "rotation": "s-", "rotation-centred": "^:"}
STRETCH = "stretch of the latents at the start"


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Three panels: usage by the stretch of the start and by its distance, and how far latents have grown."""
    figure, (stretch, distance, growth) = plt.subplots(1, 3, figsize=(11.5, 4), layout="constrained")
    about, beside = table.filter(distance=0), table.filter(pl.col("distance") > 0)
    draw_means(stretch, about, "stretch", "usage")
    stretch.set(xscale="log", xlabel=STRETCH, ylabel="share of the codes used in the end", ylim=(0, 1.05))
    stretch.set_title("Latents about the origin: rotation keeps\nslow codes of small ones, not of large ones")
    draw_means(distance, beside, "distance", "usage")
    distance.set(xlabel="distance from the origin of latents of spread 2 at the start", ylim=(0, 1.05))
    distance.set_xticks(beside["distance"].unique())
    distance.set_title("Latents off the origin: rotation moves\nthem to it, and slow codes stay behind")
    draw_means(growth, about.filter(decay=about["decay"].max()), "stretch", "growth")
    growth.axhline(1, color="black", lw=0.8, ls=":")
    growth.set(xscale="log", yscale="log", xlabel=STRETCH, ylabel="growth of the latents' length")
    growth.set_title("Straight-through lets latents grow\naway from their codes, rotation does not")
    figure.legend(handles=entries(), loc="outside lower center", ncols=6, fontsize=8)
    return lambda path: figure.savefig(path)


def draw_means(axes: Axes, table: pl.DataFrame, column: str, quantity: str) -> None:
    """Over seeds; a line for each estimator and decay."""
    for (estimator, decay), runs in table.group_by("estimator", "decay", maintain_order=True):
        means = runs.group_by(column).agg(pl.col(quantity).mean()).sort(column)
        axes.plot(means[column], means[quantity], STYLES[str(estimator)], color=COLORS[decay], ms=4, lw=1.2)


def entries() -> list[Line2D]:
    """Of the legend: estimators by their marks, decays by their colours."""
    marks = [Line2D([], [], marker=style[0], ls=style[1:], color="black", label=name) for name, style in STYLES.items()]
    return [*marks, *(Line2D([], [], color=color, label=f"EMA at {decay:g}") for decay, color in COLORS.items())]
