"""Images that memory is not to hold: each is decoded when it is needed, for updates by the workers of a DataLoader.

The bits are the ones of the same images in memory, and so is their order, which the rows that are asked for say."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from torch import Generator
from torch.utils.data import DataLoader, Dataset

from vqtheory._base.files import pixels
from vqtheory.nn.ops.processes import cores
from vqtheory.nn.training.sources import Encoded, Part

_MOST_WORKERS = 8


class Streamed:
    """Images uint8 [N, size, size, 3] in files. Rows of it are one too; `np.asarray` decodes them."""

    def __init__(self, parts: list[Part], firsts: np.ndarray, encoded: np.ndarray, size: int) -> None:
        self.parts, self.firsts, self.encoded, self.size = parts, firsts, encoded, size

    @classmethod
    def of(cls, parts: list[Part], places: np.ndarray, size: int) -> Streamed:
        """The i-th image of the parts, which are read in any order, in the row places[i]."""
        ends = np.cumsum([part.size for part in parts])
        return cls(parts, ends - [part.size for part in parts], np.argsort(places), size)

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array has it."""
        return (len(self), self.size, self.size, 3)

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, rows: slice | np.ndarray) -> Streamed:
        return Streamed(self.parts, self.firsts, self.encoded[rows], self.size)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        images = np.empty(self.shape, np.uint8)
        for row, number in enumerate(self.encoded):
            part = int(np.searchsorted(self.firsts, number, side="right")) - 1
            images[row] = fitted(self.parts[part].read()[number - self.firsts[part]], self.size)  # type: ignore[index]
        return images if dtype is None else images.astype(dtype)


Pictures = np.ndarray | Streamed


def batches(images: Pictures, rows: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The images of these rows, a batch after the other; streamed ones are decoded ahead, two batches for each worker."""
    if not isinstance(images, Streamed):
        yield from (images[chosen] for chosen in rows)
        return
    loader: Iterable[Any] = DataLoader(
        _Batches(images),
        batch_size=None,
        sampler=rows,
        num_workers=_workers(),
        collate_fn=_unchanged,
        generator=Generator(),  # without which each epoch would draw from the program's own
    )
    for batch in loader:
        if isinstance(batch, Exception):
            raise batch
        yield batch


class _Batches(Dataset):
    """Batches by their rows, or the error that there was: one raised in a worker would lose its sentence in a traceback."""

    def __init__(self, images: Streamed) -> None:
        self.images = images

    def __getitem__(self, rows: np.ndarray) -> np.ndarray | Exception:
        try:
            return np.asarray(self.images[rows])
        except (ValueError, OSError) as error:
            return error


def _unchanged(batch: Any) -> Any:
    """Arrays go through a pipe; tensors would need room in the shared memory, of which containers have little."""
    return batch


def _workers() -> int:
    """A core each, of the cores that the processes of this host share."""
    neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return min(_MOST_WORKERS, max(1, cores() // neighbours))


def fitted(image: Encoded, size: int) -> np.ndarray:
    """The central square of an image in colour, scaled to size x size."""
    from PIL import Image

    name, data = image
    decoded = pixels(data, name, "RGB")
    height, width = decoded.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = decoded[top : top + side, left : left + side]
    return square if side == size else np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS))
