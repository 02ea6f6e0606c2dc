"""Every rule on patches of a photograph that drifts and is then stationary: codes alive and distortion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure

from paper_figures.style import lines_of, stacked
from simulations.drift import BATCH, CODES
from simulations.lineup import LINEUP, in_order

TABLE, SUFFIX = "drift", ".png"
MEASURES = {f"codes alive, of {CODES}": CODES - pl.col("dead"), "distortion / best Lloyd": pl.col("ratio")}
OF_THE_PAPER = ("VQ", "EMA", "VQ with transport", "NSVQ", "NSVQ gaussian", "NSVQ softmax", "NSVQ propagate", "TransVQ")
WORST = 30  # the top of the axis of distortions: one code that is left behind may have any
SHIFTS = 3  # drawn, the fastest


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Columns: drifts, faster to the right; rows: codes alive and distortion of the paper's rules, then of all others."""
    drifts = shown(table)
    figure = plt.figure(figsize=(2.6 * len(drifts) + 1.2, 10), layout="constrained")
    paper = pl.col("rule").is_in(OF_THE_PAPER)
    for block, rules in zip(
        figure.subfigures(2, 1, squeeze=False).flat, (table.filter(paper), table.filter(~paper)), strict=True
    ):
        draw_block(block, rules, drifts)
    figure.suptitle(
        "While the encoder drifts (shaded) VQ and EMA lose codes for good. NSVQ crowds its codes and has them all back\n"
        "afterwards (softmax: after slow drifts). NSVQ propagate follows a shift, TransVQ one of up to 0.01; "
        "both lose codes where it shrinks"
    )
    return lambda path: figure.savefig(path)


def shown(table: pl.DataFrame) -> list[tuple[str, float]]:
    """The fastest shifts, then the shrinking ones; all are in the table."""
    drifts = table.select("drift", "speed").unique(maintain_order=True).sort("speed", maintain_order=True).rows()
    shifts = [drift for drift in drifts if drift[0] == "brighter"]
    return shifts[-SHIFTS:] + [drift for drift in drifts if drift[0] != "brighter"]


def draw_block(block: SubFigure, table: pl.DataFrame, drifts: list[tuple[str, float]]) -> None:
    """Two rows of panels, and the lines of their rules at their right."""
    grid = block.subplots(2, len(drifts), sharex=True, sharey="row", squeeze=False)
    for column, (drift, speed) in zip(grid.T, drifts, strict=True):
        for axes, value in zip(column, MEASURES.values(), strict=True):
            draw_panel(axes, table.filter(drift=drift, speed=speed), value)
        column[0].set_title(title(drift, speed))
        column[-1].set_xlabel(f"updates of batch {BATCH}")
    for axes, label in zip(grid[:, 0], MEASURES, strict=True):
        axes.set_ylabel(label)
    grid[0, 0].set(ylim=(0, CODES + 2), yticks=range(0, CODES + 1, 16))
    grid[1, 0].set(yscale="log", ylim=(0.95, WORST), yticks=[1, 2, 5, 10, 20], yticklabels=["1", "2", "5", "10", "20"])
    grid[1, 0].minorticks_off()
    block.legend(handles=lines_of(in_order(table["rule"])), loc="outside right center")


def title(drift: str, speed: float) -> str:
    """What the encoder does."""
    return f"shifts by {speed:g} per update" if drift == "brighter" else f"shrinks by {100 * speed:g} % per update"


def draw_panel(axes: Axes, table: pl.DataFrame, value: pl.Expr) -> None:
    """One measure for all rules: the median over the seeds, and their range."""
    table = table.with_columns(value=value).drop_nulls("value")
    spread = pl.col("value")
    summary = table.group_by("rule", "step").agg(median=spread.median(), low=spread.min(), high=spread.max()).sort("step")
    axes.axvspan(0, table["drifting"][0], color="0.93", lw=0, zorder=0)
    for rule in stacked(in_order(summary["rule"])):
        of_rule, entry = summary.filter(rule=rule), LINEUP[rule]
        axes.fill_between(of_rule["step"], of_rule["low"], of_rule["high"], color=entry.color, alpha=0.13, lw=0)
        axes.plot(of_rule["step"], of_rule["median"], **entry.line, lw=1.5)
    axes.margins(x=0.02)
