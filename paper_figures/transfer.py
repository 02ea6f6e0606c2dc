"""Frozen features in clusters and Gaussian ones of the same spectrum: codes used and distortion, by graph and latents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

TABLE, SUFFIX = "transfer", ".png"
COLORS = {"structured": "#6d4c41", "gaussian": "#17a2a2"}  # by the features
MARKS = {False: "o", True: "^"}  # by whether latents drift
TITLES = {
    "clusters": "Latents in clusters: clusters of features keep\nmore codes, unless edges at random mix them",
    "gaussian": "Latents in one cloud: clusters of features,\nmixed by edges within them, only leave gaps",
}
LABELS = {"usage": "share of the codes used in the end", "distortion": "distortion over the latents' variance"}


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """A column for each kind of latents, usage above and distortion below."""
    figure, axes = plt.subplots(2, 2, figsize=(9, 6), sharex=True, layout="constrained")
    for column, (latents, title) in zip(axes.T, TITLES.items(), strict=True):
        column[0].set_title(title)
        for panel, quantity in zip(column, LABELS, strict=True):
            draw_points(panel, table.filter(latents=latents), quantity)
        column[0].set_ylim(0, 1.05)
    for row, label in zip(axes, LABELS.values(), strict=True):
        row[0].set_ylabel(label)
    figure.legend(handles=entries(), loc="outside lower center", ncols=4)
    return lambda path: figure.savefig(path)


def draw_points(axes: Axes, table: pl.DataFrame, quantity: str) -> None:
    """Every run, one place for each graph, the two kinds of features beside each other."""
    graphs = table["graph"].unique(maintain_order=True).to_list()
    for place, (kind, color) in enumerate(COLORS.items()):
        for moves, mark in MARKS.items():
            runs = table.filter(pl.col("features") == kind, (pl.col("speed") > 0) == moves)
            x = [graphs.index(graph) + 0.24 * (place - 0.5) + 0.1 * (moves - 0.5) for graph in runs["graph"]]
            axes.plot(x, runs[quantity], mark, color=color, ms=4, alpha=0.8)
    axes.set_xticks(range(len(graphs)), [f"edges {graph}".replace("edges no", "no") for graph in graphs])
    axes.set_ylim(bottom=0)


def entries() -> list[Line2D]:
    """Of the legend: features by their colours, drift by the marks."""
    features = [
        Line2D([], [], marker="s", ls="", color=color, label=f"{kind.capitalize()} features")
        for kind, color in COLORS.items()
    ]
    drift = {False: "stationary latents", True: "drifting latents"}
    return [*features, *(Line2D([], [], marker=MARKS[moves], ls="", color="black", label=drift[moves]) for moves in MARKS)]
