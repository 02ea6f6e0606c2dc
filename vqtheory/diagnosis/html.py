"""A diagnosis as one HTML file, which needs no network: its sentences, its tables, and plots that can be zoomed.

The frame is `report.html`, a `string.Template`; what is filled in is made here. All texts are escaped. The page forbids
itself, by its content security policy, to load anything.
"""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Iterable, Sequence
from html import escape
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from vqtheory._base import check
from vqtheory._base.extras import missing
from vqtheory._base.folder import write_beside
from vqtheory.diagnosis import report
from vqtheory.diagnosis.charts import charts
from vqtheory.diagnosis.findings import MOST, Findings

_MOST_ROWS = 150  # of the table of probes
_DIGITS = 7  # of a number in a plot
_PACKAGES = {"torch": "torch", "vector_quantize_pytorch": "vector-quantize-pytorch", "diffusers": "diffusers"}


def check_target(owner: str, path: Any, overwrite: bool = False) -> Path:
    """Where a report can be written: to a .html file that is not there yet, or that may be replaced."""
    target = check.path(owner, "path", path)
    if target.suffix.lower() not in (".html", ".htm") or target.is_dir():
        raise check.fail(owner, "path", "a .html file", str(target))
    if target.exists() and not overwrite:
        raise FileExistsError(f"There is a file {str(target)!r} already: name another one, or allow it to be overwritten.")
    _plotly_js(owner)
    return target


def write(findings: Findings, target: Path, title: str = "", notes: str = "") -> None:
    """Write the report to a target that was checked; nothing half-written stays."""
    content = page(findings, title, notes)  # before there is a folder
    target.parent.mkdir(parents=True, exist_ok=True)
    write_beside(target, content.encode())


def page(findings: Findings, title: str = "", notes: str = "") -> str:
    """The page."""
    frame = Template(files("vqtheory.diagnosis").joinpath("report.html").read_text("utf-8"))
    plots = charts(findings)
    figures = [{"data": plot.traces, "layout": plot.layout} for plot in plots]
    return frame.substitute(
        title=escape(title or "Diagnosis of a codebook"),
        notes=_paragraphs([notes] if notes else [], "notes"),
        subject=escape(report.subject(findings)),
        kind=findings.forecast.kind.replace(" ", "-"),
        verdict=escape(findings.forecast.verdict),
        numbers=_numbers(findings),
        sentences=_paragraphs(_sentences(findings)),
        cures=_cures(findings),
        ranking=_ranking(findings),
        plots="".join(_figure(plot.sentence) for plot in plots),
        probes=_probes(findings),
        settings=_pairs(_settings(findings)),
        versions=_pairs(_versions()),
        figures=_as_json(figures),
        plotly=_plotly_js("Diagnosis.save"),
    )


def _plotly_js(owner: str) -> str:
    """The library of the plots."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise ImportError(missing(owner, "plotly", "report")) from None
    return get_plotlyjs()


def _numbers(findings: Findings) -> str:
    """The few that are read first."""
    forecast, num_codes = findings.forecast, findings.num_codes
    tiles = [(f"{forecast.alive:,} of {num_codes:,}", "codes are alive")]
    tiles.append((f"{findings.carrying:,}", f"have {MOST:.0%} of the latents"))
    if not math.isnan(forecast.excess):
        tiles.append((f"{forecast.excess:,.3g}", f"times {forecast.limit}, at the worst drift"))
    if not math.isnan(forecast.survivors):
        tiles.append((f"{forecast.survivors:,.0f} of {num_codes:,}", "codes would be left if that drift went on"))
    return "".join(f"<div><b>{escape(number)}</b><span>{escape(meaning)}</span></div>" for number, meaning in tiles)


def _sentences(findings: Findings) -> list[str]:
    forecast = findings.forecast
    sentences = [report.state(findings), f"{forecast}{report.played(findings)}", *map(str, findings.causes)]
    return sentences if forecast.kind == "no law" else [*sentences, f"Validity: {forecast.validity}"]


def _cures(findings: Findings) -> str:
    if not findings.cures:
        return _paragraphs([report.advice(findings)])
    rows = [(cure.change, report.extent(findings, cure)) for cure in findings.cures]
    return _paragraphs([f"What would {report.effect(findings)}:"]) + _table(("change", "how far"), rows)


def _ranking(findings: Findings) -> str:
    """What changes would have kept, each with the line that makes it."""
    if findings.alive.all():
        return _paragraphs(["All codes are alive: no change was tried."])
    if not findings.ranking.trials:
        return _paragraphs(["No change was tried."])
    heading = f"What each would have kept on the motion that was seen, the best first ({report.beside(findings)})."
    items = []
    for trial in findings.ranking.trials:
        share = 100 * trial.alive / max(trial.change.codes, findings.num_codes)
        numbers = f"{trial.alive:,} alive · {trial.carrying:,} carrying · distortion {trial.distortion:.3g}"
        items.append(
            f'<li><div class="bar" style="width:{share:.1f}%"></div><h3>{escape(trial.change.name)}</h3>'
            f"<p>{escape(numbers)}</p>{_line_to_copy(trial.change.call)}</li>"
        )
    listed = f'<ol class="ranking">{"".join(items)}</ol>'
    return _paragraphs([heading]) + listed + _paragraphs(report.notes(findings), "small")


def _line_to_copy(line: str) -> str:
    if not line:
        return ""
    return f'<div class="line"><code>{escape(line)}</code><button type="button">Copy</button></div>'


def _figure(sentence: str) -> str:
    return f'<figure><figcaption>{escape(sentence)}</figcaption><div class="plot"></div></figure>'


def _probes(findings: Findings) -> str:
    """The recording's table, every n-th row of it where there are many."""
    table = findings.recording.table
    every = -(-len(table) // _MOST_ROWS)
    shown = table.gather_every(every)
    note = [f"One in {every} of {len(table):,} probes is shown."] if every > 1 else []
    return _paragraphs(note) + _table(shown.columns, [[_number(value) for value in row] for row in shown.iter_rows()])


def _settings(findings: Findings) -> list[tuple[str, str]]:
    recording = findings.recording
    known = {
        "rule": None if recording.rule is None else repr(recording.rule),
        "optimizer of the codes": recording.optimizer,
        "step size or learning rate, at the end": recording.rates[-1],
        "weight decay of the codebook": recording.weight_decay,
        "codes": findings.num_codes,
        "dimensions of a code": recording.codes.shape[1],
        "latents in an update": recording.batch_size,
        "latents in a probe": recording.latents.shape[1],
        "probes": f"{len(recording.steps):,}, of updates {recording.steps[0]:,} to {recording.steps[-1]:,}",
        "quantizer": recording.place,
        "of the package": recording.package,
    }
    return [(name, _number(value) or "none, or not known") for name, value in known.items()]


def _versions() -> list[tuple[str, str]]:
    names = ["vqtheory", "numpy", "numba", "plotly"] + [_PACKAGES[name] for name in _PACKAGES if name in sys.modules]
    return [("Python", platform.python_version()), *((name, _version(name)) for name in names)]


def _version(name: str) -> str:
    """Of a package; one that is a folder on the path has none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "not known"


def _number(value: Any) -> str:
    """A value of a table or a setting; empty where it is not known."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < 1e15 else f"{value:.4g}"


def _paragraphs(sentences: Iterable[str], kind: str = "") -> str:
    tag = f'<p class="{kind}">' if kind else "<p>"
    return "".join(f"{tag}{escape(sentence)}</p>" for sentence in sentences)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>'


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}</dt><dd>{escape(value)}</dd>' for name, value in pairs)}</dl>"


def _as_json(figures: Any) -> str:
    """JSON that can stand in a script: without a tag, and without numbers that JSON does not have."""
    return json.dumps(_plain(figures), separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _plain(value: Any) -> Any:
    """Arrays as lists, numbers with few digits, null for those that are not finite."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(part) for part in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
