"""Collapse, its cause and its cures in a VQ-VAE on faces: codes in use, the encoder's drift, and what comes back."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from PIL import Image

from simulations.lineup import LINEUP

TABLE, SUFFIX = "faces", ".png"
SHOWN = ("VQ", "EMA", "TransVQ", "NSVQ", "VQ with transport")
FACES = 5
TICKS = (50, 100, 200, 500, 1000, 2000)


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Left, over the updates: codes in use and the drift; right: test images and their reconstructions."""
    table = table.filter(pl.col("label").is_in(list(SHOWN)), group="named")
    figure = plt.figure(figsize=(11, 5.6), layout="constrained")
    halves = figure.add_gridspec(1, 2, width_ratios=(1.25, 1))
    left, right = figure.add_subfigure(halves[0]), figure.add_subfigure(halves[1])
    used, drift = left.subplots(2, 1, sharex=True, height_ratios=(1.6, 1))
    draw_lines(used, table, "history", pl.col("used") / table["codes"][0])
    draw_lines(drift, table, "looks", pl.col("speed") / pl.col("spread"))
    used.set(ylim=(0, 1.04), ylabel=f"share of the {table['codes'][0]:,} codes in use")
    drift.set(yscale="log", ylabel="drift of the encoder per update,\nin spreads of the latents then", xlabel="updates")
    used.set(xscale="log", xticks=TICKS, xticklabels=[f"{tick:,}" for tick in TICKS])
    used.minorticks_off()
    used.set_title(
        "With their defaults VQ and EMA lose codes, transport at most 2; NSVQ and TransVQ regain them",
        loc="left",
        fontsize=8,
    )
    draw_pictures(right.subplots(len(SHOWN) + 1, 1), table)
    return lambda path: figure.savefig(path)


def draw_lines(axes: Axes, table: pl.DataFrame, column: str, value: pl.Expr) -> None:
    """One measure over the updates for all rules: the median over the seeds, and their range."""
    rows = table.select("label", "seed", column).explode(column).unnest(column).with_columns(value=value).drop_nulls("value")
    spread = pl.col("value")
    summary = rows.group_by("label", "step").agg(median=spread.median(), low=spread.min(), high=spread.max()).sort("step")
    for label in SHOWN:
        of_rule, color = summary.filter(pl.col("step") > 0, label=label), LINEUP[label].color
        axes.fill_between(of_rule["step"], of_rule["low"], of_rule["high"], color=color, alpha=0.15, lw=0)
        axes.plot(of_rule["step"], of_rule["median"], color=color, label=label)
    if column == "history":
        axes.legend(loc="center right")


def draw_pictures(rows: np.ndarray, table: pl.DataFrame) -> None:
    """Test images, and as each rule's training of the first seed brings them back."""
    first = {row["label"]: row for row in table.filter(seed=0).iter_rows(named=True)}
    any_row = next(iter(first.values()))
    strips = [(any_row["originals"], "test images, and trainings of seed 0", "black")]
    for label in SHOWN:
        if label in first:
            row = first[label]
            title = f"{label}: {row['used']:,.0f} codes, {row['psnr']:.1f} dB"
            strips.append((row["reconstructions"], title, LINEUP[label].color))
    for axes in rows:
        axes.set_axis_off()
    for axes, (content, title, color) in zip(rows, strips, strict=False):
        axes.imshow(strip(content, FACES), interpolation="lanczos")
        axes.set_title(title, fontsize=9, color=color, pad=2)


def strip(content: bytes, most: int) -> np.ndarray:
    """The first images of a row of them."""
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    return pixels[:, : most * pixels.shape[0]]
