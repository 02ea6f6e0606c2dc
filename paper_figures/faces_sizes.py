"""What is left of the codebook in the VQ-VAE on faces, over the latents' dimensions and over its size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes

from simulations.lineup import LINEUP

TABLE, SUFFIX = "faces", ".png"
PLAIN = (pl.col("group") == "size") | ((pl.col("group") == "named") & (pl.col("label") == "VQ"))
KEEPING = ("NSVQ", "VQ with transport")


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Left: 512 codes of plain VQ in 4 to 64 dimensions; right: 512 to 16,384 codes in 64 dimensions."""
    plain = table.filter(PLAIN)
    figure, (dims, sizes) = plt.subplots(1, 2, figsize=(8.6, 3.6), sharey=True, layout="constrained")
    draw_panel(dims, plain.filter(codes=512).sort("dim"), "dim", "dimensions of the latents (512 codes)")
    draw_panel(sizes, plain.filter(dim=64).sort("codes"), "codes", "codes (64 dimensions)")
    for label in KEEPING:
        draw_keeping(sizes, table, label)
    dims.set(ylabel="share of the codebook", ylim=(0, None))
    dims.legend(title="plain VQ", loc="upper right")
    sizes.legend(handles=[*sizes.get_lines()[-len(KEEPING) :]], loc="center right")
    figure.suptitle(
        "Plain VQ uses a smaller share of its codebook in more dimensions and of more codes;\n"
        "NSVQ and transport use at least 98 % of it"
    )
    return lambda path: figure.savefig(path)


def draw_panel(axes: Axes, rows: pl.DataFrame, column: str, label: str) -> None:
    """Codes that the test images use, and those that hold 99 of 100 latents: each training, and medians."""
    shares = {
        "used on the test images": pl.col("usage"),
        "that hold 99 % of the latents": pl.col("carrying") / pl.col("codes"),
    }
    color = LINEUP["VQ"].color
    for (name, share), marker, line, face in zip(shares.items(), "os", ("-", "--"), (color, "w"), strict=True):
        trainings = rows.with_columns(share=share)
        medians = trainings.group_by(column).agg(pl.col("share").median()).sort(column)
        axes.plot(trainings[column], trainings["share"], marker, color=color, mfc=face)
        axes.plot(medians[column], medians["share"], marker + line, color=color, mfc=face, label=name)
    ticks = rows[column].unique().sort()
    axes.set(xscale="log", xticks=ticks, xticklabels=[f"{value:,}" for value in ticks], xlabel=label)
    axes.minorticks_off()


def draw_keeping(axes: Axes, table: pl.DataFrame, label: str) -> None:
    """Codes that the test images use, of a method that keeps them: medians of its trainings by name."""
    sizes = (pl.col("group") == "sizes") & pl.col("label").str.starts_with(f"{label}, ")
    named = (pl.col("group") == "named") & (pl.col("label") == label)
    rows = table.filter(sizes | named, dim=64).group_by("codes").agg(pl.col("usage").median()).sort("codes")
    axes.plot(rows["codes"], rows["usage"], "D", ms=5, **LINEUP[label].line, label=label)
    ticks = sorted({*axes.get_xticks(), *rows["codes"]})
    axes.set(xticks=ticks, xticklabels=[f"{value:,}" for value in ticks])
    axes.minorticks_off()
