"""DQ-VAE on faces: what its gates code fine, and its pictures beside those of fixed grids of codes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes

from paper_figures.faces import strip
from paper_figures.style import rows_of
from simulations.protocol import BUDGETS, GATES

TABLE, SUFFIX = "faces", ".png"
FACES, DARKER = 6, 0.3
STYLE = {"entropy": ("C0", "o"), "learned": ("C1", "s")}


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Left: PSNR over codes per image. Right: test images, and in each gate's strip the coarse regions darker."""
    table = rows_of(table, "models")
    figure = plt.figure(figsize=(9.6, 3.4), layout="constrained")
    halves = figure.add_gridspec(1, 2, width_ratios=(1, 1.7))
    draw_rates(figure.add_subplot(halves[0]), table)
    strips = figure.add_subfigure(halves[1]).subplots(len(GATES) + 1, 1)
    rows = [table.row(by_predicate=pl.col("label") == f"{gate} gate, {BUDGETS[-1]}", named=True) for gate in GATES]
    shown = strip(rows[0]["originals"], FACES)
    draw_strip(strips[0], shown, "test images")
    for axes, row, gate in zip(strips[1:], rows, GATES, strict=True):
        coarse = strip(row["grains"], FACES).mean(axis=2) < 128
        darker = np.where(spread(coarse, shown.shape[0])[..., None], DARKER * shown, shown).astype(np.uint8)
        draw_strip(axes, darker, f"{gate} gate: {1 - coarse.mean():.0%} of the regions are fine, the others darker here")
    return lambda path: figure.savefig(path)


def draw_rates(axes: Axes, table: pl.DataFrame) -> None:
    """The PSNR of each gate at its budgets, and of grids; between these lie images of which a share has the finer one."""
    grids = table.filter(pl.col("label").str.starts_with("grid")).sort("latents")
    axes.plot(codes_per_image(grids), grids["psnr"], "x-", color="0.4", label="fixed grids, and both mixed over images")
    for gate, (color, marker) in STYLE.items():
        rows = table.filter(pl.col("label").str.starts_with(gate))
        axes.plot(codes_per_image(rows), rows["psnr"], marker, color=color, label=f"{gate} gate")
    axes.set(xlabel="codes per image", ylabel="PSNR on test images, dB", xticks=[64, 128, 192, 256])
    axes.legend()


def codes_per_image(rows: pl.DataFrame) -> pl.Series:
    """Each latent that is coded is one code."""
    return rows["latents"] / rows["images"]


def spread(cells: np.ndarray, height: int) -> np.ndarray:
    """Each cell [h, w] as a square of pixels, so that there are `height` rows of them."""
    return np.kron(cells, np.ones([height // len(cells)] * 2, dtype=bool))


def draw_strip(axes: Axes, pixels: np.ndarray, title: str) -> None:
    """Images side by side."""
    axes.imshow(pixels, interpolation="nearest")
    axes.set_title(title, fontsize=9, pad=2)
    axes.set_axis_off()
