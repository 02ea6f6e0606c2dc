"""Hysteresis: codes in use as a drift speeds up and slows down, against time and against the current speed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes

from simulations.hysteresis import CODES, CRITICAL, FASTEST, REST, STEP_SIZE, speed
from simulations.lineup import LINEUP, in_order
from vqtheory.theory import surviving_codes

TABLE, SUFFIX = "hysteresis", ".png"
SLOWEST = 0.1  # v_c, the left end of the loop


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Left: against time, with the speed below; right: plain VQ's loop."""
    figure = plt.figure(figsize=(10, 4.6), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[3, 1], width_ratios=[1.25, 1])
    usage = figure.add_subplot(grid[0, 0])
    draw_usage(usage, table)
    draw_speed(figure.add_subplot(grid[1, 0], sharex=usage))
    draw_loop(figure.add_subplot(grid[:, 1]), table)
    figure.suptitle(
        "Codes that plain VQ loses to a fast drift do not come back when it slows down; under NSVQ they crowd, go unused\n"
        "while the kernel is wide, and are all in use again once it has shrunk"
    )
    return lambda path: figure.savefig(path)


def draw_usage(axes: Axes, table: pl.DataFrame) -> None:
    """The mean of the runs with their range, and the mean motion."""
    for rule in in_order(table["rule"]):
        runs, color = summary(table, rule), LINEUP[rule].color
        axes.fill_between(runs["time"], runs["low"], runs["high"], color=color, alpha=0.25, lw=0)
        axes.plot(runs["time"], runs["mean"], color=color, lw=1.6, label=rule)
        fluid = table.filter(pl.col("run").is_null(), rule=rule)
        axes.plot(
            fluid["time"],
            fluid["alive"],
            color="k",
            lw=0.9,
            ls=":",
            label="mean motion" if rule == "NSVQ gaussian" else None,
        )
    axes.axvspan(1, 1 + REST, color="0.95", zorder=0)
    axes.annotate("encoder stationary,\nkernel shrinks", (1.02, 0.6), color="0.4", fontsize=8)
    axes.set(ylabel=f"codes in use, of {CODES}", ylim=(0, CODES + 1), xlim=(0, 1 + REST))
    axes.tick_params(labelbottom=False)
    axes.legend(loc="center right", bbox_to_anchor=(1, 0.62))


def summary(table: pl.DataFrame, rule: str) -> pl.DataFrame:
    """Mean and range over the runs of a rule."""
    alive = pl.col("alive")
    runs = table.filter(pl.col("run").is_not_null(), rule=rule).group_by("time", "speed")
    return runs.agg(alive.mean().alias("mean"), alive.min().alias("low"), alive.max().alias("high")).sort("time")


def draw_speed(axes: Axes) -> None:
    """v(t) over the speed that all codes can follow."""
    times = np.linspace(0, 1 + REST, 300)
    axes.fill_between(times, [speed(t, 1) for t in times], color="0.8", lw=0, gid="law")
    axes.axhline(1, color="0.4", lw=0.8, ls="--", gid="law")
    axes.set(xlabel="time / duration of the drift", ylabel=f"$v\\,/\\,v_c({CODES})$")


def draw_loop(axes: Axes, table: pl.DataFrame) -> None:
    """Plain VQ against the current speed, with the number of codes that can stay alive at it."""
    speeds = np.geomspace(SLOWEST, FASTEST, 2000)
    can_live = surviving_codes(speeds * CRITICAL, STEP_SIZE, num_codes=CODES)
    axes.plot(speeds, can_live, color="k", lw=1, label="can stay alive", gid="law")
    runs, color = summary(table, "VQ").filter(pl.col("speed") >= SLOWEST), LINEUP["VQ"].color
    for part, marker, label in (
        (pl.col("time") <= 0.5, ">", "VQ, speeding up"),
        (pl.col("time") > 0.5, "<", "slowing down"),
    ):
        one = runs.filter(part)
        axes.fill_between(one["speed"], one["low"], one["high"], color=color, alpha=0.2, lw=0)
        axes.plot(one["speed"], one["mean"], marker + "-", color=color, ms=4, lw=1, label=label)
    axes.set(xscale="log", xlabel=f"current speed $v\\,/\\,v_c({CODES})$", ylim=(0, CODES + 1), ylabel="codes in use")
    axes.legend(loc="lower left")
