"""The toy as an animation: the rules follow the same translating encoder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.animation import FuncAnimation, PillowWriter

from paper_figures.toy import SHOWN, draw_panel, moment
from simulations.toy import DRIFTING

TABLE, SUFFIX = "toy", ".gif"
LIMITS = {"xlim": (-4.0, 11.0), "ylim": (-4.0, 4.0)}


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """A panel for each rule, a frame for each second record."""
    steps = sorted(table["step"].unique().to_list())[::2]
    figure, grid = plt.subplots(2, 3, figsize=(9.5, 4.2), sharex=True, sharey=True, layout="constrained")

    def frame(step: int) -> list:
        for axes, rule in zip(grid.flat, SHOWN, strict=True):
            axes.clear()
            draw_panel(axes, *moment(table, rule, "translating", 4.0, step))
            axes.set(title=rule, **LIMITS)
        return [figure.suptitle(f"update {step}: the encoder {'drifts' if step < DRIFTING else 'is stationary'}")]

    animation = FuncAnimation(figure, frame, frames=steps)
    return lambda path: animation.save(path, writer=PillowWriter(fps=8), dpi=80)
