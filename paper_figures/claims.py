"""Every claim at a glance: what was measured, beside what was predicted, in units of what would count as evidence.

The page of the claims is written beside the picture, from the same table: docs/claims.md and docs/claims.png.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.style import save
from vqtheory.claims.table import page, summary_of

TABLE, SUFFIX = "claims", ".png"
HUES = {"holds": "#2a9d55", "refuted": "#c0392b", "undecided": "#e08e1b"}
REACH = 2.5  # of the axis; what lies beyond is drawn at its end


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """One line per claim, in two columns."""
    half = -(-table.height // 2)
    figure, columns = plt.subplots(1, 2, figsize=(15, 0.2 * half + 1.4), layout="constrained")
    for axes, part in zip(columns, (table[:half], table[half:]), strict=True):
        draw_column(axes, part)
    figure.suptitle(
        f"{summary_of(table)}. Grey: the predicted range, or the widest interval that counts as evidence\n"
        "for a single number. Bars: what was measured, and its interval in numbers"
    )
    return partial(write, figure, table)


def write(figure: Figure, table: pl.DataFrame, path: Path) -> None:
    """The picture, which carries the counts as its title, and claims.md beside it."""
    figure.savefig(path, metadata={"Title": summary_of(table)})
    save(path.with_name("claims.md"), lambda beside: beside.write_text(page(table), "utf-8"))  # type: ignore[arg-type]


def draw_column(axes: Axes, table: pl.DataFrame) -> None:
    """Keys on the left, intervals on the right."""
    rows = table.height - 1 - np.arange(table.height)
    axes.barh(rows, 2, left=-1, height=0.7, color="#ececec")
    for row, claim in zip(rows, table.iter_rows(named=True), strict=True):
        low, middle, high = scaled(claim)
        color = HUES[claim["outcome"]]
        axes.plot([low, high], [row, row], color=color, lw=2)
        axes.plot(middle, row, "o", color=color, ms=4)
        axes.text(REACH, float(row), interval(claim), fontsize=7, va="center", ha="left")
    axes.set_yticks(rows, table["claim"], fontsize=8)
    axes.set(xlim=(-REACH, REACH), ylim=(-0.8, table.height - 0.2), xticks=[-1, 0, 1])
    axes.set_xticklabels(["low end", "predicted", "high end"])
    axes.spines["left"].set_visible(False)
    axes.tick_params(left=False)
    axes.spines["bottom"].set_bounds(-REACH, REACH)


def interval(claim: dict) -> str:
    """What was measured, as a number where it is one."""
    middle, low, high = (f"{claim[name]:.4g}" for name in ("measured", "low", "high"))
    return middle if low == high else f"{middle}  [{low}, {high}]"


def scaled(claim: dict) -> np.ndarray:
    """The low end, middle and high end of what was measured; the prediction spans -1 to 1."""
    low, high = claim["predicted_low"], claim["predicted_high"]
    if not np.isfinite(low + high):  # from the finite end on, in units of what was measured
        finite, sign = (low, 1.0) if np.isfinite(low) else (high, -1.0)
        reach = max(abs(claim["measured"] - finite), 1e-300)
        centre = finite + sign * reach
    elif low == high:
        centre, reach = low, (claim["resolution"] or 0.0) / 2
    else:
        centre, reach = (low + high) / 2, (high - low) / 2
    ends = np.array([claim["low"], claim["measured"], claim["high"]])
    return np.clip((ends - centre) / (reach or 1.0), -REACH, REACH)
