"""Where encoded images are: files of a folder, members of a zip, rows of parquet files, and rows beside memory."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from tempfile import mkstemp
from typing import NamedTuple
from weakref import finalize

import numpy as np
from tqdm import tqdm

from vqtheory._base.files import image_bytes, num_rows

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
_MOST_BYTES = 2**28  # of one image file in a zip: larger ones are no photographs, and may be made to fill the memory

Encoded = tuple[str, bytes | None]  # an image's name for messages, and its file


class Part(NamedTuple):
    """A file of the data set, and how to read the images in it; of a `table`, a parquet file, only one after the other."""

    name: str
    size: int
    read: Callable[[], Iterable[Encoded]]
    table: str | None = None


def parts_of(path: Path) -> list[Part]:
    """The images under a path, see `vqtheory.nn.training.data.load`."""
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
    if tables:
        return [_table(top, name) for name in tables]
    if images:
        return [_file(top, name) for name in images]
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


def _file(top: Path, name: str) -> Part:
    return Part(name, 1, partial(_content, top / name))


def _content(path: Path) -> list[Encoded]:
    return [(f"{str(path)!r} as an image", path.read_bytes())]


def _table(top: Path, name: str) -> Part:
    path = str(top / name)
    return Part(name, num_rows(path), partial(_rows, path), table=path)


def _rows(path: str) -> Iterator[Encoded]:
    return ((_row(path, number), data) for number, data in enumerate(image_bytes(path)))


def _row(path: str, number: int) -> str:
    return f"the image in row {number} of {path!r}"


def _members(path: Path) -> list[Part]:
    names = _of_kind(_archive(str(path)).namelist(), SUFFIXES)
    if not names:
        raise ValueError(f"There are no images in {str(path)!r}: no {', '.join(SUFFIXES)}.")
    return [Part(name, 1, partial(_member, str(path), name)) for name in names]


def _archive(path: str) -> zipfile.ZipFile:
    return _opened(path, os.stat(path).st_mtime_ns, os.getpid())


@lru_cache(maxsize=4)
def _opened(path: str, changed: int, process: int) -> zipfile.ZipFile:
    """Each process opens an archive for itself: those that share a file share the place in it."""
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"Cannot read {path!r} as a zip: {error}.") from None


def _member(path: str, name: str) -> list[Encoded]:
    label, archive = f"{name!r} in {path!r}", _archive(path)
    size = archive.getinfo(name).file_size
    if size > _MOST_BYTES:
        raise ValueError(f"Cannot read {label}: it unpacks to {size:,} bytes, and at most {_MOST_BYTES:,} are read.")
    try:
        return [(label, archive.read(name))]
    except Exception as error:  # a damaged member can fail in the checksum or anywhere in the decompressor
        raise ValueError(f"Cannot read {label}: {error}") from None


def in_any_order(part: Part, progress: bool = False) -> Part:
    """The same images, of which `read` gives a sequence."""
    return part if part.table is None else part._replace(read=_Copy(part.table, progress).images)


class _Copy(Sequence[Encoded]):
    """The images of a parquet file as they are encoded, one behind the other in a temporary file, until this is deleted."""

    def __init__(self, table: str, progress: bool = False) -> None:
        handle, self.path = mkstemp(prefix="vqtheory-images-")
        finalize(self, _delete, self.path, os.getpid())
        self.table = table
        sizes = [0]
        try:
            with open(handle, "wb") as file:
                for data in tqdm(image_bytes(table), "Copying images", leave=False, disable=not progress):
                    sizes.append(file.write(data or b""))
        except OSError as error:
            error.filename = error.filename or self.path
            raise
        self.ends = np.cumsum(sizes)

    def images(self) -> _Copy:
        """All of them."""
        return self

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, row: int) -> Encoded:  # type: ignore[override]
        start, end = self.ends[row], self.ends[row + 1]
        with open(self.path, "rb") as file:
            file.seek(start)
            return _row(self.table, row), file.read(end - start) or None


def _delete(path: str, process: int) -> None:
    if os.getpid() == process:  # and not in a process that was forked from it
        Path(path).unlink(missing_ok=True)
