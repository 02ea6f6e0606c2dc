"""How every rule converges on a stationary encoder: residual and excess distortion against updates, and their slopes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from paper_figures.style import lines_of, stacked
from simulations.convergence import BATCH, DENSITIES, DISTRIBUTIONS, NUM_CODES, relaxation_rate, slope
from simulations.lineup import LINEUP, in_order

TABLE, SUFFIX = "convergence", ".png"
EXCESS = pl.col("ratio") - 1
MEASURES = {"residual  $\\sum_k p_k\\,|m_k - c_k|^2$": pl.col("residual"), "distortion / optimum $-$ 1": EXCESS}
STEEPEST = -1.6  # the left end of the slopes' axis


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Columns: distributions; rows: residual, excess distortion, and the slopes of both in the last decade."""
    rules = in_order(table["rule"])
    size, heights = (11.5, 6.9 + 0.185 * len(rules)), [1, 1, max(0.5, 0.072 * len(rules))]  # a name needs its line
    figure, grid = plt.subplots(3, len(DISTRIBUTIONS), figsize=size, layout="constrained", height_ratios=heights)
    for column, name in zip(grid.T, DISTRIBUTIONS, strict=True):
        of_name = table.filter(distribution=name)
        for axes, value in zip(column, MEASURES.values(), strict=False):
            draw_panel(axes, of_name, value)
        draw_slopes(column[2], of_name, rules)
        column[0].set_title(title(name))
        column[1].set_xlabel(f"updates of batch {BATCH}")
    for axes, name in zip(grid[2], DENSITIES, strict=False):
        draw_prediction(axes, name, rules)
    name_rules(grid[2], rules)
    for axes, label in zip(grid[:, 0], MEASURES, strict=False):
        axes.set_ylabel(label)
    draw_lloyd(grid[1, -1], table)
    figure.suptitle(
        "A stationary encoder: with steps c/t VQ, EMA, NSVQ and TransVQ approach k-means as 1/t; gains by wins (c = K) are\n"
        "far slower; a linear map (SimVQ) stops elsewhere. Patches have many k-means solutions, not only the best."
    )
    figure.legend(handles=[*lines_of(rules), *marks()], loc="outside lower center", ncol=6)
    return lambda path: figure.savefig(path)


def title(name: str) -> str:
    """What a column shows."""
    source = f"{name} density, 1-D" if name in DENSITIES else "4x4 patches"
    return f"{source}, {NUM_CODES[name]} codes"


def draw_panel(axes: Axes, table: pl.DataFrame, value: pl.Expr) -> None:
    """One measure of all rules: the mean over the seeds."""
    means = table.filter(pl.col("step") > 0).group_by("rule", "step").agg(value.mean().alias("mean")).sort("step")
    for rule in stacked(in_order(means["rule"])):
        of_rule = means.filter(rule=rule)
        axes.plot(of_rule["step"], of_rule["mean"], **LINEUP[rule].line, lw=1.4)
    positive = means.filter(pl.col("mean") > 0)["mean"].to_numpy()
    last = means["step"].to_numpy().max()
    axes.set(xscale="log", yscale="log", ylim=(positive.min() / 2, positive.max() * 2))
    axes.set(xticks=[10.0**power for power in range(6)], xlim=(0.8, 1.3 * last))
    draw_guide(axes, last)


def draw_guide(axes: Axes, last: float) -> None:
    """A line of slope -1 below the others, over the last factor 10."""
    bottom = axes.get_ylim()[0] * 1.6
    axes.plot([last / 10, last], [bottom * 10, bottom], color="0.35", lw=0.9, gid="law")
    axes.text(last / 12, bottom * 4, "1/t", ha="right", va="center", color="0.35")


def draw_lloyd(axes: Axes, table: pl.DataFrame) -> None:
    """Where Lloyd's algorithm ends from the starts that the direct rules had."""
    ends = table.filter(distribution="patches", rule="VQ", step=0)["settled"].to_list()
    axes.axhspan(min(ends) - 1, max(ends) - 1, color="0.88", lw=0, zorder=0)
    axes.text(1, min(ends) - 1, "Lloyd, same starts", va="top", color="0.35", fontsize=8)


def draw_slopes(axes: Axes, table: pl.DataFrame, rules: list[str]) -> None:
    """The measured log-log slopes: full dots the residual's, circles the excess distortion's."""
    for place, rule in enumerate(rules):
        of_rule, color = table.filter(rule=rule), LINEUP[rule].color
        if len(of_rule):
            for value, face in ((pl.col("residual"), color), (EXCESS, "white")):
                measured = max(slope(of_rule, value), STEEPEST)
                axes.plot(measured, place, "o", ms=6, color=color, markerfacecolor=face, clip_on=False)
    for x in (-1, 0):
        axes.axvline(x, color="0.8", lw=0.8, zorder=0)
    axes.set(xlim=(STEEPEST, 0.15), ylim=(len(rules) - 0.5, -0.5), xlabel="slope in the last decade")
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="0.93")


def draw_prediction(axes: Axes, name: str, rules: list[str]) -> None:
    """The slope of gains by wins, c = K, as the least eigenvalue has it."""
    predicted = -min(1.0, 2 * NUM_CODES[name] * relaxation_rate(name))
    axes.plot(predicted, rules.index("VQ by wins"), "|", ms=13, mew=1.6, color="k", gid="law")


def name_rules(row: Sequence[Axes], rules: list[str]) -> None:
    """The rules' names, in their colours, beside the first panel of a row."""
    for axes in row:
        axes.set_yticks(range(len(rules)), rules if axes is row[0] else [""] * len(rules))
    for label, rule in zip(row[0].get_yticklabels(), rules, strict=True):
        label.set_color(LINEUP[rule].color)


def marks() -> list[Line2D]:
    """The marks of the third row."""
    kinds = (
        ("slope of the residual", "o", "0.3"),
        ("slope of the excess", "o", "white"),
        ("predicted limit, by wins", "|", "k"),
    )
    return [
        Line2D([], [], ls="", marker=marker, ms=6, color="0.3", markerfacecolor=face, label=label)
        for label, marker, face in kinds
    ]
