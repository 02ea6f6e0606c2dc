"""How every rule converges on a standing encoder: residual and excess distortion against updates, and their slopes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from paper_figures.style import COLORS
from simulations.convergence import BATCH, LAWS, LINES, NUM_CODES, RULES, relaxation_rate, slope

TABLE, SUFFIX = "convergence", ".png"
EXCESS = pl.col("ratio") - 1
MEASURES = {"residual  $\\sum_k p_k\\,|m_k - c_k|^2$": pl.col("residual"), "distortion / optimum $-$ 1": EXCESS}
STYLES = {"VQ by wins": "-.", "NSVQ propagate": (0, (1, 2)), "SimVQ without bias": "--", "NSVQ softmax": "--"}
DRAWN = (
    "SimVQ",
    "SimVQ without bias",
    "CosineVQ",
    "EMA",
    "NSVQ",
    "NSVQ softmax",
    "TransVQ",
    "VQ by wins",
    "VQ",
    "NSVQ propagate",
)
STEEPEST = -1.6  # the left end of the slopes' axis


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Columns: laws; rows: residual, excess distortion, and the slopes of both in the last decade."""
    figure, grid = plt.subplots(3, len(LAWS), figsize=(11.5, 9), layout="constrained", height_ratios=[1, 1, 0.95])
    for column, law in zip(grid.T, LAWS, strict=True):
        of_law = table.filter(law=law)
        for axes, value in zip(column, MEASURES.values(), strict=False):
            draw_panel(axes, of_law, value)
        draw_slopes(column[2], of_law, law)
        column[0].set_title(title(law))
        column[1].set_xlabel(f"updates of batch {BATCH}")
    for axes, label in zip(grid[:, 0], MEASURES, strict=False):
        axes.set_ylabel(label)
    draw_lloyd(grid[1, -1], table)
    figure.suptitle(
        "A standing encoder: with steps c/t VQ, EMA, NSVQ and TransVQ approach k-means as 1/t; gains by wins (c = K) are\n"
        "far slower; a linear map (SimVQ) stops elsewhere. Patches have many k-means solutions, not only the best."
    )
    figure.legend(handles=legend(), loc="outside lower center", ncol=6)
    return lambda path: figure.savefig(path)


def title(law: str) -> str:
    """What a column shows."""
    name = f"{law} density, 1-D" if law in LINES else "4x4 patches"
    return f"{name}, {NUM_CODES[law]} codes"


def draw_panel(axes: Axes, table: pl.DataFrame, value: pl.Expr) -> None:
    """One measure of all rules: the mean over the seeds."""
    means = table.filter(pl.col("step") > 0).group_by("rule", "step").agg(value.mean().alias("mean")).sort("step")
    for rule in DRAWN:
        of_rule = means.filter(rule=rule)
        if len(of_rule):
            axes.plot(of_rule["step"], of_rule["mean"], color=COLORS[rule], ls=STYLES.get(rule, "-"), lw=1.4)
    positive = means.filter(pl.col("mean") > 0)["mean"].to_numpy()
    last = means["step"].to_numpy().max()
    axes.set(xscale="log", yscale="log", ylim=(positive.min() / 2, positive.max() * 2))
    axes.set(xticks=[10.0**power for power in range(6)], xlim=(0.8, 1.3 * last))
    draw_guide(axes, last)


def draw_guide(axes: Axes, last: float) -> None:
    """A line of slope -1 below the others, over the last factor 10."""
    bottom = axes.get_ylim()[0] * 1.6
    axes.plot([last / 10, last], [bottom * 10, bottom], color="0.35", lw=0.9)
    axes.text(last / 12, bottom * 4, "1/t", ha="right", va="center", color="0.35")


def draw_lloyd(axes: Axes, table: pl.DataFrame) -> None:
    """Where Lloyd's algorithm ends from the starts that the direct rules had."""
    ends = table.filter(law="patches", rule="VQ", step=0)["settled"].to_list()
    axes.axhspan(min(ends) - 1, max(ends) - 1, color="0.88", lw=0, zorder=0)
    axes.text(1, min(ends) - 1, "Lloyd, same starts", va="top", color="0.35", fontsize=8)


def draw_slopes(axes: Axes, table: pl.DataFrame, law: str) -> None:
    """The measured log-log slopes: full dots the residual's, circles the excess distortion's."""
    for place, rule in enumerate(RULES):
        of_rule = table.filter(rule=rule)
        if len(of_rule):
            for value, face in ((pl.col("residual"), COLORS[rule]), (EXCESS, "white")):
                measured = max(slope(of_rule, value), STEEPEST)
                axes.plot(measured, place, "o", ms=6, color=COLORS[rule], markerfacecolor=face, clip_on=False)
    if law in LINES:  # what the least eigenvalue says of c = K
        predicted = -min(1.0, 2 * NUM_CODES[law] * relaxation_rate(law))
        axes.plot(predicted, RULES.index("VQ by wins"), "|", ms=13, mew=1.6, color="k")
    for x in (-1, 0):
        axes.axvline(x, color="0.8", lw=0.8, zorder=0)
    axes.set(xlim=(STEEPEST, 0.15), ylim=(len(RULES) - 0.5, -0.5), xlabel="slope in the last decade")
    axes.set_yticks(range(len(RULES)), RULES if law == LAWS[0] else [""] * len(RULES))
    for label, rule in zip(axes.get_yticklabels(), RULES, strict=True):
        label.set_color(COLORS[rule])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="0.93")


def legend() -> list[Line2D]:
    """The rules' lines, and the marks of the third row."""
    lines = [Line2D([], [], color=COLORS[rule], ls=STYLES.get(rule, "-"), label=rule) for rule in RULES]
    marks = (
        ("slope of the residual", "o", "0.3"),
        ("slope of the excess", "o", "white"),
        ("predicted limit, by wins", "|", "k"),
    )
    dots = [
        Line2D([], [], ls="", marker=m, ms=6, color="0.3", markerfacecolor=face, label=label) for label, m, face in marks
    ]
    return lines + dots
