"""Phase diagrams: the share of codes alive after a drift, over its speed and the size of the codebook, rule by rule."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh

from simulations.lineup import in_order
from simulations.phase import ADAM_BATCH, ADAM_RATE, BANDWIDTH, CASES, DECAY, MAP_RATE, RATE, WIDTHS, law_of_case
from vqtheory.sweeps.diagram import draw_phase

TABLE, SUFFIX = "phase", ".png"
COLUMNS = 4
SETTINGS = {
    "VQ": rf", $\eta$ = {RATE:g}",
    "EMA": rf", $\gamma$ = {DECAY:g}",
    "VQ with Adam": f", rate {ADAM_RATE:g}, {ADAM_BATCH} latents",
    "VQ with transport": rf", $\eta$ = {RATE:g}",
    "NSVQ": ", after the drift",
    "NSVQ gaussian": f", width {BANDWIDTH:g}, after the drift",
    "TransVQ": f", Adam, rate {MAP_RATE:g}",
    "FVQ": f", Adam, rate {MAP_RATE:g}",
    "GraphVQ": f", Adam, rate {MAP_RATE:g}",
    "SimVQ": f", Adam, rate {MAP_RATE:g}",
    "NeuralGas": ", after the drift",
    "SOM": ", after the drift",
}


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """One panel per rule."""
    rules = in_order(table["rule"])
    rows = -(-len(rules) // COLUMNS)
    size = (14, 3.1 * rows)
    figure, grid = plt.subplots(rows, COLUMNS, figsize=size, layout="constrained", sharey=True, squeeze=False)
    for axes, rule in zip(grid.flat, rules, strict=False):
        mesh = draw_rule(axes, table.filter(rule=rule), rule)
    for axes in grid.flat[len(rules) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("codes")
    for axes in [*grid[-1], *grid[-2, len(rules) % COLUMNS or COLUMNS :]]:
        axes.set_xlabel("speed of the drift, widths per update")
    figure.colorbar(mesh, ax=grid, label="share of the codes that are alive", shrink=0.7)
    figure.suptitle(
        f"Codebooks that lose codes, and when: a uniform cloud in one dimension moves by {WIDTHS:g} widths. "
        "White: the predicted critical speed, nothing fitted"
    )
    return lambda path: figure.savefig(path)


def draw_rule(axes: Axes, table: pl.DataFrame, rule: str) -> QuadMesh:
    """A panel, with its rule as the title."""
    axes.set_title(f"{rule}{SETTINGS.get(rule, '')}")
    return draw_phase(axes, table, law_of_case(CASES[rule]))
