"""The largest speed after which NSVQ recovers against its bandwidth: max(v_NS, v_c), for few codes and for many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl
from matplotlib.axes import Axes

from simulations.lineup import LINEUP
from vqtheory.claims.laws.capture import LINE, STEP_SIZE
from vqtheory.theory import capture_speed, critical_speed

TABLE, SUFFIX = "capture", ".png"
MARKS = {4: (8, "#6baed6"), 16: (4, "#08306b")}  # size and colour, by the number of codes


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Laws as lines, runs as points; speeds in units of the step size."""
    figure, axes = plt.subplots(figsize=(6.2, 4.3), layout="constrained")
    nsvq = table.filter(pl.col("bandwidth") > 0)
    simulated = nsvq["bandwidth"].to_numpy()
    widths = np.geomspace(simulated.min(), simulated.max(), 200)
    draw_laws(axes, widths, sorted(nsvq["codes"].unique()))
    for num_codes, (size, color) in MARKS.items():
        of_codes = nsvq.filter(codes=num_codes)
        axes.plot(of_codes["bandwidth"], of_codes["speed"] / STEP_SIZE, "o", ms=size, color=color, label=f"K = {num_codes}")
    plain = table.filter(bandwidth=0)
    edge = np.full(len(plain), widths[0] / 1.25)
    axes.plot(edge, plain["speed"] / STEP_SIZE, "s", ms=5, color=LINEUP["VQ"].color, clip_on=False, label="plain VQ, K = 4")
    axes.annotate(
        "no kernel", (edge[0], plain["speed"].to_numpy().min() / STEP_SIZE), (6, -12), textcoords="offset points", fontsize=8
    )
    axes.set(xscale="log", yscale="log", xlabel=r"bandwidth $\sigma$ / width of the cloud")
    axes.set(ylabel=r"largest recovered speed / ($\eta \cdot$ width)", xlim=(widths[0] / 1.25, widths[-1] * 1.1))
    axes.legend(title="simulated", loc="upper left", alignment="left")
    axes.set_title(
        r"NSVQ recovers from drifts up to $v_{NS}(\sigma)$, whatever the number of codes $K$;"
        "\n" r"plain VQ holds its codes up to $v_c(K)$ only. Where the two are equal they add up",
        fontsize=9.5, loc="left",
    )  # fmt: skip
    return lambda path: figure.savefig(path)


def draw_laws(axes: Axes, widths: np.ndarray, sizes: list[int]) -> None:
    """v_NS, one curve for every K, and v_c, a level for each."""
    plain, nsvq = LINEUP["VQ"].color, LINEUP["NSVQ gaussian"].color
    axes.plot(widths, capture_speed(1.0, widths, source=LINE), color=nsvq, lw=1.5, zorder=1, gid="law")
    axes.annotate(r"$v_{NS}$", (0.33, capture_speed(1.0, 0.42, source=LINE)), color=nsvq, ha="right")
    for num_codes in sizes:
        level, name = critical_speed(num_codes, 1.0), f"$v_c$({num_codes}) of plain VQ"
        axes.axhline(level, color=plain, lw=1.2, ls="--", zorder=1, gid="law")
        axes.text(widths[-1] * 1.05, level * 1.15, name, color=plain, ha="right", fontsize=8)
