"""SGD, EMA and Adam: the codes that a drift leaves over the law of the potential, and the exponent of the speed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from simulations.lineup import LINEUP

TABLE, SUFFIX = "mobilities", ".png"
RULES = {
    "vq": ("SGD", LINEUP["VQ"].color),
    "ema": ("EMA", LINEUP["EMA"].color),
    "adam": ("Adam", LINEUP["VQ by wins"].color),
}
EXPONENTS: dict[str, Callable[[Any], Any]] = {
    "vq": lambda dim: dim / (dim + 2),
    "ema": lambda dim: dim / 2,
    "adam": lambda dim: 2 * dim / (dim + 2),
}
MARKERS = {"ball": "o", "diagonal": "D"}


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Two panels."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 5), layout="constrained")
    draw_shares(left, table)
    draw_exponents(right, table)
    figure.legend(handles=entries(left), loc="outside lower center", ncols=5, fontsize=8)
    figure.suptitle(
        "The codes left fall with the speed by each rule's own exponent. Where the rear of the cloud is smooth (a ball),\n"
        "EMA and Adam keep fewer codes than the law says, and under Adam their number falls faster"
    )
    return lambda path: figure.savefig(path)


def draw_shares(axes: Axes, table: pl.DataFrame) -> None:
    """Codes over the law against how many the law has; the more dimensions, the fainter."""
    for (rule, shape, dim), runs in table.group_by("rule", "shape", "dim", maintain_order=True):
        means = runs.group_by("law").agg(pl.col("alive").mean()).sort("law")
        name, color = RULES[str(rule)]
        label = f"{name}, {shape}, D = {dim}"
        style: dict[str, Any] = {"color": color, "alpha": 1.2 - 0.3 * int(dim), "ms": 4, "lw": 0.9, "label": label}
        axes.plot(means["law"], means["alive"] / means["law"], f"{MARKERS[str(shape)]}-", **style)
    axes.axhline(1, color="black", lw=0.8, ls="--", gid="law")
    axes.set(xscale="log", xlabel="$K_{live}$ of the law", ylabel="codes left / $K_{live}$", ylim=(0, 1.85))


def entries(axes: Axes) -> list[Line2D]:
    """The curves for a legend that is filled column by column: a column per shape and dimension, a line per rule."""
    curves = [line for line in axes.lines if line.get_gid() != "law"]
    return sorted(curves, key=lambda line: str(line.get_label()).partition(", ")[2])


def draw_exponents(axes: Axes, table: pl.DataFrame) -> None:
    """Of each rule against the dimension, as fitted to the runs, and the law's."""
    dims = np.linspace(1, 3, 50)
    for rule, (name, color) in RULES.items():
        axes.plot(dims, EXPONENTS[rule](dims), color=color, lw=1, gid="law")
        for shape, marker in MARKERS.items():
            runs = table.filter(pl.col("rule") == rule, pl.col("shape") == shape)
            fits = [
                (int(dim), fitted(rule, int(dim), of_dim)) for (dim,), of_dim in runs.group_by("dim", maintain_order=True)
            ]
            label = f"{name}, {shape}"
            axes.plot(*zip(*fits, strict=True), marker, color=color, ms=5, label=label)
    axes.set(xticks=[1, 2, 3], xlabel="dimensions $D$", ylabel=r"exponent $e$ of codes left $\sim v^{-e}$")
    axes.legend(fontsize=7.5, loc="upper left")


def fitted(rule: str, dim: int, runs: pl.DataFrame) -> float:
    """The exponent of the speed: that of the law times the slope of the codes left over K_live."""
    slope = np.polyfit(np.log(runs["law"]), np.log(runs["alive"]), 1)[0]
    return float(EXPONENTS[rule](dim) * slope)
