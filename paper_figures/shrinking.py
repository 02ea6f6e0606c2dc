"""How fast a cloud may shrink: codes alive and distortion at the end against the rate, both sides of the limit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.ticker import NullLocator

from simulations.lineup import LINEUP, in_order
from simulations.toy import CODES

TABLE, SUFFIX = "shrinking", ".png"


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Left: codes alive; right: distortion over the best Lloyd."""
    rates = sorted(table["rate"].unique().to_list())
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    for axes, column in ((left, "alive"), (right, "ratio")):
        for rule in in_order(table["rule"]):
            of_rule = table.filter(rule=rule)
            median = of_rule.group_by("rate").agg(pl.col(column).median()).sort("rate")
            axes.plot(median["rate"], median[column], **LINEUP[rule].line, label=rule)
            axes.plot(of_rule["rate"], of_rule[column], "o", ms=3, color=LINEUP[rule].color, alpha=0.5)
        axes.set(xscale="log", xlabel="shrinking per update, percent")
        axes.set_xticks(rates, [f"{100 * rate:g}" for rate in rates])
        axes.xaxis.set_minor_locator(NullLocator())
    left.set(ylabel=f"codes alive at the end, of {CODES}", ylim=(0, CODES + 1))
    right.set(ylabel="distortion / best Lloyd at the end", yscale="log")
    left.legend()
    figure.suptitle("An encoder that shrinks to 0.14 of its size, faster and slower")
    return lambda path: figure.savefig(path)
