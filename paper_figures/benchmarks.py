"""Speed and memory beside named peers, on the machine that the table names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.axes import Axes

from simulations.lineup import LINEUP

TABLE, SUFFIX = "benchmarks", ".png"
OURS = "#4a5a78"
PEERS = {"compiled loop": "o", "scikit-learn": "s", "NumPy loop": "^", "torch": "D", "bound": "|"}  # black: no rule's colour
TASK = ("case", "codes", "dim", "batch")  # what is timed
LAYER = "8,192 x 64, 16,384 latents"


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """Ratios of rates; the layer's time and memory; time and memory over the number of codes."""
    figure = plt.figure(figsize=(11, 13), layout="constrained")
    axes = figure.subplot_mosaic([["ratios", "time"], ["ratios", "memory"], ["rules", "layer"], ["rules", "layer"]])
    draw_ratios(axes["ratios"], table.filter(pl.col("section").is_in(["online", "batch", "kernels"])))
    draw_rules(axes["rules"], table.filter(section="rules"))
    draw_layer(axes["layer"], table.filter(section="layer", codes=8192))
    draw_scale(axes["time"], table.filter(section="scale"), "microseconds", "microseconds per sample")
    large = table.filter(pl.col("codes") >= 2**14, section="scale")  # what a process has is counted in pages and arenas
    draw_scale(axes["memory"], large, "codebooks", "added memory, in codebooks")
    axes["time"].set(yscale="log")
    axes["time"].legend(loc="lower right", fontsize=8)
    axes["memory"].set(ylim=(0, 1.1 * axes["memory"].get_ylim()[1]))
    figure.suptitle(f"In float32; the simulator on one thread, the layer on two\n{machines(table)}")
    return lambda path: figure.savefig(path)


def machines(table: pl.DataFrame) -> str:
    """Which of the sections drawn were measured where."""
    drawn = table.filter(
        ~pl.col("section").is_in(["training", "start"]), (pl.col("section") != "layer") | (pl.col("codes") == 8192)
    )
    sections = drawn.group_by("machine", maintain_order=True).agg(pl.col("section").unique(maintain_order=True))
    return "; ".join(f"{', '.join(names)}: {machine}" for machine, names in sections.iter_rows())


def draw_ratios(axes: Axes, rows: pl.DataFrame) -> None:
    """Our rate over each peer's."""
    tasks = rows.select(TASK).unique(maintain_order=True).rows()
    for peer, marker in PEERS.items():
        of_peer = rows.filter(peer=peer)
        places = [tasks.index(task) for task in of_peer.select(TASK).iter_rows()]
        size = 9 if marker == "|" else 5
        axes.plot(of_peer["ratio"], places, marker, color="0.15", ms=size, mew=1.5, label=f"over {peer}")
    axes.axvline(1, color="0.8", lw=1, zorder=0)
    names = [f"{case}, {codes:,} x {dim}" + ("" if size == 1 else f", batch {size:,}") for case, codes, dim, size in tasks]
    axes.set(xscale="log", yticks=range(len(names)), yticklabels=names, xlabel="our rate over the peer's")
    axes.invert_yaxis()
    axes.legend(loc="lower left", fontsize=8)


def draw_rules(axes: Axes, rows: pl.DataFrame) -> None:
    """Time of every rule in the simulator over plain VQ's, and a mark where its products alone would be."""
    rows = rows.sort("times")
    axes.barh(rows["case"], rows["times"], color=OURS)
    counted = rows.drop_nulls("products")
    axes.plot(counted["products"], counted["case"], "|", color="0.15", ms=9, mew=1.5, label="its products alone")
    axes.set(
        xscale="log",
        xlabel="time / plain VQ's",
    )
    axes.set_title("the simulator, 1,024 x 64, batch 1,024", fontsize=9)
    axes.legend(loc="lower right", fontsize=8)


def draw_layer(axes: Axes, rows: pl.DataFrame) -> None:
    """Time of a forward and a backward pass, and the memory beside the layer's own, as text."""
    rows = rows.sort("seconds")
    colors = [OURS if case in LINEUP else "0.7" for case in rows["case"]]
    axes.barh(rows["case"], rows["seconds"], color=colors)
    for place, (seconds, megabytes) in enumerate(rows.select("seconds", "megabytes").iter_rows()):
        axes.text(seconds, place, f" {megabytes:,.0f} MB", va="center", fontsize=8)
    axes.set(xlabel="seconds of a forward and a backward pass")
    axes.set_title(f"the layer in torch, {LAYER}", fontsize=9)
    axes.margins(x=0.15)


def draw_scale(axes: Axes, rows: pl.DataFrame, column: str, label: str) -> None:
    """One line for each rule."""
    for case in rows["case"].unique(maintain_order=True):
        of_case = rows.filter(case=case).sort("codes")
        rule, dashes = case.split(",")[0], "-" if "one sample" in case else "--"
        axes.plot(of_case["codes"], of_case[column], "o", ls=dashes, color=LINEUP[rule].color, label=case)
    axes.set(xscale="log", xlabel="codes, in 256 dimensions", ylabel=label)
    axes.set_xscale("log", base=2)
