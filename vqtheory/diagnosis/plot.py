"""The picture of a diagnosis: which codes are alive, what the laws say of it, and where the knobs stand."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from vqtheory._base.pictures import UNUSED, USED, in_plane
from vqtheory.diagnosis import report
from vqtheory.diagnosis.findings import Findings
from vqtheory.diagnosis.laws import allowed_speeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LAW, _SPEED = "#e08e1b", "#8856a7"
_CHANGES = 7  # drawn, the best


def plot_diagnosis(findings: Findings) -> Figure:
    """Three columns: codes among latents; used codes and the drift over the updates; what would help."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4.8), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=(3, 2))
    _plot_codes(figure.add_subplot(grid[:, 0]), findings)
    used = figure.add_subplot(grid[0, 1])
    _plot_used(used, findings)
    _plot_speed(figure.add_subplot(grid[1, 1], sharex=used), findings)
    _plot_law(figure.add_subplot(grid[:, 2]), findings)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _titled(axes: Axes, sentence: str) -> None:
    axes.set_title(textwrap.fill(sentence, 54), fontsize=9.5, loc="left")


def _plot_codes(axes: Axes, findings: Findings) -> None:
    recording, alive = findings.recording, findings.alive
    latents, codes = recording.latents[-1].astype(np.float64), recording.codes.astype(np.float64)
    _titled(axes, report.alive_at_last(findings))
    groups = [(~alive, UNUSED, f"{(~alive).sum():,} not chosen"), (alive, USED, f"{alive.sum():,} chosen")]
    if codes.shape[1] == 1:
        axes.hist(latents[:, 0], bins=50, color="0.8", density=True, label="latents")
        top = axes.get_ylim()[1]
        for row, (chosen, color, label) in enumerate(groups):
            axes.eventplot(
                codes[chosen, 0], lineoffsets=-(0.1 + 0.1 * row) * top, linelengths=0.08 * top, colors=color, label=label
            )
        axes.set(yticks=[], xlabel="latents and codes")
    else:
        latents, codes, names = in_plane(latents, codes)
        axes.plot(*latents.T, ".", ms=2, color="0.7", label="latents", zorder=0)
        for (chosen, color, label), size in zip(groups[::-1], (1.0, 0.6), strict=True):  # the dead on top, and smaller
            axes.plot(*codes[chosen].T, "o", ms=size * (4 if len(codes) <= 300 else 3), color=color, label=label)
        axes.set(xlabel=f"{names[0]}, in the latents' unit", ylabel=names[1])
    axes.legend(frameon=False, fontsize=8, loc="best")


def _plot_used(axes: Axes, findings: Findings) -> None:
    recording, num_codes = findings.recording, findings.num_codes
    axes.axhline(num_codes, color="0.8", lw=1)
    axes.plot(recording.steps[1:], recording.used[1:], "o-", ms=3, color=USED, label="used since the probe before")
    if np.isfinite(findings.predicted).any():
        axes.plot(recording.steps[1:], findings.predicted, "--", color=_LAW, lw=1.8, label="by the law")
    fewest = np.nanmin([*recording.used[1:], *findings.predicted])
    axes.set(yscale="log", ylabel=f"codes of {num_codes:,}", ylim=(max(0.8, fewest / 2), 1.5 * num_codes))
    axes.tick_params(labelbottom=False)
    axes.legend(frameon=False, fontsize=8)
    _titled(axes, report.outcome(findings))


def _plot_speed(axes: Axes, findings: Findings) -> None:
    recording = findings.recording
    positive = recording.motion.speed > 0
    axes.stairs(
        np.where(positive, recording.motion.speed, np.nan),
        recording.steps,
        baseline=None,
        color=_SPEED,
        lw=1.5,
        label="drift",
    )
    critical = np.array([law.critical_speed for law in findings.laws])
    shown = np.where(np.isfinite(critical) & (critical > 0), critical, np.nan)
    if np.isfinite(shown).any():
        axes.stairs(shown, recording.steps, baseline=None, color=_LAW, ls="--", lw=1.5, label=report.limit(findings))
    if positive.any():
        drawn = np.concatenate([recording.motion.speed[positive], shown[np.isfinite(shown)]])
        axes.set(yscale="log", ylim=(drawn.min() / 2, drawn.max() * 2))
    axes.set(xlabel="updates", ylabel="per update")
    axes.legend(frameon=False, fontsize=8)


def _plot_law(axes: Axes, findings: Findings) -> None:
    """The knob: what speed is allowed to codebooks of which size."""
    i, motion = findings.worst, findings.recording.motion
    law, K, speed = findings.laws[i], findings.num_codes, float(motion.speed[i])
    if not law.has_curve:
        _plot_changes(axes, findings)
        return
    axes.plot(*allowed_speeds(findings.recording, i), color=_LAW, lw=1.8, label="critical speed")
    axes.axhline(speed, color=_SPEED, lw=1.2, label=f"the drift, at its worst: {speed:.3g}")
    axes.plot([K], [speed], "o", color=_SPEED)
    if not math.isnan(law.survivors) and law.survivors < K:
        axes.axvline(law.survivors, color=USED, ls=":", label=f"survivors by the law: {law.survivors:,.0f}")
    axes.set(xscale="log", yscale="log", xlabel="codes in the codebook", ylabel="speed, per update")
    axes.legend(frameon=False, fontsize=8)
    _titled(axes, report.advice(findings))


def _plot_changes(axes: Axes, findings: Findings) -> None:
    """What changes would have kept, where the knob is not a matter of the codebook's size; in words where all codes live."""
    trials = () if findings.alive.all() else findings.ranking.trials[:_CHANGES]
    if not trials:
        _write_law(axes, findings)
        return
    names = [textwrap.fill(trial.change.name, 24) for trial in trials]
    axes.barh(range(len(trials)), [trial.alive for trial in trials], height=0.6, color=USED)
    for row, trial in enumerate(trials):
        axes.text(trial.alive, row, f" {trial.alive:,}", va="center", fontsize=8)
    own = findings.ranking.unchanged
    if own is not None:
        axes.axvline(own.alive, color=UNUSED, ls="--", lw=1.2, label=f"its own rule, played again: {own.alive:,}")
        axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.set_yticks(range(len(trials)), names, fontsize=8)
    axes.set(xlabel="codes alive, played again")
    axes.invert_yaxis()
    axes.margins(x=0.12)
    _titled(axes, "Codes that each change keeps in the replay.")


def _write_law(axes: Axes, findings: Findings) -> None:
    """Forecast and causes in words, where no change was played."""
    axes.axis("off")
    _titled(axes, report.advice(findings))
    sentences = [str(findings.forecast), *map(str, findings.causes)]
    text = "\n\n".join(textwrap.fill(sentence, 62) for sentence in sentences)
    axes.text(0, 0.97, text, va="top", fontsize=8.5, transform=axes.transAxes)
