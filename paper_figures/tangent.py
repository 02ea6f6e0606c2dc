"""Why TransVQ preserves k-means and SimVQ does not: spectra of the tangent kernel, and |G| as the rules come to rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes

from simulations.lineup import LINEUP, in_order
from simulations.tangent import CODES, POINTS

TABLE, SUFFIX = "tangent", ".png"
ROUNDING = 1e-14  # below it nothing is left to see


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Left: eigenvalues, largest first; right: |G| against updates."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained", width_ratios=[1, 1.25])
    draw_spectra(left, table.drop_nulls("eigenvalue"))
    draw_residuals(right, table.drop_nulls("update"))
    figure.suptitle(
        f"TransVQ can move all {2 * CODES} coordinates of its codes, and rests at a k-means solution, $G=0$; SimVQ "
        "moves 6 or 4\nand rests where $J^TG=0$ but $G$ is not. "
        "Without positions TransVQ moves most of them too little to arrive"
    )
    return lambda path: figure.savefig(path)


def draw_spectra(axes: Axes, table: pl.DataFrame) -> None:
    """The geometric mean over the seeds, and each seed faintly."""
    for rule in in_order(table["rule"]):
        of_rule, color = table.filter(rule=rule), LINEUP[rule].color
        for _, one in of_rule.group_by("seed"):
            axes.plot(one["rank"], one["eigenvalue"], color=color, lw=0.6, alpha=0.5)
        mean = of_rule.group_by("rank").agg(pl.col("eigenvalue").log().mean().exp()).sort("rank")
        axes.plot(mean["rank"], mean["eigenvalue"], "o-", color=color, ms=3, lw=1.2, label=f"{rule}: {len(mean)}")
    axes.set(yscale="log", ylim=(1e-10, 2), xlabel="rank of the eigenvalue", ylabel=r"eigenvalue of $\Theta=JJ^T$ / largest")
    axes.set_xlim(0, 2 * CODES + 1)
    axes.legend(title="eigenvalues above 0", loc="lower left", alignment="left")


def draw_residuals(axes: Axes, table: pl.DataFrame) -> None:
    """The geometric mean of |G| over the seeds, and each seed faintly; what is below rounding is drawn at rounding."""
    table = table.with_columns(pl.col("residual", "pulled").clip(ROUNDING))
    for rule in in_order(table["rule"]):
        of_rule, color = table.filter(rule=rule), LINEUP[rule].color
        for _, one in of_rule.group_by("seed"):
            axes.plot(one["update"], one["residual"], color=color, lw=0.6, alpha=0.5)
        mean = of_rule.group_by("update").agg(pl.col("residual", "pulled").log().mean().exp()).sort("update")
        axes.plot(mean["update"], mean["residual"], color=color, lw=1.8)
        if LINEUP[rule].family == "SimVQ":
            axes.plot(mean["update"], mean["pulled"], color=color, lw=1.2, ls=":")
    end = int(table.select(pl.col("update").max()).item())
    label(axes, end, dict(table.filter(update=end).group_by("rule").agg(pl.col("ratio").mean()).rows()))
    axes.set(
        xscale="log", yscale="log", ylim=(ROUNDING / 2, 3), ylabel="$|G|$", xlabel=f"updates, all {POINTS} points in each"
    )


def label(axes: Axes, end: int, ratios: dict[str, float]) -> None:
    """Names beside the lines' ends, with the distortion at the end over the best of 30 Lloyd runs."""
    heights = {"SimVQ without bias": 5, "SimVQ": 0.12, "TransVQ without positions": 2.5e-3, "TransVQ": 4 * ROUNDING}
    for rule, height in heights.items():
        text = f"{rule}\n{ratios[rule]:.2f} x best Lloyd"
        axes.annotate(text, (end * 1.3, height), color=LINEUP[rule].color, va="center", annotation_clip=False, fontsize=8)
    axes.text(1, 1e-7, "dotted: $|J^TG|$ of SimVQ\nwith and without bias", color=LINEUP["SimVQ"].color, fontsize=8)
