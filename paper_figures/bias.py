"""How far NSVQ stays from k-means against its bandwidth, and how fast that falls: gaussian and softmax form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from simulations.lineup import LINEUP
from vqtheory.claims.laws.bias import FORMS, NUM_CODES
from vqtheory.claims.statement import mean_interval

TABLE, SUFFIX = "bias", ".png"
HUES = {"gaussian": LINEUP["NSVQ gaussian"].color, "softmax": LINEUP["NSVQ softmax"].color}
LAWS = {
    "gaussian": r"$|H^{-1}\,\kappa f\sigma^2 e^{-r^2/2\sigma^2}|$",
    "softmax": r"$|H^{-1}\,(\tau/4) f \kappa K \ln 2|$, $\tau=\sigma^2$",
}


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Left: distances; right: their log-log slopes."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained", width_ratios=[1.3, 1])
    for form in FORMS:
        computed = table.filter(pl.col("simulated").is_null(), form=form).sort("bandwidth")
        draw_distances(left, form, computed, table.filter(pl.col("simulated").is_not_null(), form=form))
        draw_slopes(right, form, computed)
    left.set(xscale="log", yscale="log", ylabel="distance of the codes from k-means", ylim=(1e-12, 1))
    right.set(xscale="log", ylabel="log-log slope of the distance")
    for axes in (left, right):
        axes.set_xticks([0.02, 0.05, 0.1, 0.2], ["0.02", "0.05", "0.1", "0.2"])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(r"bandwidth $\sigma$ / width of the cloud")
        axes.legend(loc="lower right" if axes is left else "upper right", fontsize=8)
    figure.suptitle(
        "NSVQ's bias goes to 0 with its bandwidth: in the gaussian form faster than any power, "
        r"in the softmax form as $\tau=\sigma^2$"
    )
    return lambda path: figure.savefig(path)


def draw_distances(axes: Axes, form: str, computed: pl.DataFrame, simulated: pl.DataFrame) -> None:
    """Fixed points as small dots, first order as a line, simulations with their intervals."""
    color, widths = HUES[form], computed["bandwidth"]
    axes.plot(widths, computed["first order"], color=color, lw=1.2, gid="law", label=f"{form}: {LAWS[form]}")
    axes.plot(widths, computed["distance"], "o", ms=3, color=color, label="fixed point")
    for (width,), runs in simulated.group_by("bandwidth"):
        mean, (low, high) = mean_interval(runs["simulated"])
        axes.errorbar(width, mean, [[mean - low], [high - mean]], fmt="D", ms=6, mfc="none", mec="black", ecolor="black")
    if form == FORMS[-1]:
        axes.plot([], [], "D", ms=6, mfc="none", mec="black", label="simulated")


def draw_slopes(axes: Axes, form: str, computed: pl.DataFrame) -> None:
    """Between neighbouring bandwidths, beside 2 + (r / sigma)^2 or 2."""
    log_width = np.log(computed["bandwidth"].to_numpy())
    middle, slopes = np.exp((log_width[1:] + log_width[:-1]) / 2), np.diff(np.log(computed["distance"])) / np.diff(log_width)
    gaussian = form == "gaussian"
    law = 2 + (0.5 / NUM_CODES / middle) ** 2 * gaussian
    axes.plot(middle, law, color=HUES[form], lw=1.2, gid="law", label=r"$2+r^2/\sigma^2$" if gaussian else "2")
    axes.plot(middle, slopes, "o", ms=3, color=HUES[form], label=f"{form}, fixed point")
