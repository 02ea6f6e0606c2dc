"""The face study in tables: every method's codebook and pictures on the test images, by name and tuned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl

from simulations.protocol import COMPARED, LARGE, METHODS, MOVING, PASSING, Method, chosen, is_named
from simulations.tables import DATA

TABLE, SUFFIX = "faces", ".md"
COLUMNS = {
    "used": ("codes used", "{:,.0f}"),
    "perplexity": ("perplexity", "{:,.0f}"),
    "relative_distortion": ("distortion / variance", "{:.3f}"),
    "psnr": ("PSNR, dB", "{:.2f}"),
    "ssim": ("SSIM", "{:.3f}"),
}


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """The tables as Markdown."""
    return lambda path: path.write_text("\n".join(parts(table)))  # type: ignore[return-value]


def parts(table: pl.DataFrame) -> list[str]:
    """The tables, each as Markdown."""
    return [markdown(table, COMPARED), markdown(table, MOVING), markdown(table, PASSING), sizes(table), published(table)]


def markdown(table: pl.DataFrame, methods: Mapping[str, Method]) -> str:
    """A line for each method by its name, and one for each that has a rate: medians of seeds, and their range.

    What has not been trained yet is left out.
    """
    times = ratios()
    lines = head("method", "setting", "seeds", *_titles(), "time per update / plain VQ")
    for label in methods:
        for group, time in {"named": times.get(label, ""), "tuned": ""}.items():
            rows = table.filter(group=group, label=label)
            if len(rows):
                lines.append(_line(label, setting(table, label, group), rows, time))
    return "\n".join(lines) + "\n"


def setting(table: pl.DataFrame, label: str, group: str) -> str:
    """How the rate of a row came about."""
    value = chosen(table, label)
    if not METHODS[label].grid:
        return "by name; nothing to tune"
    if value is not None and is_named(label, value):
        return "by name; tuned, too"
    return "by name" if group == "named" else f"tuned: {value:g}"


def sizes(table: pl.DataFrame) -> str:
    """Transport and NSVQ by name, with more codes and in fewer dimensions."""
    lines = head("method", "codes", "dimensions", *_titles(), "perplexity / codes")
    for what in LARGE:
        rows = table.filter(pl.col("label").str.ends_with(f", {what}"), group="sizes")
        for row in rows.sort("label", descending=True).iter_rows(named=True):
            cells = [form.format(row[column]) for column, (_, form) in COLUMNS.items()]
            label = row["label"].split(", ")[0]
            share = f"{row['perplexity'] / row['codes']:.2f}"
            lines.append(f"| {label} | {row['codes']:,} | {row['dim']} | {' | '.join(cells)} | {share} |")
    return "\n".join(lines) + "\n"


def published(table: pl.DataFrame) -> str:
    """Rules by name, from the start of their own papers."""
    lines = head("rule, from its published start", *_titles())
    for row in table.filter(group="published").sort("label").iter_rows(named=True):
        cells = [form.format(row[column]) for column, (_, form) in COLUMNS.items()]
        lines.append(f"| {row['label']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def ratios() -> dict[str, str]:
    """Seconds of an update over those of plain VQ, of each method that was timed at 1,024 codes."""
    timed = pl.read_parquet(DATA / "benchmarks.parquet").filter(section="training")
    rows = timed.filter(pl.col("codes") < 2000).select("case", "ratio").iter_rows()
    return {case: f"{ratio:.2f}" for case, ratio in rows}


def _titles() -> list[str]:
    return [title for title, _ in COLUMNS.values()]


def head(*titles: str) -> list[str]:
    return [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]


def _line(label: str, how: str, rows: pl.DataFrame, time: str) -> str:
    cells = [cell(rows[column].to_list(), form) for column, (_, form) in COLUMNS.items()]
    return f"| {label} | {how} | {len(rows)} | {' | '.join(cells)} | {time} |"


def cell(values: list[float], form: str) -> str:
    """The median, and the least and most; "diverged" where a training did."""
    if None in values:
        return "diverged"
    low, *_, high = values = sorted([min(values), *values, max(values)])
    middle = form.format(pl.Series(values).median())
    return middle if low == high else f"{middle} ({form.format(low)} to {form.format(high)})"
