"""Models of the face study in tables: DQ-VAE beside fixed grids of codes, VQCT, and staged trainings of NSVQ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from paper_figures.faces_table import COLUMNS, head
from paper_figures.style import rows_of
from simulations.protocol import MODELS, STAGED

TABLE, SUFFIX = "faces", ".md"


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """The tables as Markdown."""
    text = "\n".join(parts(table))
    return lambda path: path.write_text(text)  # type: ignore[return-value]


def parts(table: pl.DataFrame) -> list[str]:
    """The tables, each as Markdown."""
    return [grains(table), staged(table)]


def grains(table: pl.DataFrame) -> str:
    """DQ-VAE over gate and budget, beside the two grids mixed over the images to as many codes."""
    lines = head(
        "codes of an image", "fine in training", "codes per image", *_titles(), "PSNR of both grids, mixed to as many"
    )
    rows = rows_of(table, "models").filter(pl.col("label").is_in([*MODELS]), ~pl.col("label").str.starts_with("VQCT"))
    for row in rows.iter_rows(named=True):
        own = row["latents"] / row["images"]
        cells = [row["label"], f"{row['fine']:.1%}", f"{own:.0f}", *_cells(row), f"{mixed(table, own):.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def mixed(table: pl.DataFrame, codes: float) -> float:
    """The mean PSNR where a share of the images has 256 codes and the rest 64, so that it is so many on average."""
    rows = table.filter(pl.col("label").str.starts_with("grid"), group="models").sort("latents")
    counts = (rows["latents"] / rows["images"]).to_numpy()
    return float(np.interp(codes, counts, rows["psnr"].to_numpy()))


def staged(table: pl.DataFrame) -> str:
    """NSVQ by its name in one stage, and in stages, at two sizes."""
    lines = head("training", "codes", *_titles(), "perplexity / codes")
    one_stage = table.filter(group="named", label="NSVQ", seed=0)
    rows = pl.concat([one_stage, rows_of(table, "staged").filter(pl.col("label").is_in([*STAGED]))])
    for row in rows.iter_rows(named=True):
        label, codes = row["label"].split(", 8")[0], row["codes"]
        cells = [label, f"{codes:,}", *_cells(row), f"{row['perplexity'] / codes:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _titles() -> list[str]:
    return [title for title, _ in COLUMNS.values()]


def _cells(row: Mapping[str, Any]) -> list[str]:
    return [form.format(row[column]) for column, (_, form) in COLUMNS.items()]
