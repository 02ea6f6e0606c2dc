"""The collapse law in one dimension: survivors against speed for six distributions, thresholds against step size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes

from vqtheory.claims.laws.collapse import CLOUDS, noisy_share
from vqtheory.theory import critical_speed

TABLE, SUFFIX = "survivors", ".png"
WAYS = {1: ("#c0392b", "o", "forward"), -1: ("#1f77b4", "s", "backward")}
SHADES = {2: "#f1948a", 4: "#c0392b", 8: "#641e16"}
TITLES = {"quadratic": r"$f=3x^2$ on [0, 1]", "mixture": "mixture of two normals"}


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Six small panels of survivors, and a large one of thresholds."""
    figure = plt.figure(figsize=(11.5, 5.2), layout="constrained")
    ((left, right),) = figure.subfigures(1, 2, squeeze=False, width_ratios=[1.9, 1])
    grid = left.subplots(2, 3, sharex=True, sharey=True)
    drifting = table.drop_nulls("distribution")
    for axes, name in zip(grid.flat, CLOUDS, strict=True):
        draw_survivors(axes, drifting.filter(distribution=name), name)
    left.supxlabel(r"speed of the drift  $v\,/\,\eta\,\mathrm{sd}$", fontsize=9)
    left.supylabel("codes left alive", fontsize=9)
    draw_thresholds(right.subplots(), table.drop_nulls("step_size"))
    figure.suptitle(
        "A steady drift leaves plain VQ with as many codes as have a steady state, whatever the distribution and its\n"
        "direction; the noise of single samples lowers the threshold by a share that vanishes with the step size"
    )
    return lambda path: figure.savefig(path)


def draw_survivors(axes: Axes, table: pl.DataFrame, name: str) -> None:
    """The law as a staircase, the mean of the runs as marks, and their range."""
    most = int(table.select(pl.col("fluid").max()).item()) + 1
    for way in CLOUDS[name].directions:
        color, marker, label = WAYS[way]
        draw_law(axes, name, way, most, color)
        of_way = table.filter(direction=way).group_by("speed").agg(
            pl.col("simulated").mean().alias("mean"),
            pl.col("simulated").min().alias("low"),
            pl.col("simulated").max().alias("high"),
        ).sort("speed")  # fmt: skip
        axes.vlines(of_way["speed"], of_way["low"], of_way["high"], color=color, lw=1.2)
        axes.plot(of_way["speed"], of_way["mean"], marker, color=color, ms=4, label=label)
    axes.set(xscale="log", yscale="log", title=TITLES.get(name, name), yticks=[1, 2, 4, 8, 16, 32])
    axes.set_yticklabels(["1", "2", "4", "8", "16", "32"])
    axes.minorticks_off()
    if len(CLOUDS[name].directions) > 1:
        axes.legend(title="drift", alignment="left")


def draw_law(axes: Axes, name: str, way: int, most: int, color: str) -> None:
    """K codes up to v_c(K)."""
    source, counts = CLOUDS[name].source, np.arange(most, 1, -1)
    lags = critical_speed(counts, 1.0, density=source, direction=way) / float(source.distribution().std())
    axes.step([*lags, 2 * lags[-1]], [*counts, 1], where="pre", color=color, lw=1, alpha=0.8, gid="law")


def draw_thresholds(axes: Axes, table: pl.DataFrame) -> None:
    """Measured threshold over v_c, and the law for a run of that length."""
    least, most = table["step_size"].to_numpy().min() / 2, table["step_size"].to_numpy().max()
    for num_codes in table["num_codes"].unique(maintain_order=True).to_list():
        color, of_size = SHADES[num_codes], table.filter(num_codes=num_codes)
        etas = np.geomspace(least, most, 40).tolist()
        axes.plot(etas, [1 - noisy_share(num_codes, eta, 1) for eta in etas], color=color, lw=1.2, gid="law")
        means = of_size.group_by("step_size").agg(
            (1 - pl.col("share")).mean().alias("mean"), pl.col("share").std().alias("spread")
        )
        axes.errorbar(
            means["step_size"], means["mean"], means["spread"], fmt="o", color=color, ms=4.5, lw=1, label=f"K = {num_codes}"
        )
    axes.axhline(1, color="0.7", lw=0.8, gid="law")
    axes.annotate("mean motion", (least, 1.003), color="0.4", fontsize=8)
    axes.set(
        xscale="log",
        xlabel=r"step size $\eta$, one sample per update",
        ylabel="speed at which a run loses its first code / $v_c$",
    )
    axes.set_xticks([0.01, 0.02, 0.05, 0.1, 0.2], ["0.01", "0.02", "0.05", "0.1", "0.2"], minor=False)
    axes.minorticks_off()
    axes.legend(title=r"lines: $1-c\,(\eta\Lambda/B)^{2/3}$", loc="lower left", alignment="left")
