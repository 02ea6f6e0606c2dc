"""Phase diagrams: the share of codes alive after a drift, over its speed and the size of the codebook, for six rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes

from simulations.phase import ADAM_BATCH, ADAM_RATE, BANDWIDTH, DECAY, MAP_RATE, RATE, SPEEDS, WIDTHS, boundary

TABLE, SUFFIX = "phase", ".png"
SETTINGS = {
    "VQ": rf"VQ, $\eta$ = {RATE:g}",
    "EMA": rf"EMA, $\gamma$ = {DECAY:g}",
    "VQ with Adam": f"VQ trained by Adam, rate {ADAM_RATE:g}, {ADAM_BATCH} latents",
    "NSVQ": rf"NSVQ, $\eta$ = {RATE:g}, bandwidth {BANDWIDTH:g}, after the drift",
    "TransVQ": f"TransVQ, Adam, rate {MAP_RATE:g}",
    "SimVQ": f"SimVQ, Adam, rate {MAP_RATE:g}",
}


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """One panel per rule."""
    figure, axes = plt.subplots(2, 3, figsize=(11.5, 6.2), layout="constrained", sharey=True)
    for panel, rule in zip(axes.flat, SPEEDS, strict=True):
        mesh = draw_rule(panel, table.filter(rule=rule), rule)
    for panel in axes[:, 0]:
        panel.set_ylabel("codes")
    for panel in axes[1]:
        panel.set_xlabel("speed of the drift, widths per update")
    figure.colorbar(mesh, ax=axes, label="share of the codes that are alive", shrink=0.7)
    figure.suptitle(
        f"Codebooks that lose codes, and when: a uniform cloud on the line moves by {WIDTHS:g} widths. "
        "White: the predicted critical speed, nothing fitted"
    )
    return lambda path: figure.savefig(path)


def draw_rule(axes: Axes, table: pl.DataFrame, rule: str):
    """The share that is alive as colour, the law as a line."""
    grid = table.with_columns(share=pl.col("alive") / pl.col("codes")).pivot(on="codes", index="speed", values="share")
    grid = grid.sort("speed")
    codes, speeds = np.array([int(name) for name in grid.columns[1:]]), grid["speed"].to_numpy()
    shares = grid.drop("speed").to_numpy().T
    mesh = axes.pcolormesh(edges(speeds), edges(codes), shares, cmap="cividis", vmin=0, vmax=1)
    many = np.arange(codes[0], codes[-1] + 1)
    axes.plot(boundary(rule, many), many, color="black", lw=4)
    axes.plot(boundary(rule, many), many, color="white", lw=1.2)
    axes.set(xscale="log", yscale="log", title=SETTINGS[rule], xlim=edges(speeds)[[0, -1]], ylim=edges(codes)[[0, -1]])
    axes.set_yticks(codes, codes)
    axes.minorticks_off()
    return mesh


def edges(values: np.ndarray) -> np.ndarray:
    """Edges of cells around values that are spread on a log axis."""
    logs = np.log(values)
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate([[2 * logs[0] - middle[0]], middle, [2 * logs[-1] - middle[-1]]]))
