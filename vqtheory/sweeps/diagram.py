"""The picture of a phase diagram."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh

_POINTS = 200  # of the line of a law, at most


def draw_phase(axes: Axes, table: pl.DataFrame, law: Callable[[int], float] | None = None) -> QuadMesh:
    """The share of the codes that is alive as colour, from columns `codes`, `speed` and `alive`, and the law as a line."""
    import polars as pl

    shares = table.group_by("codes", "speed").agg(share=(pl.col("alive") / pl.col("codes")).mean())
    grid = shares.pivot(on="codes", index="speed", values="share").sort("speed")
    codes, speeds = np.array(sorted(int(name) for name in grid.columns[1:])), grid["speed"].to_numpy()
    values = np.array([grid[str(number)].to_numpy() for number in codes], np.float64)
    mesh = axes.pcolormesh(edges(speeds), edges(codes), values, cmap="cividis", vmin=0, vmax=1)
    if law is not None:
        draw_law(axes, law, codes)
    axes.set(xscale="log", yscale="log", xlim=edges(speeds)[[0, -1]], ylim=edges(codes)[[0, -1]])
    axes.set_yticks(codes, codes)
    axes.minorticks_off()
    return mesh


def draw_law(axes: Axes, law: Callable[[int], float], codes: np.ndarray) -> None:
    """A line through the speeds up to which all codes live, for numbers of codes between the least and the most."""
    many = np.unique(np.geomspace(codes[0], codes[-1], _POINTS).round().astype(int))
    speeds = [law(int(number)) for number in many]
    for color, width in (("black", 4), ("white", 1.2)):
        axes.plot(speeds, many, color=color, lw=width, gid="law")


def edges(values: np.ndarray) -> np.ndarray:
    """Edges of cells around values that are spread on a log axis."""
    if len(values) == 1:
        return values[0] * np.array([0.8, 1.25])
    logs = np.log(values)
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate([[2 * logs[0] - middle[0]], middle, [2 * logs[-1] - middle[-1]]]))
