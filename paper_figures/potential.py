"""The codes that a drift leaves against the law of the potential: four drifts, three clouds, one to four dimensions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes

from paper_figures.dimensions import HUES
from vqtheory.claims.laws.potential import DRIFTS

TABLE, SUFFIX = "potential", ".png"
MARKERS = {"uniform": "s", "Gaussian": "o", "skewed": "^"}


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """A panel for each drift."""
    figure, panels = plt.subplots(1, 4, figsize=(12.5, 3.9), layout="constrained", sharex=True, sharey=True)
    for axes, drift in zip(panels, DRIFTS, strict=True):
        draw_drift(axes, table.filter(pl.col("drift") == drift), drift)
    panels[0].set_ylabel("codes that carry mass, simulated")
    panels[0].legend(handles=handles(), fontsize=7.5, loc="upper left")
    figure.supxlabel(r"law: $(\eta M)^{D/(D+2)}\int (f / (\Phi-\Phi_{\min}))^{D/(D+2)}\,dx$", fontsize=9)
    figure.suptitle("One integral over the potential of the encoder's flow says how many codes each smooth drift leaves")
    return lambda path: figure.savefig(path)


def draw_drift(axes: Axes, runs: pl.DataFrame, drift: str) -> None:
    """Every run, and the diagonal."""
    for (source, dim), of_cloud in runs.group_by("source", "dim", maintain_order=True):
        axes.plot(of_cloud["law"], of_cloud["carrying"], MARKERS[str(source)], ms=4, mew=0, alpha=0.85, color=HUES[int(dim)])
    ends = np.array([2.0, 400.0])
    axes.plot(ends, ends, "k--", lw=0.8, gid="law")
    axes.fill_between(ends, 0.85 * ends, 1.15 * ends, color="0.85", lw=0, zorder=0)
    axes.set(xscale="log", yscale="log", title=drift, aspect="equal")


def handles() -> list:
    """Colours are dimensions, marks clouds."""
    dims = [plt.Line2D([], [], marker="o", ls="", ms=4, color=HUES[dim], label=f"D = {dim}") for dim in (1, 2, 3, 4)]
    clouds = [plt.Line2D([], [], marker=mark, ls="", ms=4, color="0.4", label=name) for name, mark in MARKERS.items()]
    return [*dims, *clouds]
