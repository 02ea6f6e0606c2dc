"""`python -m simulations.benchmarks`: run the comparisons, print them, and keep them as a table."""

from __future__ import annotations

import importlib
import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import tyro
from tqdm import tqdm

from simulations import command
from simulations.benchmarks import NAMED, SECTIONS
from simulations.tables import write

PROGRAM = "python -m simulations.benchmarks"
NAMES = f"Which sections: {', '.join(SECTIONS)}, by default all of these; or {' or '.join(NAMED)}."
PEERS = ("torch", "scikit-learn", "vector-quantize-pytorch", "faiss-cpu", "superkmeans", "flash-kmeans")
MODULES = {"online": "simulator", "batch": "simulator", "kernels": "simulator"}


def main(
    names: Annotated[command.Names, command.names(NAMES)] = (),
    save: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None,
) -> None:
    """Compare speed and memory with named peers; on an idle machine, in ten minutes or so, as do kmeans and gpu by name.

    Args:
        save: A .parquet file for the table; paper_figures/data/benchmarks.parquet is the one that is drawn.
    """
    began, rows = time.monotonic(), []
    for name in command.known(PROGRAM, names, (*SECTIONS, *NAMED)) or SECTIONS:
        module = importlib.import_module(f"simulations.benchmarks.{MODULES.get(name, name)}")
        rows += list(tqdm(getattr(module, name)(), desc=name, unit=" rows"))
    table = pl.DataFrame(rows, infer_schema_length=None).with_columns(machine=pl.lit(machine()))
    if save is not None:
        write(save, table, time.monotonic() - began, tuple(filter(installed, PEERS)))
    shown: dict[str, Any] = {"tbl_rows": -1, "tbl_cols": -1, "tbl_width_chars": 140, "fmt_str_lengths": 40}
    with pl.Config(**shown, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True, float_precision=4):
        for _, of_section in table.drop("machine").group_by("section", maintain_order=True):
            print(of_section.select(column.name for column in of_section if column.null_count() < len(of_section)))
    print(f"{machine()}.")


def installed(package: str) -> bool:
    """Whether there is such a package; a GPU's machine may have few of them."""
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False


def machine() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {platform.system()}"


if __name__ == "__main__":
    command.run(main, PROGRAM)
