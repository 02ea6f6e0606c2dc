"""The toy over time: where latents and codes are, for each rule, while the encoder translates and after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

import vqtheory as vq
from simulations.lineup import LINEUP, in_order
from simulations.toy import DRIFTING, POINTS, STEPS, drifts
from vqtheory.streams import Latents, Stream

TABLE, SUFFIX = "toy", ".png"
SHOWN = in_order(("VQ", "EMA", "NSVQ gaussian", "TransVQ", "NSVQ", "VQ with transport"))  # the paper's four, and two cures


def draw(table: pl.DataFrame, drift: str = "translating", step_size: float = 4.0) -> Callable[[Path], None]:
    """Rows: rules; columns: updates."""
    steps = [nearest_record(table, step) for step in (0, DRIFTING // 2, DRIFTING, STEPS // 2, STEPS)]
    rules = [rule for rule in SHOWN if rule in set(table["rule"])]
    size = (11, 1.6 * len(rules))
    figure, grid = plt.subplots(len(rules), len(steps), figsize=size, sharex=True, sharey=True, layout="constrained")
    for row, rule in zip(grid, rules, strict=True):
        for axes, step in zip(row, steps, strict=True):
            draw_panel(axes, *moment(table, rule, drift, step_size, step))
        row[0].set_ylabel(f"{rule}\naxis 2", color=LINEUP[rule].color)
    for axes, step in zip(grid[0], steps, strict=True):
        axes.set_title(f"update {step}{', drifting' if 0 < step < DRIFTING else ''}", fontsize=9, loc="left")
    for axes in grid[-1]:
        axes.set_xlabel("axis 1")
    figure.suptitle(f"The encoder's output {moves(drift)} until update {DRIFTING} and is stationary afterwards")
    figure.legend(handles=legend(), loc="outside lower center", ncol=3)
    return lambda path: figure.savefig(path)


def moves(drift: str) -> str:
    """The drift as a verb."""
    return {"translating": "translates", "shrinking": "shrinks", "expanding": "expands"}[drift]


def nearest_record(table: pl.DataFrame, step: int) -> int:
    """The recorded update nearest to `step`."""
    return min(table["step"].unique().to_list(), key=lambda recorded: (abs(recorded - step), recorded))


def moment(table: pl.DataFrame, rule: str, drift: str, step_size: float, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and codes at one record."""
    chosen = {"rule": rule, "drift": drift, "step_size": step_size, "step": step, "seed": 0}
    codes = table.row(by_predicate=pl.all_horizontal(pl.col(k) == v for k, v in chosen.items()), named=True)["codes"]
    points = Stream(Latents(POINTS), drifts()[drift]).at(step).support
    assert points is not None
    return points, np.reshape(codes, (-1, 2))


def draw_panel(axes: Axes, points: np.ndarray, codes: np.ndarray) -> None:
    """The cloud, the codes that are alive and the dead ones."""
    alive = vq.measure.cells(points, codes).hits > 0
    axes.plot(*points[::4].T, ".", ms=1, color="0.82", zorder=0)
    axes.plot(*codes[alive].T, "o", ms=3.5, color="#1b1b1b")
    axes.plot(*codes[~alive].T, "x", ms=5, mew=1.3, color="#c0392b")  # on top: dead codes may crowd under one that is chosen
    axes.text(0.98, 1.0, f"{alive.sum()} of {len(codes)}", transform=axes.transAxes, ha="right", va="bottom", fontsize=8)
    axes.set_aspect("equal")


def legend() -> list[Line2D]:
    """What the marks are."""
    marks = (("latents", ".", "0.7"), ("codes that are chosen", "o", "#1b1b1b"), ("dead codes", "x", "#c0392b"))
    return [Line2D([], [], ls="", marker=marker, color=color, label=label) for label, marker, color in marks]
