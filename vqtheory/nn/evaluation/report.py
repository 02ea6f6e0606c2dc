"""Evaluations as pages of Markdown and as pictures, and the files that keep them."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from vqtheory._base.folder import write_beside

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLES = (".md", ".csv", ".parquet")
_COUNTS = ("images", "latents", "used")
_BEST: dict[str, Callable[[Iterable[float]], float]] = {
    **dict.fromkeys(("used", "usage", "perplexity", "psnr", "ssim", "ms_ssim"), max),
    **dict.fromkeys(("relative_distortion", "rfid", "lpips"), min),
}  # not distortion: its unit is each model's own


def page_of_one(about: str, table: pl.DataFrame) -> str:
    """Title, and a row per metric."""
    rows = [[row["metric"], _number(row["metric"], row["value"]), row["note"]] for row in table.iter_rows(named=True)]
    return f"# {about}\n\n{_markdown(['metric', 'value', 'note'], rows)}\n"


def page_of_many(table: pl.DataFrame, metrics: pl.DataFrame) -> str:
    """A row per run, the best of each column in bold; below, what the columns are. `metrics` has the notes of all runs."""
    notes = metrics.select("metric", "note").unique(maintain_order=True).group_by("metric", maintain_order=True).all()
    shown = [name for name in table.columns if table[name].null_count() < len(table)]
    columns = [[_bold(name, value, table[name]) for value in table[name]] for name in shown]
    about = [f"- {name}: {note}" for name, found in notes.iter_rows() for note in found]
    rows = [list(row) for row in zip(*columns, strict=True)]
    said = "Bold: the best of its column. The unit of distortion is each model's own, that of relative_distortion is not."
    return "\n".join(["# Trainings on the same test images", "", _markdown(shown, rows), "", said, "", *about, ""])


def _bold(name: str, value: Any, column: pl.Series) -> str:
    """A cell; in bold if it is the best, and not all are."""
    text = _number(name, value)
    known = [other for other in column if other is not None]
    is_best = name in _BEST and value is not None and value == _BEST[name](known) and any(other != value for other in known)
    return f"**{text}**" if is_best else text


def _number(name: str, value: Any) -> str:
    """Four digits; a count in full; - where it is not known."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if name in _COUNTS else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _markdown(headings: list[str], rows: list[list[str]]) -> str:
    """A table whose columns are aligned in plain text too; the last one may be long, and is not filled up."""
    lines = [headings, *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    widths = [*(max(map(len, column)) for column in list(zip(*lines, strict=True))[:-1]), 0]
    filled = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    filled.insert(1, ["-" * max(3, width) for width in widths])
    return "\n".join(f"| {' | '.join(line)} |" for line in filled)


def label(row: dict[str, Any], columns: list[str]) -> str:
    """A run in a picture: lines with its rule, what else distinguishes it, and how good it is."""
    settings = [f"{name} {_number(name, row[name])}" for name in columns[2 : columns.index("images")] if name != "data"]
    lines = [row["rule"], ", ".join(settings), f"{row['psnr']:.1f} dB, {row['usage']:.0%} used"]
    return "\n".join(filter(None, lines))


def grid(rows: list[tuple[str, np.ndarray]], title: str) -> Figure:
    """A row of images [n, size, size, 3] per label, and over all a title."""
    from matplotlib.figure import Figure

    count = max(len(images) for _, images in rows)
    width = 1.9 + 1.2 * max(count, 4)  # inches
    figure = Figure(figsize=(width, 0.6 + 1.2 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), count, squeeze=False)
    for line, (text, images) in zip(axes, rows, strict=True):
        for place, image in zip(line, images, strict=True):
            place.imshow(image, interpolation="nearest")
            place.set(xticks=[], yticks=[])
            place.spines[:].set_visible(False)
        wrapped = "\n".join(textwrap.fill(part, 24, max_lines=4) for part in text.splitlines())
        line[0].set_ylabel(wrapped, rotation=0, ha="right", va="center", fontsize=8, parse_math=False)
    figure.suptitle(textwrap.fill(title, int(9 * width)), fontsize=11, fontweight="bold", parse_math=False)
    return figure


def keep(path: Path, found: Any) -> None:
    """Write the table of an evaluation or comparison to a .md, .csv or .parquet file, any other is its picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_beside(path, _content(path.suffix.lower(), found))


def _content(kind: str, found: Any) -> bytes:
    if kind == ".md":
        return str(found).encode()
    file = io.BytesIO()
    match kind:
        case ".csv":
            found.table.write_csv(file)
        case ".parquet":
            found.table.write_parquet(file)
        case picture:
            found.plot().savefig(file, format=picture[1:], dpi=150)
    return file.getvalue()
