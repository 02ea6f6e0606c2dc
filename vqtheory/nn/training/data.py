"""Images to train on: a folder of them, a zip, parquet files. A damaged one is named."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from vqtheory._base import check
from vqtheory._base.files import DATA_VARIABLE, load_images
from vqtheory._base.randomness import Purpose, generator
from vqtheory.nn.training.sources import Part, in_any_order, parts_of
from vqtheory.nn.training.streamed import Streamed, fitted
from vqtheory.streams.photographs import grace_hopper

IN_MEMORY = 2**31  # bytes of decoded images
_SIDES = {
    "train": re.compile(r"train(ing)?(set|[ab])?"),
    "test": re.compile(r"test(ing)?(set|[ab])?"),
    "val": re.compile(r"(val(id(ation)?)?|dev|eval(uation)?)(set|[ab])?"),
}


class Images(NamedTuple):
    """Two disjoint sets of images, uint8 [N, size, size, 3]: arrays, or `Streamed` where memory is not to hold them."""

    train: np.ndarray | Streamed
    test: np.ndarray | Streamed
    source: str

    def __str__(self) -> str:
        return f"{len(self.train):,} train and {len(self.test):,} test images of {self.source}"


def load(
    path: str | Path | None = None,
    size: int = 64,
    seed: int = 0,
    test_share: float = 0.1,
    progress: bool = False,
    in_memory: int = IN_MEMORY,
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
    in_memory : int, default 2**31
        Images of more bytes than that, decoded, are not held in memory: each is decoded when it is needed, see
        `vqtheory.nn.training.streamed`. Of parquet files, whose rows cannot be read one by one, a copy is then made among
        the temporary files, for as long as the images are in use.

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
    most = check.integer("load", "in_memory", in_memory, 0)
    path = path or os.environ.get(DATA_VARIABLE)
    if not path:
        return _windows(size)
    parts = parts_of(Path(path))
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
    if len(places) * size * size * 3 > most:
        images: np.ndarray | Streamed = Streamed.of([in_any_order(part, progress) for part in parts], places, size)
    else:
        images = _decoded(parts, places, size, progress)
    return Images(images[:-held_out], images[-held_out:], str(path))


def _own_sides(parts: list[Part]) -> tuple[list[Part], list[Part]]:
    """The data set's own train and test parts; validation stands in for a test that is not there.

    What has no side of its own is trained on beside a test, and not used beside both.
    """
    sides: dict[str | None, list[Part]] = {"train": [], "test": [], "val": [], None: []}
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


def _decoded(parts: list[Part], places: np.ndarray, size: int, progress: bool) -> np.ndarray:
    """All images, the i-th in the row places[i]."""
    images = np.empty((len(places), size, size, 3), np.uint8)
    encoded = (image for part in parts for image in part.read())
    bar = tqdm(encoded, "Reading images", total=len(places), leave=False, disable=not progress)
    for place, image in zip(places, bar, strict=True):
        images[place] = fitted(image, size)
    images.setflags(write=False)
    return images


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
    stacked = [np.ascontiguousarray(np.moveaxis(windows, 2, -1).reshape(-1, size, size, 3)) for windows in (train, test)]
    return Images(stacked[0], stacked[1], "windows of one photograph")
