"""The plots of a diagnosis as plotly.js reads them: traces and layouts of plain lists and dicts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from vqtheory._base.pictures import UNUSED, USED, in_plane
from vqtheory.diagnosis import report
from vqtheory.diagnosis.findings import Findings
from vqtheory.diagnosis.laws import allowed_speeds

_LATENTS, _LAW, _SPEED = "#9a9a9a", "#e08e1b", "#9c6ec4"
_MOST_LATENTS, _MOST_CODES = 1500, 3000  # points of one kind, more than which are slow to draw and hide each other
_BINS = 50


class Chart(NamedTuple):
    """A plot, and the sentence above it."""

    sentence: str
    traces: list[dict[str, Any]]
    layout: dict[str, Any]


def charts(findings: Findings) -> list[Chart]:
    """Codes among latents; codes in use; drift; distortion; speed against codebook size where a law has it."""
    figures = [_codes(findings), _used(findings), _drift(findings), _distortion(findings)]
    return [*figures, _allowed(findings)] if findings.laws[findings.worst].has_curve else figures


def _codes(findings: Findings) -> Chart:
    recording, alive = findings.recording, findings.alive
    latents, codes = recording.latents[-1].astype(np.float64), recording.codes.astype(np.float64)
    sentence = report.alive_at_last(findings)
    if max(alive.sum(), (~alive).sum()) > _MOST_CODES:
        sentence += f" At most {_MOST_CODES:,} of each kind are drawn."
    if codes.shape[1] == 1:
        return Chart(sentence, *_in_one_dimension(findings, latents[:, 0], codes[:, 0]))
    latents, codes, names = in_plane(latents, codes)
    traces = [{"name": "latents", **_points(_some(latents, _MOST_LATENTS), _LATENTS, 3), "hoverinfo": "skip"}]
    for chosen, rows in _groups(findings):
        marker = _points(codes[rows], USED if chosen else UNUSED, 6 if chosen else 4)
        traces.append(marker | _labels(findings, chosen, rows))
    return Chart(sentence, traces, _axes(names[0], names[1]))


def _in_one_dimension(findings: Findings, latents: np.ndarray, codes: np.ndarray) -> tuple[list, dict]:
    """A histogram of the latents, and the codes as ticks below it."""
    density, edges = np.histogram(latents, _BINS, density=True)
    middles, width = (edges[1:] + edges[:-1]) / 2, float(edges[1] - edges[0])
    traces = [{"type": "bar", "name": "latents", "x": middles, "y": density, "width": width, "marker": {"color": _LATENTS}}]
    for row, (chosen, rows) in enumerate(_groups(findings)):
        heights = np.full(len(rows), -(0.08 + 0.1 * row) * density.max())
        ticks = _points(np.stack([codes[rows], heights], axis=1), USED if chosen else UNUSED, 12)
        ticks["marker"] |= {"symbol": "line-ns-open"}
        traces.append(ticks | _labels(findings, chosen, rows))
    return traces, _axes("latents and codes", "density")


def _groups(findings: Findings) -> Iterator[tuple[bool, np.ndarray]]:
    """The numbers of codes that were chosen, and of the others, which are drawn on top."""
    for chosen in (True, False):
        yield chosen, _some(np.flatnonzero(findings.alive == chosen), _MOST_CODES)


def _labels(findings: Findings, chosen: bool, rows: np.ndarray) -> dict[str, Any]:
    """What the pointer shows of codes: their numbers and their hits."""
    hits = findings.recording.hits[-1]
    count = int(np.count_nonzero(findings.alive == chosen))
    numbers = np.stack([rows, hits[rows]], axis=1)
    shown = "code %{customdata[0]:,}: %{customdata[1]:,} hits<extra></extra>"
    return {
        "name": f"{count:,} {'chosen' if chosen else 'not chosen'}",
        "customdata": numbers,
        "hovertemplate": shown,
    }


def _used(findings: Findings) -> Chart:
    recording, num_codes = findings.recording, findings.num_codes
    traces = [_line("used since the probe before", recording.steps[1:], recording.used[1:], USED, mode="lines+markers")]
    if np.isfinite(findings.predicted).any():
        traces.append(_line("by the law", recording.steps[1:], findings.predicted, _LAW, dash="dash"))
    layout = _axes("updates", f"codes of {num_codes:,}", logarithmic="y")
    layout["yaxis"] |= {"range": [np.log10(0.8), np.log10(1.5 * num_codes)]}
    return Chart(report.outcome(findings), traces, layout)


def _drift(findings: Findings) -> Chart:
    recording = findings.recording
    critical = np.array([law.critical_speed for law in findings.laws])
    traces = [_stairs("drift", recording.steps, _positive(recording.motion.speed), _SPEED)]
    if np.isfinite(_positive(critical)).any():
        traces.append(_stairs(report.limit(findings), recording.steps, _positive(critical), _LAW, dash="dash"))
    sentence = "How far the mean of the latents moved, per update."
    return Chart(sentence, traces, _axes("updates", "speed, per update", logarithmic="y"))


def _distortion(findings: Findings) -> Chart:
    recording = findings.recording
    variances = recording.motion.spread**2
    share = np.divide(recording.distortions, variances, out=np.full(len(variances), np.nan), where=variances > 0)
    traces = [_line("distortion / variance", recording.steps, _positive(share), USED, mode="lines+markers")]
    traces.append(_line("spread", recording.steps, _positive(recording.motion.spread), _SPEED, dash="dot"))
    sentence = "Distortion over the variance of the latents, and how widely the latents spread."
    return Chart(sentence, traces, _axes("updates", "", logarithmic="y"))


def _allowed(findings: Findings) -> Chart:
    """The knob: what speed is allowed to codebooks of which size."""
    i, num_codes = findings.worst, findings.num_codes
    law, speed = findings.laws[i], float(findings.recording.motion.speed[i])
    sizes, speeds = allowed_speeds(findings.recording, i)
    traces = [_line("critical speed", sizes, speeds, _LAW)]
    traces.append(_line(f"the drift, at its worst: {speed:.3g}", sizes[[0, -1]], np.full(2, speed), _SPEED))
    here = _line("this codebook", np.array([num_codes]), np.array([speed]), _SPEED, mode="markers")
    traces.append(here | {"marker": {"size": 10, "color": _SPEED}})
    if law.survivors < num_codes:
        ends = np.array([np.nanmin(speeds), max(np.nanmax(speeds), speed)])
        name = f"survivors by the law: {law.survivors:,.0f}"
        traces.append(_line(name, np.full(2, law.survivors), ends, USED, dash="dot"))
    layout = _axes("codes in the codebook", "speed, per update", logarithmic="xy")
    return Chart(report.advice(findings), traces, layout)


def _points(rows: np.ndarray, color: str, size: int) -> dict[str, Any]:
    marker = {"color": color, "size": size}
    return {"type": "scatter", "mode": "markers", "x": rows[:, 0], "y": rows[:, 1], "marker": marker}


def _line(name: str, x: np.ndarray, y: np.ndarray, color: str, mode: str = "lines", dash: str = "solid") -> dict[str, Any]:
    style = {"color": color, "width": 2, "dash": dash}
    return {"type": "scatter", "mode": mode, "name": name, "x": x, "y": y, "line": style, "marker": {"size": 5}}


def _stairs(name: str, edges: np.ndarray, values: np.ndarray, color: str, dash: str = "solid") -> dict[str, Any]:
    """Values between edges, one fewer than there are edges."""
    line = _line(name, edges, np.append(values, values[-1:]), color, dash=dash)
    return line | {"line": line["line"] | {"shape": "hv"}}


def _axes(x: str, y: str, logarithmic: str = "") -> dict[str, Any]:
    axes: dict[str, Any] = {f"{axis}axis": {"title": {"text": title, "standoff": 8}} for axis, title in (("x", x), ("y", y))}
    for axis in logarithmic:
        axes[f"{axis}axis"] |= {"type": "log", "exponentformat": "power"}
    return axes


def _positive(values: np.ndarray) -> np.ndarray:
    """What a logarithmic axis can show; nan in place of the rest."""
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _some(rows: np.ndarray, most: int) -> np.ndarray:
    """At most so many of the rows, evenly chosen."""
    return rows[:: max(1, -(-len(rows) // most))]
