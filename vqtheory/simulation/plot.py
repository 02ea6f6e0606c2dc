"""The picture of a run: who survives, how well the codes do, and where they are."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from vqtheory._base.pictures import UNUSED, USED, in_plane
from vqtheory.rules.base import declared
from vqtheory.simulation.record import Record
from vqtheory.simulation.summary import headline, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_WIDTH = 11.5  # of the figure, inches
_CHARACTERS = 150  # of the small print, in that width
_LATENTS = 3000  # drawn of the law that the codes follow
_SIGHT = 1e100  # what is farther is not drawn: axes overflow where a run that diverged ends


def plot_run(run: Record) -> Figure:
    """Codes in use, distances, and the codes among the latents at the end."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, 4.2), layout="constrained")
    for axes, panel in zip(figure.subplots(1, 3), (_plot_usage, _plot_distances, _plot_codes), strict=True):
        panel(axes, run)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(headline(run), fontsize=12, fontweight="bold")
    small_print = [textwrap.fill(repr(part), _CHARACTERS, max_lines=3) for part in (run.config.rule, run.config.stream)]
    figure.supxlabel("\n".join(small_print), fontsize=8, color="0.35", parse_math=False)
    return figure


def _plot_usage(axes: Axes, run: Record) -> None:
    num_codes = len(run.codes)
    axes.axhline(num_codes, color="0.8", lw=1, zorder=0)
    _plot_column(axes, run, "used", "chosen between records", color=USED)
    _plot_column(axes, run, "perplexity", "perplexity", color="#e08e1b")
    steps, dead = _known(run, "dead")
    axes.plot(steps, num_codes - dead, "k.", ms=4, label="not dead")
    axes.set(ylabel=f"codes of {num_codes:,}", ylim=(0, 1.05 * num_codes))
    _finish(axes)


def _plot_distances(axes: Axes, run: Record) -> None:
    ratio = _known(run, "distortion_over_optimum")[1]
    best = f", at the end {number(ratio[-1])} times the least" if len(ratio) else ""
    _plot_column(axes, run, "distortion", f"distortion{best}", color="k")
    _plot_column(axes, run, "residual", "residual", color="#8856a7")
    axes.set(ylabel="squared distance")
    if axes.dataLim.height > 0:
        axes.set_yscale("log")
    _finish(axes)


def _known(run: Record, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values where a column of the history is known and can be drawn."""
    pairs = [(row["step"], row[column]) for row in run.rows if row.get(column) is not None and abs(row[column]) < _SIGHT]
    steps, values = np.array(pairs).reshape(-1, 2).T
    return steps, values


def _plot_column(axes: Axes, run: Record, column: str, label: str, **style: Any) -> None:
    """A line through what is known; a short one has its points marked, one of which alone would not be seen."""
    steps, values = _known(run, column)
    if column in ("distortion", "residual"):  # the noise of an unbiased residual may fall below 0, which has no logarithm
        steps, values = steps[values > 0], values[values > 0]
    if len(steps):
        axes.plot(steps, values, marker="o" if len(steps) < 12 else None, ms=3, lw=1.3, label=label, **style)


def _finish(axes: Axes) -> None:
    """What the panels against time share. The legend is above, where it hides nothing."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.set_xlabel("updates")
    _legend(axes)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        options: dict[str, Any] = {"frameon": False, "fontsize": 8, "handlelength": 1.2, "columnspacing": 1.0}
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, borderaxespad=0.2, **options)


def _plot_codes(axes: Axes, run: Record) -> None:
    """The codes at the end and the latents there: a line, a plane, or the plane in which the latents spread most."""
    latents, codes = _latents(run), run.codes.astype(np.float64)
    if run.status == "diverged" or np.abs(np.concatenate([codes, latents])).max() > _SIGHT:
        axes.text(0.5, 0.5, "the codes are\nout of sight", ha="center", va="center", transform=axes.transAxes)
        axes.set(xticks=[], yticks=[])
        return
    if codes.shape[1] == 1:
        _plot_line(axes, run, latents, codes)
    else:
        _plot_plane(axes, run, *in_plane(latents, codes))
        axes.set_aspect("equal", adjustable="datalim")
    _legend(axes)


def _latents(run: Record) -> np.ndarray:
    """Fresh latents as the rule compares them with its codes; none where the stream does not tell where they are."""
    if run.snapshot is None:
        return np.empty((0, run.codes.shape[1]))
    return declared(run.config.rule, "project")(run.snapshot.sample(_LATENTS))


def _plot_line(axes: Axes, run: Record, latents: np.ndarray, codes: np.ndarray) -> None:
    top = 1.0
    if len(latents):
        top = float(np.max(axes.hist(latents[:, 0], bins=60, density=True, color="0.8", label="latents")[0]))
    for row, (chosen, color, label) in enumerate(_groups(run)):
        axes.eventplot(
            codes[chosen, 0],
            lineoffsets=-(0.09 + 0.12 * row) * top,
            linelengths=0.1 * top,
            lw=0.8,
            colors=color,
            label=label,
        )
    axes.set(xlabel="codes at the end", yticks=[], ylim=(-0.3 * top, 1.08 * top))


def _groups(run: Record) -> list[tuple[np.ndarray, str, str]]:
    """Codes chosen in the window of usage and codes that were not; all as one where it is too short to tell."""
    used = run.used
    if run.short_window:
        return [(np.full(len(used), True), USED, f"{len(used):,} codes")]
    groups = [
        (used, USED, f"{used.sum():,} chosen after step {run.hits_since:,}"),
        (~used, UNUSED, f"{(~used).sum():,} not"),
    ]
    return [group for group in groups if group[0].any()]


def _plot_plane(axes: Axes, run: Record, latents: np.ndarray, codes: np.ndarray, names: tuple[str, str]) -> None:
    axes.plot(*latents.T, ",", color="0.6", zorder=0)
    for chosen, color, label in _groups(run)[::-1]:
        axes.plot(*codes[chosen].T, "o", ms=4 if len(codes) <= 300 else 2, color=color, label=label)
    axes.set(xlabel=f"codes at the end: {names[0]}", ylabel=names[1])
