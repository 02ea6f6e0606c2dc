"""Does the law's number hold in a VQ-VAE? Predicted and observed survivors of codebooks under SGD."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from scipy import stats

from vqtheory.theory import transient_codes

TABLE, SUFFIX = "faces", ".png"
PREDICTIONS = {
    "the law, of the measured drift": pl.col("predicted"),
    "the law of a growing ball": pl.struct("codes", "dim", "label", "looks").map_elements(
        lambda row: transient(**row), return_dtype=pl.Float64
    ),
    "replay: the probe's motion": pl.col("replayed").list.get(0),
    "replay: growth and shift alone": pl.col("replayed").list.get(1),
    "replay: shift alone": pl.col("replayed").list.get(2),
}
COLORS = ("#c0392b", "#e08e1b", "#1f77b4", "#2a9d55", "#8856a7")
MARKERS = ("o", "v", "s", "^", "D")


def transient(codes: int, dim: int, label: str, looks: list[dict]) -> float:
    """The codes that 99 % of a ball are given once it has grown as the probe's spread did.

    In as many dimensions as the probe fills in the median, rounded up, at the step size 2 lr / D of the training.
    """
    steps, spread = (np.array([look[name] for look in looks]) for name in ("step", "spread"))
    every = np.diff(steps)
    growth = np.repeat(np.diff(np.log(spread)) / every, every)
    filled = math.ceil(np.median([look["dimension"] for look in looks]))
    rate = float(label.rsplit(" ", 1)[1])
    found = transient_codes(codes, 2 * rate / dim, growth=growth, dim=filled, steps=len(growth), records=2)
    return float(found.carrying[-1])


class Agreement(NamedTuple):
    """Of predictions with what was observed, over the trainings."""

    ratio: float  # geometric mean of predicted over observed
    low: float  # its interval at 95 %, of a t-test on logarithms
    high: float
    within: float  # share of the trainings where they are within a factor of two
    rank: float  # Spearman's rank correlation
    rank_low: float  # its interval at 95 %, from trainings drawn anew
    rank_high: float


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Predicted over observed, and the ratio for each prediction."""
    rows = table.filter(group="sgd").with_columns(**PREDICTIONS)
    figure, (scatter, ratios) = plt.subplots(1, 2, figsize=(10, 4.4), layout="constrained")
    draw_scatter(scatter, rows)
    draw_ratios(ratios, rows)
    law = agreement(rows, next(iter(PREDICTIONS)))
    figure.suptitle(
        f"Codes that 99 % of the latents are given, VQ under SGD: predicted over observed {law.ratio:.2f} "
        f"[{law.low:.2f}, {law.high:.2f}], rank correlation {law.rank:.2f}"
    )
    return lambda path: figure.savefig(path)


def draw_scatter(axes: Axes, rows: pl.DataFrame) -> None:
    """The law, and the replay, against what was observed."""
    line = np.array([1, 1000])
    axes.fill_between(line, line / 2, 2 * line, color="0.93", lw=0, gid="law")
    axes.plot(line, line, color="0.6", lw=1, gid="law")
    for name, color, marker in list(zip(PREDICTIONS, COLORS, MARKERS, strict=True))[:3]:
        axes.plot(rows["carrying"], rows[name], marker, color=color, alpha=0.7, label=name)
    axes.set(xscale="log", yscale="log", xlim=(1.5, 300), ylim=(1.5, 300), xlabel="observed", ylabel="predicted")
    axes.legend(loc="upper left")


def draw_ratios(axes: Axes, rows: pl.DataFrame) -> None:
    """Each prediction's ratios, with the interval of their mean."""
    axes.axvspan(0.5, 2, color="0.93", lw=0)
    axes.axvline(1, color="0.6", lw=1)
    for place, (name, color) in enumerate(zip(PREDICTIONS, COLORS, strict=True)):
        mean = agreement(rows, name)
        axes.plot(rows[name] / rows["carrying"], np.full(len(rows), place), ".", color=color, alpha=0.6)
        axes.plot([mean.low, mean.high], [place + 0.2] * 2, color=color, lw=2)
        axes.plot(mean.ratio, place + 0.2, "|", color=color, ms=10, mew=2)
    axes.set(xscale="log", yticks=range(len(PREDICTIONS)), yticklabels=PREDICTIONS, xlabel="predicted / observed")
    axes.invert_yaxis()


def agreement(rows: pl.DataFrame, name: str) -> Agreement:
    """How well a prediction does."""
    predicted, observed = rows[name].to_numpy(), rows["carrying"].to_numpy()
    logs = np.log(predicted / observed)
    reach = stats.t.ppf(0.975, len(logs) - 1) * stats.sem(logs)
    resamples = np.random.default_rng(0).integers(len(logs), size=(1000, len(logs)))
    rank_low, rank_high = np.nanquantile(rank_correlation(predicted[resamples], observed[resamples]), [0.025, 0.975])
    rank = rank_correlation(predicted, observed)
    mean, low, high = np.exp(logs.mean() + reach * np.array([0, -1, 1]))
    within = np.mean(np.abs(logs) <= np.log(2))
    return Agreement(*map(float, (mean, low, high, within, rank, rank_low, rank_high)))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Spearman's, along the last axis."""
    a, b = (stats.rankdata(values, axis=-1) for values in (a, b))
    a, b = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (a, b))
    return np.sum(a * b, axis=-1) / np.sqrt(np.sum(a**2, axis=-1) * np.sum(b**2, axis=-1))
