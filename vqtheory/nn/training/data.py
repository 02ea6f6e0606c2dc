"""Images to train on: a folder of them, a zip, parquet files. All are decoded at the start, and a damaged one is named."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from vqtheory._base import check
from vqtheory._base.files import DATA_VARIABLE, image_bytes, load_images, num_rows, pixels, reserve
from vqtheory._base.randomness import Purpose, generator
from vqtheory.streams.photographs import grace_hopper

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
_IN_MEMORY = 2**31  # bytes; more than this is mapped from a file that ends with the process
_MOST_BYTES = 2**28  # of one image file in a zip: larger ones are no photographs, and may be made to fill the memory
_SIDES = {
    "train": re.compile(r"train(ing)?(set|[ab])?"),
    "test": re.compile(r"test(ing)?(set|[ab])?"),
    "val": re.compile(r"(val(id(ation)?)?|dev|eval(uation)?)(set|[ab])?"),
}


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
    read: Callable[[], Iterable[tuple[str, bytes | None]]]


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
    path = path.expanduser()
    if path.suffix.lower() == ".zip" and path.is_file():
        return _members(path)
    if not path.exists():
        raise FileNotFoundError(f"There is no file or folder {str(path)!r}.")
    top = path if path.is_dir() else path.parent
    files = _below(path) if path.is_dir() else [path.name]
    tables, images = (_of_kind(files, kind) for kind in ((".parquet",), SUFFIXES))
    if tables and images and not all(map(_has_images, (top / name for name in tables))):
        tables = []  # a table about the images beside it
    found = [_table(top, name) for name in tables] or [_file(top, name) for name in images]
    if found:
        return found
    raise ValueError(f"There are no images in {str(path)!r}: neither .parquet files nor {', '.join(SUFFIXES)}.")


def _below(top: Path) -> list[str]:
    """The files under a folder, those behind links included; a link that leads back up is not followed again."""
    files, seen = [], set()
    for folder, subfolders, names in os.walk(top, followlinks=True):
        seen.add(os.path.realpath(folder))
        subfolders[:] = sorted(name for name in subfolders if os.path.realpath(Path(folder) / name) not in seen)
        files += [(Path(folder) / name).relative_to(top).as_posix() for name in names if (Path(folder) / name).is_file()]
    return files


def _has_images(table: Path) -> bool:
    import polars as pl

    try:
        return "image" in pl.scan_parquet(table, glob=False).collect_schema()
    except (Exception, pl.exceptions.PanicException):  # a damaged one is named when it is read
        return True


def _of_kind(names: list[str], suffixes: tuple[str, ...]) -> list[str]:
    """The names that end so, sorted, without what is hidden or what a Mac puts into a zip."""
    shown = [name for name in names if not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)]
    return sorted(name for name in shown if name.lower().endswith(suffixes))


def _file(top: Path, name: str) -> _Part:
    return _Part(name, 1, lambda: [(f"{str(top / name)!r} as an image", (top / name).read_bytes())])


def _table(top: Path, name: str) -> _Part:
    path = str(top / name)

    def read() -> Iterator[tuple[str, bytes | None]]:
        return ((f"the image in row {row} of {path!r}", data) for row, data in enumerate(image_bytes(path)))

    return _Part(name, num_rows(path), read)


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
    size = archive.getinfo(name).file_size
    if size > _MOST_BYTES:
        raise ValueError(f"Cannot read {label}: it unpacks to {size:,} bytes, and at most {_MOST_BYTES:,} are read.")
    try:
        return [(label, archive.read(name))]
    except Exception as error:  # a damaged member can fail in the checksum or anywhere in the decompressor
        raise ValueError(f"Cannot read {label}: {error}") from None


def _own_sides(parts: list[_Part]) -> tuple[list[_Part], list[_Part]]:
    """The data set's own train and test parts; validation stands in for a test that is not there.

    What has no side of its own is trained on beside a test, and not used beside both.
    """
    sides: dict[str | None, list[_Part]] = {"train": [], "test": [], "val": [], None: []}
    for part in parts:
        sides[_side(part.name)].append(part)
    test = sides["test"] or sides["val"]
    return sides["train"] or (sides[None] if test else []), test


def _side(name: str) -> str | None:
    """The side that a word of a path says, that of the outermost folder first: train, test_0, images-val, trainA."""
    for component in PurePosixPath(name).parts:
        words = re.split(r"[^a-z]+", component.lower())
        for side, pattern in _SIDES.items():
            if any(map(pattern.fullmatch, words)):
                return side
    return None


def _decoded(parts: list[_Part], places: np.ndarray, size: int, progress: bool) -> np.ndarray:
    """All images, the i-th in the row places[i]."""
    shape = (len(places), size, size, 3)
    images = np.empty(shape, np.uint8) if np.prod(shape) <= _IN_MEMORY else _mapped(shape)
    encoded = (item for part in parts for item in part.read())
    bar = tqdm(encoded, "Reading images", total=len(places), leave=False, disable=not progress)
    for place, (name, data) in zip(places, bar, strict=True):
        images[place] = _fitted(pixels(data, name, "RGB"), size)
    images.setflags(write=False)
    return images


def _mapped(shape: tuple[int, ...]) -> np.ndarray:
    with TemporaryFile() as file:
        reserve(file, int(np.prod(shape)))
        return np.memmap(file, np.uint8, "w+", shape=shape)


def _fitted(image: np.ndarray, size: int) -> np.ndarray:
    """The central square, scaled to size x size."""
    from PIL import Image

    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
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
