"""Verdicts as a picture: what was measured, beside what was predicted, in units of what would count as evidence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from vqtheory.claims.statement import Verdict
from vqtheory.claims.table import frame, summary_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HUES = {"holds": "#2a9d55", "refuted": "#c0392b", "undecided": "#e08e1b"}
REACH = 2.5  # of the axis; what lies beyond is drawn at its end
FEW = 20  # claims, up to which there is one column


def plot(verdicts: Iterable[Verdict]) -> Figure:
    """The verdicts, each a line, as a figure: grey what was predicted, a bar the interval of what was measured.

    Where one number is predicted, grey is the widest interval that counts as evidence. A bar is green where the claim
    holds, red where it is refuted, and orange where it is undecided.

    Examples
    --------
    >>> from vqtheory.claims import plot, verify
    >>> figure = plot(verify(["threshold-of-two", "relaxation-rate-formula"]))
    >>> sorted(label.get_text() for label in figure.axes[0].get_yticklabels())
    ['relaxation-rate-formula', 'threshold-of-two']
    """
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    draw(figure, frame(verdicts))
    return figure


def draw(figure: Figure, table: pl.DataFrame) -> None:
    """One line per row of `frame`, in two columns where there are many."""
    columns = 1 if table.height <= FEW else 2
    height = -(-table.height // columns)
    figure.set_size_inches(9 if columns == 1 else 15, 0.2 * height + 1.4)
    for column, axes in enumerate(figure.subplots(1, columns, squeeze=False)[0]):
        draw_column(axes, table[column * height : (column + 1) * height])
    figure.suptitle(
        f"{summary_of(table)}. Grey: the predicted range, or the widest interval that counts as evidence\n"
        "for a single number. Bars: what was measured, and its interval in numbers"
    )


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
    axes.spines[["top", "right", "left"]].set_visible(False)
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
