"""Test images of the face study, and what each rule's training brings back of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl

from paper_figures.faces import strip
from simulations.lineup import LINEUP

TABLE, SUFFIX = "faces", ".png"
SHOWN = ("VQ", "EMA", "TransVQ", "FSQ", "EMA with expiry", "NSVQ", "VQ with transport")
FACES = 8


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """A row of the test images, and one for each method by its name, of the first seed."""
    rows = [table.row(by_predicate=_first(label), named=True) for label in SHOWN]
    figure, grid = plt.subplots(len(rows) + 1, 1, figsize=(7.2, 8.4), layout="constrained")
    titles = [f"{row['label']}: {row['used']:,.0f} of {row['codes']:,} codes, {row['psnr']:.1f} dB" for row in rows]
    colors = [LINEUP[label].color for label in SHOWN]
    pictures = [rows[0]["originals"], *(row["reconstructions"] for row in rows)]
    captions = ["test images, and trainings of seed 0", *titles]
    for axes, content, caption, color in zip(grid, pictures, captions, ["black", *colors], strict=True):
        axes.imshow(strip(content, FACES), interpolation="lanczos")
        axes.set_title(caption, fontsize=9, color=color, pad=2)
        axes.set_axis_off()
    return lambda path: figure.savefig(path, dpi=130)


def _first(label: str) -> pl.Expr:
    return (pl.col("group") == "named") & (pl.col("label") == label) & (pl.col("seed") == 0)
