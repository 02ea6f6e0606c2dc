"""Every claim at a glance: what was measured, beside what was predicted, in units of what would count as evidence.

The page of the claims is written beside the picture, from the same table: docs/claims.md and docs/claims.png.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl
from matplotlib.figure import Figure

from paper_figures.style import save
from vqtheory.claims.picture import draw as draw_table
from vqtheory.claims.table import page, summary_of

TABLE, SUFFIX = "claims", ".png"


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """One line per claim, in two columns."""
    figure = plt.figure(layout="constrained")
    draw_table(figure, table)
    return partial(write, figure, table)


def write(figure: Figure, table: pl.DataFrame, path: Path) -> None:
    """The picture, which carries the counts as its title, and claims.md beside it."""
    figure.savefig(path, metadata={"Title": summary_of(table)})
    save(path.with_name("claims.md"), lambda beside: beside.write_text(page(table), "utf-8"))  # type: ignore[arg-type]
