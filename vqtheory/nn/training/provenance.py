"""The images of a training: found again from any folder, and refused where they are others than before."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from tqdm import tqdm

from vqtheory._base.files import DATA_VARIABLE
from vqtheory._base.folder import check_provenance, provenance
from vqtheory.nn.training.data import IN_MEMORY, Images, load
from vqtheory.nn.training.streamed import Pictures, Streamed, batches

_AT_ONCE = 2**20  # bytes of images, of which there may be more than memory has


@dataclass(frozen=True)
class Provenance:
    """Where the images of a training were, how many are trained on, and the SHA-256 of the pixels of both parts; and of the
    files that its rule reads, by their names."""

    path: str | None
    train_images: int
    train: str
    test: str
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, images: Images, path: str | None, files: Iterable[str] = (), progress: bool = False) -> Self:
        """Of images that were read from a path; without one they are windows of a photograph."""
        place = None if path is None else str(Path(path).expanduser().resolve())
        digests = {name: file["sha256"] for name, file in provenance(files).items()}
        train, test = (_digest(side, progress) for side in (images.train, images.test))
        return cls(place, len(images.train), train, test, digests)

    @classmethod
    def read(cls, values: dict[str, Any]) -> Self:
        """What `asdict` has made of one."""
        path, count = values["path"], values["train_images"]
        if not isinstance(path, str | None) or not isinstance(count, int) or count < 1:
            raise ValueError("its images are not described.")
        files = {str(name): str(digest) for name, digest in values.get("files", {}).items()}
        return cls(path, count, str(values["train"]), str(values["test"]), files)

    def check(self, images: Images, known: Self | None) -> None:
        """Refuse images, whose provenance this is, where others are known."""
        if known is None:
            return
        if self.train_images != known.train_images:
            raise ValueError(
                f"The run was on {known.train_images:,} images. There are {images} now; its own are to be named with data."
            )
        if (self.train, self.test) != (known.train, known.test):
            raise ValueError(
                f"The images of {images.source} are not the ones that the run was on so far: the SHA-256 of their pixels is "
                "another."
            )

    def check_files(self, names: Iterable[str]) -> None:
        """Refuse files of these names that are others than the ones known."""
        check_provenance({name: {"sha256": digest} for name, digest in self.files.items()}, names)

    def as_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return asdict(self)


def read_images(
    data: str | None,
    size: int,
    known: Provenance | None,
    folder: Path | None = None,
    progress: bool = False,
    files: Iterable[str] = (),
    in_memory: int = IN_MEMORY,
) -> tuple[Images, Provenance]:
    """The images by the name that a configuration has for them, where they are now, and what is known of them.

    Raises `ValueError` where they are not those that are known.
    """
    path = _place(data or os.environ.get(DATA_VARIABLE) or None, known, folder)
    images = load(path, size, progress=progress, in_memory=in_memory)
    current = Provenance.of(images, path, files, progress)
    current.check(images, known)
    return images, current


def _place(data: str | None, known: Provenance | None, folder: Path | None) -> str | None:
    """An absolute path as it is given; of a relative one where it was, as it is called here, or beside the folder."""
    was = None if known is None else known.path
    beside = None if data is None or folder is None else str(folder / data)
    called = [was, data] if data is None or not Path(data).expanduser().is_absolute() else [data, was]
    places = [place for place in (*called, beside) if place is not None]
    return next((place for place in places if Path(place).expanduser().exists()), data or was)


def _digest(images: Pictures, progress: bool) -> str:
    digest = hashlib.sha256(repr(images.shape).encode())
    count = math.ceil(math.prod(images.shape) / _AT_ONCE)
    rows = np.array_split(np.arange(len(images)), max(1, count))
    shown = progress and isinstance(images, Streamed)
    for batch in tqdm(batches(images, rows), "Checking images", len(rows), leave=False, disable=not shown):
        digest.update(batch.tobytes())
    return digest.hexdigest()
