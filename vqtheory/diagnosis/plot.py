"""The picture of a diagnosis: which codes live, what the laws say of it, and where the knobs stand."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

import numpy as np

from vqtheory._base.pictures import UNUSED, USED, in_plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vqtheory.diagnosis.findings import Diagnosis

_LAW, _SPEED = "#e08e1b", "#8856a7"
_SIZES = 40  # of codebook, on the curve of the critical speed


def plot_diagnosis(diagnosis: Diagnosis) -> Figure:
    """Three columns: codes among latents; used codes and the drift over the updates; speed against codebook size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4.8), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=(3, 2))
    _plot_codes(figure.add_subplot(grid[:, 0]), diagnosis)
    used = figure.add_subplot(grid[0, 1])
    _plot_used(used, diagnosis)
    _plot_speed(figure.add_subplot(grid[1, 1], sharex=used), diagnosis)
    _plot_law(figure.add_subplot(grid[:, 2]), diagnosis)
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def _titled(axes: Axes, sentence: str) -> None:
    axes.set_title(textwrap.fill(sentence, 54), fontsize=9.5, loc="left")


def _plot_codes(axes: Axes, diagnosis: Diagnosis) -> None:
    recording, alive = diagnosis.recording, diagnosis.alive
    latents, codes = recording.latents[-1].astype(np.float64), recording.codes.astype(np.float64)
    _titled(axes, f"{alive.sum():,} of {len(codes):,} codes are alive at update {recording.steps[-1]:,}.")
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
        axes.set(xlabel=names[0].rsplit(": ")[-1], ylabel=names[1])
        axes.set_aspect("equal", adjustable="datalim")
    axes.legend(frameon=False, fontsize=8, loc="best")


def _plot_used(axes: Axes, diagnosis: Diagnosis) -> None:
    recording, num_codes = diagnosis.recording, diagnosis.num_codes
    axes.axhline(num_codes, color="0.8", lw=1)
    axes.plot(recording.steps[1:], recording.used[1:], "o-", ms=3, color=USED, label="used since the look before")
    if np.isfinite(diagnosis.predicted).any():
        axes.plot(recording.steps[1:], diagnosis.predicted, "--", color=_LAW, lw=1.8, label="the law's")
    axes.set(yscale="log", ylabel=f"codes of {num_codes:,}", ylim=(0.8, 1.5 * num_codes))
    axes.tick_params(labelbottom=False)
    axes.legend(frameon=False, fontsize=8)
    _titled(axes, diagnosis.forecast.split(":")[0].removesuffix(".") + _rest(diagnosis))


def _rest(diagnosis: Diagnosis) -> str:
    last = diagnosis.predicted[-1]
    return (
        "."
        if math.isnan(last)
        else f": by the laws {last:,.0f} of {diagnosis.num_codes:,} live, {diagnosis.alive.sum():,} do."
    )


def _plot_speed(axes: Axes, diagnosis: Diagnosis) -> None:
    recording = diagnosis.recording
    positive = recording.motion.speed > 0
    axes.stairs(
        np.where(positive, recording.motion.speed, np.nan),
        recording.steps,
        baseline=None,
        color=_SPEED,
        lw=1.5,
        label="drift",
    )
    critical = np.array([law.critical_speed for law in diagnosis.laws])
    shown = np.where(np.isfinite(critical) & (critical > 0), critical, np.nan)
    if np.isfinite(shown).any():
        label = diagnosis.laws[diagnosis.worst].limit or f"critical for {diagnosis.num_codes:,} codes"
        axes.stairs(shown, recording.steps, baseline=None, color=_LAW, ls="--", lw=1.5, label=label)
    if positive.any():
        drawn = np.concatenate([recording.motion.speed[positive], shown[np.isfinite(shown)]])
        axes.set(yscale="log", ylim=(drawn.min() / 2, drawn.max() * 2))
    axes.set(xlabel="updates", ylabel="per update")
    axes.legend(frameon=False, fontsize=8)


def _plot_law(axes: Axes, diagnosis: Diagnosis) -> None:
    """The knob: what speed is allowed to codebooks of which size."""
    i, motion = diagnosis.worst, diagnosis.recording.motion
    law, K, speed = diagnosis.laws[i], diagnosis.num_codes, float(motion.speed[i])
    if not math.isfinite(law.critical_speed) or law.critical_speed <= 0 or law.limit:
        _write_law(axes, diagnosis)
        return
    sizes = np.unique(np.geomspace(2, max(2 * K, 8), _SIZES).astype(int))
    curve = [_critical(diagnosis, int(size)) for size in sizes]
    axes.plot(sizes, curve, color=_LAW, lw=1.8, label="critical speed")
    axes.axhline(speed, color=_SPEED, lw=1.2, label=f"the drift, at its worst: {speed:.3g}")
    axes.plot([K], [speed], "o", color=_SPEED)
    if not math.isnan(law.survivors) and law.survivors < K:
        axes.axvline(law.survivors, color=USED, ls=":", label=f"survivors by the law: {law.survivors:,.0f}")
    axes.set(xscale="log", yscale="log", xlabel="codes in the codebook", ylabel="speed, per update")
    axes.legend(frameon=False, fontsize=8)
    _titled(axes, _advice(diagnosis))


def _write_law(axes: Axes, diagnosis: Diagnosis) -> None:
    """The knob in words, where it is not a matter of the codebook's size."""
    axes.axis("off")
    _titled(axes, _advice(diagnosis))
    said = [diagnosis.forecast, *(f"{knob[0].upper()}{knob[1:]}: {where}." for knob, where in diagnosis.cures)]
    said += diagnosis.causes
    text = "\n\n".join(textwrap.fill(sentence, 62) for sentence in said)
    axes.text(0, 0.97, text, va="top", fontsize=8.5, transform=axes.transAxes)


def _critical(diagnosis: Diagnosis, size: int) -> float:
    from dataclasses import replace

    from vqtheory.diagnosis.laws import law_of

    recording = diagnosis.recording
    return law_of(replace(recording, codes=np.zeros((size, recording.codes.shape[1]))), diagnosis.worst).critical_speed


def _advice(diagnosis: Diagnosis) -> str:
    excess, law = diagnosis.excess[diagnosis.worst], diagnosis.laws[diagnosis.worst]
    if diagnosis.cures:
        return f"What would help: {', or '.join(knob for knob, _ in diagnosis.cures)}."
    if math.isnan(excess):
        return "No law says which knob would help."
    if excess > 1:
        return "The drift is too fast for the law." if not diagnosis.alive.all() else "All codes live, for whatever reason."
    return "Codes could follow the drift." if law.limit else "The law allows so many codes at this drift."
