"""The face study in a table: every rule's codebook and pictures on the test images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from simulations.faces import FORMS, QUICK, RULES, STARTS

TABLE, SUFFIX = "faces", ".md"
COLUMNS = {
    "used": ("codes used", "{:,.0f}"),
    "perplexity": ("perplexity", "{:,.0f}"),
    "relative_distortion": ("distortion / variance", "{:.3f}"),
    "psnr": ("PSNR, dB", "{:.2f}"),
    "ssim": ("SSIM", "{:.3f}"),
}
TITLES = {"rules": "", "forms": "", "published": ", published start"}
ORDER = [*RULES, *(f"{label} quick" for label in QUICK), *FORMS, *STARTS]


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """The table as Markdown."""
    return lambda path: path.write_text(markdown(table))  # type: ignore[return-value]


def markdown(table: pl.DataFrame) -> str:
    """A line for each rule: the median of its seeds, and their range where there are several."""
    lines = [
        f"| rule | seeds | {' | '.join(title for title, _ in COLUMNS.values())} |",
        f"|---|{'---|' * (1 + len(COLUMNS))}",
    ]
    for group in TITLES:
        of_group = table.filter(group=group)
        for label in sorted(of_group["label"].unique(), key=ORDER.index):
            rows = of_group.filter(label=label)
            cells = [cell(rows[column].to_list(), form) for column, (_, form) in COLUMNS.items()]
            lines.append(f"| {label}{TITLES[group]} | {len(rows)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def cell(values: list[float], form: str) -> str:
    """The median, and the least and most."""
    low, *_, high = values = sorted([min(values), *values, max(values)])
    middle = form.format(pl.Series(values).median())
    return middle if low == high else f"{middle} ({form.format(low)} to {form.format(high)})"
