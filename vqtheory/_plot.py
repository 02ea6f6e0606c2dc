"""The picture of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vqtheory.run import Run


def plot_run(run: Run) -> Figure:
    """Usage and dead codes, distortion, and what else the history has, against the step."""
    from matplotlib.figure import Figure

    history = run.history
    panels = [_plot_usage, _plot_distortion] + ([_plot_codes] if run.codes.shape[1] == 2 else [])
    figure = Figure(figsize=(4.2 * len(panels), 3.4), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels)), panels, strict=True):
        panel(axes, run, history)
    figure.suptitle(f"{run.config.rule!r}\n{run.config.stream!r}", fontsize=9)
    return figure


def _plot_usage(axes: Axes, run: Run, history) -> None:
    num_codes = len(run.codes)
    axes.plot(history["step"], history["used"], label="used since the last record")
    axes.plot(history["step"], history["perplexity"], label="perplexity")
    measured = history.drop_nulls("dead")
    axes.plot(measured["step"], num_codes - measured["dead"], ".", ms=4, label="not dead")
    axes.axhline(num_codes, color="0.8", lw=1, zorder=0)
    axes.set(xlabel="updates", ylabel=f"codes of {num_codes}", ylim=(0, 1.05 * num_codes))
    axes.legend(frameon=False, fontsize=8)


def _plot_distortion(axes: Axes, run: Run, history) -> None:
    for column in ("distortion", "residual"):
        known = history.drop_nulls(column)
        positive = known.filter(known[column] > 0)
        if len(positive):
            axes.semilogy(positive["step"], positive[column], label=column)
    axes.set(xlabel="updates", ylabel="squared distance")
    axes.legend(frameon=False, fontsize=8)


def _plot_codes(axes: Axes, run: Run, history) -> None:
    if run.law is not None:
        axes.plot(*run.law.sample(2000).T, ",", color="0.7", zorder=0)
    for chosen, color, label in ((run.used, "C0", "used"), (~run.used, "C3", "not used")):
        axes.plot(*run.codes[chosen].T, "o", ms=4, color=color, label=label)
    axes.set(title="codes at the end", aspect="equal")
    axes.legend(frameon=False, fontsize=8)
