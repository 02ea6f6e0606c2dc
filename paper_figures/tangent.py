"""What each map can move: spectra of the tangent kernel at equal trace, beside |G| as the rules come to rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes

from simulations.lineup import LINEUP, in_order
from simulations.tangent import CODES, POINTS

TABLE, SUFFIX = "tangent", ".png"
ROUNDING = 1e-14  # below it nothing is left to see
APART = 10**1.35  # labels, at least


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Left: eigenvalues, largest first; right: |G| against updates."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained", width_ratios=[1, 1.2])
    draw_spectra(left, table.drop_nulls("eigenvalue"))
    draw_residuals(right, table.drop_nulls("update"))
    figure.suptitle(
        f"What each map can move: TransVQ and FVQ all {2 * CODES} coordinates of the codes, and they rest at a k-means "
        "solution, $G=0$;\nSimVQ and GRITVQ 6 or 4, and rest where $J^TG=0$ but $G$ is not. A graph, and TransVQ\n"
        "without positions, move most too little to arrive"
    )
    return lambda path: figure.savefig(path)


def draw_spectra(axes: Axes, table: pl.DataFrame) -> None:
    """The geometric mean over the seeds, and each seed faintly."""
    for rule in in_order(table["rule"]):
        of_rule, color = table.filter(rule=rule), LINEUP[rule].color
        for _, one in of_rule.group_by("seed", maintain_order=True):
            axes.plot(one["rank"], one["eigenvalue"], color=color, lw=0.5, alpha=0.4)
        mean = of_rule.group_by("rank").agg(pl.col("eigenvalue").log().mean().exp()).sort("rank")
        axes.plot(mean["rank"], mean["eigenvalue"], "o-", color=color, ms=2.5, lw=1.2, label=f"{rule}: {len(mean)}")
    axes.axhline(1, color="0.6", lw=0.8, ls=":", zorder=0)
    axes.text(2 * CODES, 1.2, "plain VQ", color="0.4", ha="right", fontsize=8)
    axes.set(yscale="log", ylim=(1e-9, 50), xlabel="rank of the eigenvalue", ylabel=r"eigenvalue of $\Theta=JJ^T$ / mean")
    axes.set_xlim(0, 2 * CODES + 1)
    axes.legend(title="eigenvalues above 0", loc="lower left", alignment="left", fontsize=8)


def draw_residuals(axes: Axes, table: pl.DataFrame) -> None:
    """The geometric mean of |G| over the seeds, and each seed faintly; what is below rounding is drawn at rounding."""
    table = table.with_columns(pl.col("residual", "pulled").clip(ROUNDING))
    end, last = int(table.select(pl.col("update").max()).item()), {}
    for rule in in_order(table["rule"]):
        of_rule, color = table.filter(rule=rule), LINEUP[rule].color
        for _, one in of_rule.group_by("seed", maintain_order=True):
            axes.plot(one["update"], one["residual"], color=color, lw=0.5, alpha=0.4)
        mean = of_rule.group_by("update").agg(pl.col("residual", "pulled").log().mean().exp()).sort("update")
        axes.plot(mean["update"], mean["residual"], color=color, lw=1.8)
        if LINEUP[rule].family == "SimVQ":
            axes.plot(mean["update"], mean["pulled"], color=color, lw=1.2, ls=":")
        last[rule] = mean["residual"][-1]
    ratios = dict(table.filter(update=end).group_by("rule").agg(pl.col("ratio").mean()).rows())
    for rule, height in heights(last).items():
        text = f"{rule}\n{ratios[rule]:.2f} x best Lloyd"
        axes.annotate(text, (end * 1.3, height), color=LINEUP[rule].color, va="center", annotation_clip=False, fontsize=8)
    axes.text(1, 1e-9, "dotted: $|J^TG|$ of\nSimVQ and GRITVQ", color=LINEUP["SimVQ"].color, fontsize=8)
    axes.set(
        xscale="log", yscale="log", ylim=(ROUNDING / 2, 3), ylabel="$|G|$", xlabel=f"updates, all {POINTS} points in each"
    )


def heights(last: dict[str, float]) -> dict[str, float]:
    """Where each label stands: beside the end of its line, those above the middle pushed down and the others up."""
    ordered = sorted(last, key=lambda rule: last[rule])
    middle, placed = np.sqrt(ROUNDING), {}
    low, high = ROUNDING, 3.0
    for rule in (rule for rule in ordered if last[rule] < middle):
        placed[rule] = low = max(last[rule], low * APART)
    for rule in (rule for rule in reversed(ordered) if last[rule] >= middle):
        placed[rule] = high = min(last[rule], high / APART)
    return placed
