"""What transport needs in the VQ-VAE on faces: its neighbours, how often it is made, and its images; one at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes

from simulations.lineup import LINEUP
from simulations.protocol import ABLATED, ABLATION_NAMES

TABLE, SUFFIX = "faces", ".png"
BY_NAME = {"neighbours": 1, "every": 1, "images": 16}
XLABELS = {
    "neighbours": "nearest latents that a move is averaged over",
    "every": "updates from one transport to the next",
    "images": "images of the probe",
}
MEASURES = {"perplexity": "perplexity of 1,024 codes", "psnr": "PSNR, dB"}


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Perplexity and PSNR on test images over each of the three, with and without NSVQ's kernel."""
    figure, grid = plt.subplots(2, 3, figsize=(10, 5), sharex="col", sharey="row", layout="constrained")
    for column, what in enumerate(ABLATION_NAMES.values()):
        for axes, measure in zip(grid[:, column], MEASURES, strict=True):
            for label in ABLATED:
                draw_line(axes, values(table, label, what, measure), label)
        grid[1, column].set(xscale="log", xlabel=XLABELS[what])
        ticks = [value for value, _ in values(table, "VQ with transport", what, "psnr")]
        grid[1, column].set(xticks=ticks, xticklabels=map(str, ticks))
        grid[1, column].minorticks_off()
    for axes, title in zip(grid[:, 0], MEASURES.values(), strict=True):
        axes.set_ylabel(title)
    grid[0, 0].legend()
    figure.suptitle(
        "One nearest latent and a probe of a few images do; without NSVQ's kernel, transport is needed every few updates"
    )
    return lambda path: figure.savefig(path)


def draw_line(axes: Axes, pairs: list[tuple[int, float]], label: str) -> None:
    """One method over the values that were tried."""
    axes.plot(*zip(*pairs, strict=True), marker="o", **LINEUP[label].line, label=label)


def values(table: pl.DataFrame, label: str, what: str, measure: str) -> list[tuple[int, float]]:
    """The values that were tried, in order, and what came out; the setting by name is the first seed of its own row."""
    named = table.row(
        by_predicate=(pl.col("group") == "named") & (pl.col("label") == label) & (pl.col("seed") == 0), named=True
    )
    pairs = [(BY_NAME[what], float(named[measure]))]
    for row in table.filter(pl.col("label").str.starts_with(f"{label}, {what} "), group="ablation").iter_rows(named=True):
        pairs.append((int(row["label"].rsplit(" ", 1)[1]), float(row[measure])))
    return sorted(pairs)
