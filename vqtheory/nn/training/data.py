"""Images to train on: a folder of them, a zip, parquet files. All are decoded at the start, and a damaged one is named."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from vqtheory._base import check
from vqtheory._base.files import DATA_VARIABLE, _image_bytes, _pixels, load_images
from vqtheory._base.randomness import Purpose, generator
from vqtheory.streams.photographs import grace_hopper

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm")
_IN_MEMORY = 2**31  # bytes; more than this is mapped from a file that ends with the process
_SIDES = {"train": "train", "test": "test", "val": "val", "valid": "val", "validation": "val"}
_SIDE = re.compile(rf"(?:^|/)({'|'.join(_SIDES)})(?=[-./])")


class Images(NamedTuple):
    """Two disjoint sets of images, uint8 [N, size, size, 3]."""

    train: np.ndarray
    test: np.ndarray
    source: str

    def __str__(self) -> str:
        return f"{len(self.train):,} train and {len(self.test):,} test images of {self.source}"


class _Part(NamedTuple):
    """A file of the data set, and how to read the images in it, each with its name for messages."""

    name: str
    size: int
    read: Callable[[], list[tuple[str, bytes | None]]]


def load(
    path: str | Path | None = None, size: int = 64, seed: int = 0, test_share: float = 0.1, progress: bool = False
) -> Images:
    """The images under a path, in colour, their central square scaled to `size` pixels a side.

    A path is a folder or a .zip of image files, or a .parquet file or a folder of them with the column `image`, a struct
    of bytes and path, as data sets of the Hugging Face hub have it. The data set's own train and test (or validation)
    files, or folders, are kept apart; where it has none, `test_share` of the images, drawn by `seed`, is for the test.

    Parameters
    ----------
    path : path, optional
        By default the folder that the environment variable VQTHEORY_DATA names; without one, windows of the photograph
        of Grace Hopper that comes with matplotlib: of its left two thirds to train, of its right third to test.
    size : int, default 64
    seed : int, default 0
    test_share : float, default 0.1
    progress : bool, default False

    Raises
    ------
    ValueError
        For an image that does not decode, by its name; for a path without images.
    FileNotFoundError
        For a path that is not there.

    Examples
    --------
    >>> print(load("celeba-hq"))  # doctest: +SKIP
    27,000 train and 3,000 test images of celeba-hq
    """
    size = check.integer("load", "size", size)
    share = check.real("load", "test_share", test_share, 0, 1)
    path = path or os.environ.get(DATA_VARIABLE)
    if not path:
        return _windows(size)
    parts = _parts(Path(path))
    train, test = _own_sides(parts)
    total = sum(part.size for part in parts)
    if total < 2:
        raise ValueError(f"The images of {str(path)!r} must be at least two, one to train and one to test. Got {total}.")
    if train and test:
        parts, held_out = train + test, sum(part.size for part in test)
        places = np.arange(sum(part.size for part in parts))
    else:
        held_out = min(max(1, round(share * total)), total - 1)
        places = generator(seed, Purpose.PROBE).permutation(total)
    images = _decoded(parts, places, size, progress)
    return Images(images[:-held_out], images[-held_out:], str(path))


def _parts(path: Path) -> list[_Part]:
    if path.suffix == ".zip" and path.is_file():
        return _members(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {str(path)!r}.")
    top = path if path.is_dir() else path.parent
    files = [file.relative_to(top).as_posix() for file in (path.rglob("*") if path.is_dir() else [path])]
    for kind, part in (((".parquet",), _table), (SUFFIXES, _file)):
        found = [part(top, name) for name in _of_kind(files, kind) if (top / name).is_file()]
        if found:
            return found
    raise ValueError(f"There are no images in {str(path)!r}: neither .parquet files nor {', '.join(SUFFIXES)}.")


def _of_kind(names: list[str], suffixes: tuple[str, ...]) -> list[str]:
    """The names that end so, sorted, without what is hidden or what a Mac puts into a zip."""
    shown = [name for name in names if not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)]
    return sorted(name for name in shown if name.lower().endswith(suffixes))


def _file(top: Path, name: str) -> _Part:
    return _Part(name, 1, lambda: [(f"{str(top / name)!r} as an image", (top / name).read_bytes())])


def _table(top: Path, name: str) -> _Part:
    import polars as pl

    path = str(top / name)
    try:
        count = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    except (Exception, pl.exceptions.PanicException) as error:  # polars panics at some damage
        raise ValueError(f"Cannot read {path!r} as a parquet file: {error}") from None

    def read() -> list[tuple[str, bytes | None]]:
        return [(f"the image in row {row} of {path!r}", data) for row, data in enumerate(_image_bytes(path))]

    return _Part(name, count, read)


def _members(path: Path) -> list[_Part]:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"Cannot read {str(path)!r} as a zip: {error}.") from None
    names = _of_kind(archive.namelist(), SUFFIXES)
    if not names:
        raise ValueError(f"There are no images in {str(path)!r}: no {', '.join(SUFFIXES)}.")
    return [_Part(name, 1, partial(_member, archive, name)) for name in names]


def _member(archive: zipfile.ZipFile, name: str) -> list[tuple[str, bytes | None]]:
    label = f"{name!r} in {str(archive.filename)!r}"
    try:
        return [(label, archive.read(name))]
    except Exception as error:  # a damaged member can fail in the checksum or anywhere in the decompressor
        raise ValueError(f"Cannot read {label}: {error}") from None


def _own_sides(parts: list[_Part]) -> tuple[list[_Part], list[_Part]]:
    """The data set's own train and test parts; validation stands in for a test that is not there."""
    sides: dict[str, list[_Part]] = {"train": [], "test": [], "val": []}
    for part in parts:
        if found := _SIDE.search(part.name):
            sides[_SIDES[found[1]]].append(part)
    return sides["train"], sides["test"] or sides["val"]


def _decoded(parts: list[_Part], places: np.ndarray, size: int, progress: bool) -> np.ndarray:
    """All images, the i-th in the row places[i]."""
    shape = (len(places), size, size, 3)
    images = np.empty(shape, np.uint8) if np.prod(shape) <= _IN_MEMORY else _mapped(shape)
    encoded = (item for part in parts for item in part.read())
    bar = tqdm(encoded, "Reading images", total=len(places), leave=False, disable=not progress)
    for place, (name, data) in zip(places, bar, strict=True):
        images[place] = _fitted(_pixels(data, name, "RGB"), size)
    images.setflags(write=False)
    return images


def _mapped(shape: tuple[int, ...]) -> np.ndarray:
    with TemporaryFile() as file:
        return np.memmap(file, np.uint8, "w+", shape=shape)


def _fitted(pixels: np.ndarray, size: int) -> np.ndarray:
    """The central square, scaled to size x size."""
    from PIL import Image

    height, width = pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = pixels[top : top + side, left : left + side]
    return square if side == size else np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS))


def _windows(size: int) -> Images:
    """Windows of one photograph, an eighth of their side apart."""
    photograph = load_images(grace_hopper(), "RGB")[0]
    border = 2 * photograph.shape[1] // 3
    if size > photograph.shape[1] - border:
        raise check.fail("load", "size", f"at most {photograph.shape[1] - border} without a data set", size)
    sides = photograph[:, :border], photograph[:, border:]
    train, test = (
        np.lib.stride_tricks.sliding_window_view(side, (size, size), axis=(0, 1))[:: max(1, size // 8), :: max(1, size // 8)]
        for side in sides
    )
    stacked = [np.ascontiguousarray(np.moveaxis(found, 2, -1).reshape(-1, size, size, 3)) for found in (train, test)]
    return Images(stacked[0], stacked[1], "windows of one photograph")
