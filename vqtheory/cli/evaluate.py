"""`vqtheory evaluate` and `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from vqtheory._base import check
from vqtheory.cli.options import Folder, number, option, picture_file, say, torch_module

if TYPE_CHECKING:
    from vqtheory.nn.evaluation import Comparison, Evaluation

_TABLES = (".md", ".csv", ".parquet")


def evaluate(
    folder: Folder,
    /,
    *,
    data: Annotated[str | None, option("PATH", "that of the training")] = None,
    images: Annotated[str | None, option("INT", "all")] = None,
    part: Annotated[str | None, option("{test,validation}", "test")] = None,
    features: Annotated[str | None, option("FILE.pt")] = None,
    lpips: Annotated[str | None, option("FILE.pt")] = None,
    save: Annotated[Path | None, option("FOLDER|FILE", "the training's folder")] = None,
    picture: Annotated[Path | None, option("FILE.png", "reconstructions.png in the folder")] = None,
) -> None:
    """Measure a training on its test images: codes used, distortion, PSNR, SSIM; rFID and LPIPS with networks of yours.

    Args:
        folder: The --save folder of train.
        data: Other images, or where the training's own are now: a folder, a .zip or .parquet files. Its test part is used.
        images: How many of the test images, equally far apart.
        part: The images for the test, or those that --validation left out of the training.
        features: For rFID, a TorchScript network from uint8 images [n, 3, H, W] to features [n, d], such as the Inception
            of the FID literature, inception-2015-12-05.pt. Its code is run: take only files that you trust.
        lpips: For LPIPS, a TorchScript network from images and reconstructions in [-1, 1] to distances [n]. Its code is run.
        save: Where evaluation.md and evaluation.parquet go; or one .md, .csv or .parquet file.
        picture: Where to draw images and reconstructions; .pdf, .svg and .jpg too.
    """
    given = {"data": data, "images": None if images is None else number(images), "features": features, "lpips": lpips}
    given |= {} if part is None else {"part": part}
    run_evaluate(folder, given, save, None if picture is None else picture_file(picture))


def compare(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional, option("FOLDER FOLDER ...")],
    /,
    *,
    data: Annotated[str | None, option("PATH", "that of the trainings")] = None,
    images: Annotated[str | None, option("INT", "all")] = None,
    part: Annotated[str | None, option("{test,validation}", "test")] = None,
    features: Annotated[str | None, option("FILE.pt")] = None,
    lpips: Annotated[str | None, option("FILE.pt")] = None,
    save: Annotated[Path | None, option("FOLDER|FILE", "here")] = None,
    picture: Annotated[Path | None, option("FILE.png", "compare.png in the folder")] = None,
) -> None:
    """Measure trainings on the same test images: a table with a row for each, and a picture.

    The table says what differs between their settings, and has the best of each column in bold. A difference smaller than
    that between two seeds of one setting says nothing: train each with several.

    Args:
        folders: The --save folders of train, on images of one size.
        data: The images for all, where the trainings were on different ones. Their test part is used.
        images: How many of the test images, equally far apart.
        part: The images for the test, or those that --validation left out of the training.
        features: For rFID, a TorchScript network, see vqtheory evaluate --help.
        lpips: For LPIPS, a TorchScript network, see there.
        save: The folder for compare.md and compare.parquet; or one .md, .csv or .parquet file.
        picture: Where to draw what each brings back of the same images; .pdf, .svg and .jpg too.
    """
    given = {"data": data, "images": None if images is None else number(images), "features": features, "lpips": lpips}
    given |= {} if part is None else {"part": part}
    run_compare(folders, given, save, None if picture is None else picture_file(picture))


def run_evaluate(folder: Path, given: dict[str, Any], save: Path | None, picture: Path | None) -> None:
    """Evaluate the training in a folder; say and keep what came out, in the folder unless `save` is elsewhere."""
    files = _files("evaluate", save or folder, "evaluation", picture, "reconstructions.png")
    _end(_measured("evaluate", folder, given), files)


def run_compare(folders: tuple[Path, ...], given: dict[str, Any], save: Path | None, picture: Path | None) -> None:
    """Compare the trainings in folders; say and keep what came out."""
    files = _files("compare", save or Path(), "compare", picture, "compare.png")
    _end(_measured("compare", folders, given), files)


def _measured(name: str, folders: Path | tuple[Path, ...], given: dict[str, Any]) -> Evaluation | Comparison:
    """What comes out, or the sentence that a package is missing."""
    try:
        return getattr(torch_module("evaluation"), name)(folders, **given)
    except ImportError as error:
        raise ValueError(str(error)) from None


def _files(owner: str, save: Path, stem: str, picture: Path | None, drawn: str) -> list[Path]:
    """Where tables and picture go; refused before the work and not after it."""
    is_table = save.suffix.lower() in _TABLES and not save.is_dir()
    if save.is_file() and not is_table:
        raise check.fail(owner, "save", "a folder, or a .md, .csv or .parquet file", str(save))
    folder = save.parent if is_table else save
    return [*([save] if is_table else [folder / f"{stem}.md", folder / f"{stem}.parquet"]), picture or folder / drawn]


def _end(found: Evaluation | Comparison, files: list[Path]) -> None:
    say(found)
    for path in files:
        torch_module("evaluation").keep(path, found)
    *tables, picture = files
    say(f"Tables: {', '.join(map(str, tables))}\nPicture: {picture}")
