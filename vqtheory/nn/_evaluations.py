"""What `vqtheory evaluate` and `vqtheory compare` do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vqtheory._base import check
from vqtheory.nn._report import TABLES, keep
from vqtheory.nn.evaluation import Comparison, Evaluation, compare, evaluate


def run_evaluate(folder: Path, given: dict[str, Any], save: Path | None, picture: Path | None) -> None:
    """Evaluate the training in a folder; say and keep what came out, in the folder unless `save` is elsewhere."""
    files = _files("evaluate", save or folder, "evaluation", picture, "reconstructions.png")
    _end(evaluate(folder, **given), files)


def run_compare(folders: tuple[Path, ...], given: dict[str, Any], save: Path | None, picture: Path | None) -> None:
    """Compare the trainings in folders; say and keep what came out."""
    files = _files("compare", save or Path(), "compare", picture, "compare.png")
    _end(compare(folders, **given), files)


def _files(owner: str, save: Path, stem: str, picture: Path | None, drawn: str) -> list[Path]:
    """Where tables and picture go; refused before the work and not after it."""
    is_table = save.suffix.lower() in TABLES and not save.is_dir()
    if save.is_file() and not is_table:
        raise check.fail(owner, "save", "a folder, or a .md, .csv or .parquet file", str(save))
    folder = save.parent if is_table else save
    return [*([save] if is_table else [folder / f"{stem}.md", folder / f"{stem}.parquet"]), picture or folder / drawn]


def _end(found: Evaluation | Comparison, files: list[Path]) -> None:
    print(found)
    for path in files:
        keep(path, found)
    *tables, picture = files
    print(f"Tables: {', '.join(map(str, tables))}\nPicture: {picture}")
