"""What each map can move, as a table: spectrum and gains of its tangent kernel, at equal trace, and where it rests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from simulations.lineup import in_order
from simulations.tangent import CODES

TABLE, SUFFIX = "tangent", ".md"
COLUMNS = ("smallest", "largest", "effective", "shift_gain", "scaling_gain", "residual", "ratio")
HEAD = (
    f"| map | smallest eigenvalue | largest | effective rank, of {2 * CODES} | gain on a shift | gain on scaling | "
    "gradient at rest | distortion / best Lloyd |\n|---|---|---|---|---|---|---|---|\n"
)


def draw(table: pl.DataFrame) -> Callable[[Path], None]:
    """The table as Markdown."""
    return lambda path: path.write_text(markdown(table))  # type: ignore[return-value]


def markdown(table: pl.DataFrame) -> str:
    """A line for each map, the medians of its seeds."""
    values = table.drop_nulls("eigenvalue")
    number = int(values["rank"].max())  # type: ignore[arg-type]
    kernels = values.group_by("rule", "seed").agg(
        smallest=pl.col("eigenvalue").min() * (pl.len() == number),  # the others of a map of few parameters are 0
        largest=pl.col("eigenvalue").max(),
        effective=pl.col("eigenvalue").sum() ** 2 / (pl.col("eigenvalue") ** 2).sum(),
        shift_gain=pl.col("shift_gain").first(),
        scaling_gain=pl.col("scaling_gain").first(),
    )
    ends = table.filter(update=pl.col("update").max()).select("rule", "seed", "residual", "ratio")
    rows = kernels.join(ends, on=["rule", "seed"]).group_by("rule").agg(pl.col(COLUMNS).median())
    cells = {rule: [f"{value:.2g}" for value in numbers] for rule, *numbers in rows.select("rule", *COLUMNS).iter_rows()}
    return HEAD + "".join(f"| {rule} | {' | '.join(cells[rule])} |\n" for rule in in_order(cells))
