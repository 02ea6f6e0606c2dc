"""Survivors of a drifting cube against speed in one to eight dimensions, over the law, and the force balance inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from vqtheory.claims import Scaling
from vqtheory.claims.laws.dimensions import OFFSET, STEP_SIZE, law_with_offset, plain_law
from vqtheory.claims.statement import estimate

TABLE, SUFFIX = "dimensions", ".png"
HUES = {
    dim: to_hex(plt.get_cmap("cividis")(place)) for dim, place in zip((1, 2, 3, 4, 8), np.linspace(0, 0.85, 5), strict=True)
}
MARKS = {1: "o", 2: "s", 3: "^", 4: "D", 8: "v"}


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Survivors, survivors over the law, and cells along the drift."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 4.1), layout="constrained", width_ratios=[1.25, 1, 0.9])
    runs = table.drop_nulls("survivors")
    draw_survivors(left, runs)
    draw_ratios(middle, runs)
    draw_balance(right, table.drop_nulls("x"))
    figure.suptitle(
        "Survivors of a drifting cube fall with speed as the law's $D/(D+2)$ up to four dimensions, but are fewer, as the "
        "trailing layer\ncannot be as fine as the balance of forces would have it; in eight, codes are too few to an axis "
        "for either law"
    )
    return lambda path: figure.savefig(path)


def draw_survivors(axes: Axes, runs: pl.DataFrame) -> None:
    """Every run, the law dashed, and with the offset of the trailing face solid."""
    for (dim,), of_dim in runs.sort("dim").group_by("dim", maintain_order=True):
        lag, color = of_dim["speed"].to_numpy() / STEP_SIZE, HUES[dim]
        axes.plot(lag, of_dim["survivors"], MARKS[dim], ms=3.5, mew=0, zorder=3, color=color, label=fitted(dim, of_dim))
        line = np.geomspace(lag.min() / 1.5, lag.max() * 1.5, 50)
        axes.plot(line, [plain_law(dim, a) for a in line], "--", color=color, lw=0.8, gid="law")
        if dim in OFFSET:
            axes.plot(line, [law_with_offset(dim, a) for a in line], color=color, lw=1.2, gid="law")
    axes.set(xscale="log", yscale="log", xlabel=r"speed / step size, $v/\eta$ (widths)", ylabel="survivors")
    axes.legend(title="fitted exponent and its interval, the law's", fontsize=7.5, title_fontsize=7.5, loc="upper right")
    axes.set_ylim(top=6 * axes.get_ylim()[1])


def fitted(dim: int, of_dim: pl.DataFrame) -> str:
    """The exponent as the claim measures it."""
    counts = {speed: rows["survivors"].to_list() for (speed,), rows in of_dim.sort("seed").group_by("speed")}
    exponent, (low, high), _ = estimate(Scaling("speed"), counts)
    return f"D = {dim}: {-exponent:.3f} [{-high:.3f}, {-low:.3f}], {dim / (dim + 2):.3f}"


def draw_ratios(axes: Axes, runs: pl.DataFrame) -> None:
    """Means over the seeds; numbers that fit the cube, such as 2^D and 3^D, stand out."""
    for (dim,), of_dim in runs.sort("dim").group_by("dim", maintain_order=True):
        means = of_dim.group_by("speed").agg(pl.col("survivors").mean()).sort("speed")
        lag = means["speed"].to_numpy() / STEP_SIZE
        law = np.array([plain_law(dim, a) for a in lag])
        axes.plot(law, means["survivors"].to_numpy() / law, MARKS[dim] + "-", ms=3.5, lw=0.6, color=HUES[dim])
        end = law[0], means["survivors"][0] / law[0]
        axes.annotate(f"D = {dim}", end, (4, -12 if dim == 1 else 4), textcoords="offset points", color=HUES[dim])
        if dim in OFFSET:
            line = np.geomspace(lag.min(), lag.max(), 50)
            ratio = [law_with_offset(dim, a) / plain_law(dim, a) for a in line]
            axes.plot([plain_law(dim, a) for a in line], ratio, color=HUES[dim], lw=1.6, alpha=0.6, gid="law")
    axes.axhline(1, color="black", lw=0.8, ls="--", gid="law")
    axes.set(xscale="log", ylim=(0, 1.1), xlim=(3.5, 700), ylabel="survivors / $n_0$")
    axes.set_xlabel(r"the law's number, $n_0=\frac{D+2}{2}(\eta M/v)^{D/(D+2)}$")


def draw_balance(axes: Axes, profiles: pl.DataFrame) -> None:
    """Means over the seeds, and the law through the trailing face; the offset lifts all but the cells at the faces."""
    for (dim,), of_dim in profiles.sort("dim").group_by("dim", maintain_order=True):
        groups = of_dim.with_columns(pl.col("x").rank("ordinal").over("seed").alias("group"))
        means = groups.group_by("group").agg(pl.col("x", "balance").mean()).sort("group")
        axes.plot(means["x"], means["balance"], MARKS[dim] + "-", ms=3.5, lw=0.8, color=HUES[dim], label=f"D = {dim}")
    axes.plot([0, 1], [0, 1], "k--", lw=0.8, label="law", gid="law")
    axes.set(xlabel="$x$ along the drift, from the trailing face", ylabel=r"$(M\eta/v)\,h^{D+2}$, $h$ size of a cell")
    axes.legend(loc="upper left")
