"""Numbers in files that memory need not hold: .npy files are mapped, .parquet files are read by slices of their rows.

A shard is one file of several that hold one array together. The shards of a folder follow each other by name, listed shards
as they are listed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from vqtheory._base.files import load_array, num_rows, parquet_schema

KINDS = (".npy", ".parquet")
_BLOCK, _AHEAD = 2**19, 4  # numbers of a block that is measured, 4 MiB in float64, and blocks that are read at once
_NEAR = 4  # frames at hand


def is_listed(data: Any) -> bool:
    """Whether it is a list of paths."""
    return isinstance(data, (list, tuple)) and len(data) > 0 and all(isinstance(item, (str, Path)) for item in data)


def shards_of(data: str | Sequence[str]) -> tuple[str, ...]:
    """The files that a path, a folder or a list of paths stands for, in their order."""
    if not isinstance(data, str):
        return tuple(data)
    if not Path(data).is_dir():
        return (data,)
    paths = sorted(str(path) for path in Path(data).iterdir() if path.suffix.lower() in KINDS)
    if not paths:
        raise FileNotFoundError(f"There is no .npy or .parquet file in the folder {data!r}.")
    return tuple(paths)


def is_numeric(path: str) -> bool:
    """Whether a parquet file has numeric columns alone, or one column of lists."""
    import polars as pl

    kinds = list(parquet_schema(path).values())
    nested = len(kinds) == 1 and isinstance(kinds[0], (pl.List, pl.Array))
    return bool(kinds) and (nested or all(kind.is_numeric() for kind in kinds))


def load_rows(path: str) -> np.ndarray:
    """The numbers of a .npy, .npz, .parquet or .csv file."""
    import polars as pl

    if path.lower().endswith(".parquet"):
        return Table(path)[:]
    if not path.lower().endswith(".csv"):
        return load_array(path)
    _stamp(path)
    try:
        table = pl.read_csv(path, glob=False)
    except (Exception, pl.exceptions.PanicException) as error:  # polars panics at some damage
        raise ValueError(f"Cannot read {path!r} as a table: {error}") from None
    if not all(kind.is_numeric() for kind in table.dtypes):
        raise ValueError(
            f"Cannot read {path!r} as latents: it must have numeric columns. Its columns are {dict(table.schema)}."
        )
    return table.to_numpy()


class Table:
    """The numbers of a parquet file as an array [rows, columns] that stays on disk until a slice is asked for.

    They are in numeric columns, or in one column of lists or arrays that have one length.
    """

    def __init__(self, path: str) -> None:
        import polars as pl

        self.path = path
        schema, length = parquet_schema(path), num_rows(path)
        self._nested = isinstance(next(iter(schema.values()), None), (pl.List, pl.Array))
        if not length or not is_numeric(path):
            raise ValueError(
                f"Cannot read {path!r} as latents: it must have numeric columns, or one column of lists of numbers, and at "
                f"least one row. It has {length} rows, and its columns are {schema}."
            )
        first = self._read(0, 1)
        self.shape, self.dtype = (length, first.shape[1]), first.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(len(self))
        values = self._read(start, stop)
        if values.shape != (stop - start, self.shape[1]):
            raise ValueError(
                f"Cannot read rows {start} to {stop - 1} of {self.path!r}: their shape is {values.shape}, and "
                f"{(stop - start, self.shape[1])} was expected."
            )
        return values

    def _read(self, start: int, stop: int) -> np.ndarray:
        import polars as pl

        try:
            rows = pl.scan_parquet(self.path, glob=False).slice(start, stop - start).collect(engine="streaming")
            return np.stack(rows.to_series().to_list()).astype(np.float64) if self._nested else rows.to_numpy()
        except (Exception, pl.exceptions.PanicException) as error:  # polars panics at some damage
            raise ValueError(f"Cannot read {self.path!r} as a parquet file of numbers: {error}") from None


class Shard:
    """A file whose numbers are read as it was when it was opened, and not if it has changed since."""

    def __init__(self, path: str) -> None:
        self.path, self._stamp = path, _stamp(path)
        self._array: Any = Table(path) if path.lower().endswith(".parquet") else load_array(path, mapped=True)
        self.shape, self.dtype = self._array.shape, self._array.dtype

    @property
    def ndim(self) -> int:
        """Of the array that it holds."""
        return len(self.shape)

    def read(self, rows: slice | int) -> np.ndarray:
        """These rows; a mapped file's are still on disk."""
        self.check()
        return self._array[rows]

    def check(self) -> None:
        """Refuse a file that has changed: a shorter one would end the process where it is mapped."""
        if _stamp(self.path) != self._stamp:
            raise ValueError(
                f"The file {self.path!r} has changed since it was opened: its size or its time of change is another. "
                "Make the stream again once nothing writes to it."
            )


def _stamp(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file {path!r}.") from None
    return status.st_size, status.st_mtime_ns


def _agree(shards: Sequence[Shard], rank: str, whole: bool = False) -> None:
    """Refuses shards that do not belong together, with the first that differs."""
    first = 0 if whole else 1
    for shard in shards:
        if shard.ndim != shards[0].ndim or shard.shape[first:] != shards[0].shape[first:]:
            raise ValueError(
                f"All shards must hold {rank} of one shape. Got shape {shards[0].shape} in {shards[0].path!r} and "
                f"{shard.shape} in {shard.path!r}."
            )


class Rows:
    """The rows [N, D] of shards, or of an array, one after the other.

    `unit` is the number that stands for 1 in them.
    """

    def __init__(self, parts: Sequence[Shard], owner: str = "Latents", unit: float = 1.0) -> None:
        for part in parts:
            if len(part.shape) != 2 or 0 in part.shape or part.dtype.kind not in "fiub":
                raise ValueError(
                    f"The 'data' parameter of {owner} must hold arrays [rows, columns] of numbers with at least one row and "
                    f"column. Got shape {part.shape} and dtype {part.dtype} in {part.path!r}."
                )
        _agree(parts, "rows")
        self.owner, self.parts, self.unit = owner, parts, unit
        self.starts = np.cumsum([0, *(part.shape[0] for part in parts)])
        self.dim = int(parts[0].shape[1])
        single = unit == 1 and all(part.dtype == np.float32 for part in parts)
        self.dtype = np.dtype(np.float32 if single else np.float64)

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def nbytes(self) -> int:
        """Bytes that all rows would take in memory."""
        return len(self) * self.dim * self.dtype.itemsize

    def read(self, start: int, stop: int) -> np.ndarray:
        """Rows start .. stop - 1, [stop - start, D], in memory; `ValueError` names the first that is not finite."""
        values = np.empty((stop - start, self.dim), self.dtype)
        for part, first in zip(self.parts, self.starts.tolist(), strict=False):
            low, high = max(start - first, 0), min(stop - first, part.shape[0])
            if low < high:
                piece = values[first + low - start : first + high - start]
                piece[:] = part.read(slice(low, high))
                part.check()
                self._check_finite(piece, part, low)
        return values if self.unit == 1 else np.divide(values, self.unit, out=values)

    def _check_finite(self, piece: np.ndarray, part: Shard, low: int) -> None:
        good = np.isfinite(piece)
        if not good.all():
            row, column = np.argwhere(~good)[0].tolist()
            raise ValueError(
                f"The 'data' parameter of {self.owner} must be finite. Got {piece[row, column]} at index "
                f"({low + row}, {column}) of {part.path!r}."
            )

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in their order, a few MiB at a time; where they are cut depends on D alone."""
        length = max(1, _BLOCK // self.dim)
        for start in range(0, len(self), _AHEAD * length):
            values = self.read(start, min(start + _AHEAD * length, len(self)))
            yield from (values[first : first + length] for first in range(0, len(values), length))

    def mean(self) -> np.ndarray:
        """The mean [D]."""
        return sum(block.sum(axis=0, dtype=np.float64) for block in self.blocks()) / len(self)


class Held(Shard):
    """An array in memory in the place of a shard."""

    def __init__(self, array: np.ndarray) -> None:
        self.path, self._array = "an array", array
        self.shape, self.dtype = array.shape, array.dtype

    def check(self) -> None:
        """Nothing to check."""


class Frames:
    """Frames [time, N, D] of shards: of arrays [time, N, D], or of one frame [N, D] each.

    A frame of a .npy file is mapped, and of .parquet files the last few frames are held in memory.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths, self._parts = list(paths), [Shard(path) for path in paths]
        self._single = self._parts[0].ndim == 2 and (len(paths) > 1 or paths[0].lower().endswith(".parquet"))
        _agree(self._parts, "frames", whole=self._single)
        lengths = [1 if self._single or part.ndim == 0 else part.shape[0] for part in self._parts]
        self._starts = np.cumsum([0, *lengths])
        self.shape = (sum(lengths), *self._parts[0].shape[0 if self._single else 1 :])
        self.dtype = np.result_type(*(part.dtype for part in self._parts))
        self._held = lru_cache(maxsize=_NEAR)(self._read)

    def __reduce__(self) -> tuple:
        """What a pickle holds: the files are opened again."""
        return Frames, (self.paths,)

    @property
    def ndim(self) -> int:
        """3, or another where the shards hold no frames."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(np.prod(self.shape))

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[time] for time in range(len(self)))

    def __getitem__(self, time: int) -> np.ndarray:
        time = range(len(self))[time]
        part = int(np.searchsorted(self._starts, time, side="right")) - 1
        self._parts[part].check()
        return self._held(part, time - int(self._starts[part]))

    def _read(self, part: int, time: int) -> np.ndarray:
        return self._parts[part].read(slice(None) if self._single else time)
