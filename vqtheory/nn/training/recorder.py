"""The latents and codes of a window of updates, in files that hold every one of them and stay on disk."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from vqtheory._base.files import reserve
from vqtheory._base.folder import write_beside
from vqtheory.nn.ops import processes

LATENTS, CODES, WINDOW = "latents.npy", "codes.npy", "window.json"


class Recorder:
    """Writes latents.npy [time, N, D] and codes.npy [time, K, D]: what each update saw before it moved anything.

    Both are named NAME.new until the window is over. Then window.json, with the SHA-256 of both, is written, and is the
    moment at which they count. All processes write to them, each its own share of the rows.
    """

    def __init__(self, folder: Path | None, window: tuple[int, int] | None, rank: int, world: int) -> None:
        self.start, self.stop = window or (0, 0)
        self.folder, self.rank, self.world = folder or Path(), rank, world
        self.files: list[np.memmap] = []
        if window is None:
            return
        if (self.folder / WINDOW).exists():  # of a run that was killed after its window, and left the same bits
            self.start = self.stop
            if rank == 0:
                _finish_moves(self.folder)
        elif rank == 0:
            refuse_foreign(self.folder)

    def covers(self, step: int) -> bool:
        """Whether the update after `step` updates is to be recorded."""
        return self.start <= step < self.stop

    def __call__(self, step: int, codes: Tensor, latents: Tensor) -> None:
        """Record an update: the codes [K, D] before it, and the process's own share of the latents, [n, D]."""
        rows, book = latents.detach().cpu().numpy(), codes.cpu().numpy()
        if not self.files:
            self._open(step, (self.world * len(rows), rows.shape[1]), book.shape, rows.dtype)
        self.files[0][step - self.start, self.rank * len(rows) : (self.rank + 1) * len(rows)] = rows
        if self.rank == 0:
            self.files[1][step - self.start] = book
        if step + 1 == self.stop:
            self._close()

    def flush(self) -> None:
        """Put on disk what has been recorded, before a checkpoint that counts on it."""
        for file in self.files:
            file.flush()

    def _open(self, step: int, frame: tuple[int, ...], book: tuple[int, ...], dtype: np.dtype) -> None:
        """The first process makes the files, unless a run that was killed has left them."""
        if self.rank == 0:
            for name, shape in ((LATENTS, frame), (CODES, book)):
                self._make(_beside(self.folder, name), (self.stop - self.start, *shape), dtype, step)
        processes.wait()
        self.files = [np.lib.format.open_memmap(_beside(self.folder, name), "r+") for name in (LATENTS, CODES)]

    def _make(self, path: Path, shape: tuple[int, ...], dtype: np.dtype, step: int) -> None:
        if _is_whole(path, shape, dtype):
            return
        if step > self.start:
            raise ValueError(
                f"{path} is missing or not whole: updates {self.start:,} to {step:,} of the window were in it. The training "
                "cannot go on with its window; without one, begin it again."
            )
        _allocate(path, shape, dtype)

    def _close(self) -> None:
        self.flush()
        self.files = []
        processes.wait()
        if self.rank == 0:
            digests = {name: _digest(_beside(self.folder, name)) for name in (LATENTS, CODES)}
            content = json.dumps({"window": [self.start, self.stop], "files": digests}, indent=2)
            write_beside(self.folder / WINDOW, content.encode())
            _finish_moves(self.folder)


def refuse_foreign(folder: Path) -> None:
    """Files of a window that is not this run's are neither taken for its own nor written over."""
    for name in (LATENTS, CODES, WINDOW):
        if (folder / name).exists():
            raise ValueError(f"{folder / name} is there already, and is not of this training: take another folder.")


def recorded(folder: Path, window: tuple[int, int], step: int) -> tuple[np.ndarray, np.ndarray]:
    """The latents and the codes of a window that is over; `ValueError` names a file that is missing or altered."""
    if not (folder / WINDOW).is_file():
        raise ValueError(
            f"{folder / WINDOW} is missing: the window is whole after update {window[1]:,}. Got {step:,} updates."
        )
    manifest = _manifest(folder)
    if manifest["window"] != list(window):
        raise ValueError(f"{folder / WINDOW} is of updates {manifest['window']}, and the training's are {list(window)}.")
    latents, codes = (_checked(folder, name, manifest["files"].get(name)) for name in (LATENTS, CODES))
    return _mapped(latents), _mapped(codes)


def _mapped(path: Path) -> np.ndarray:
    try:
        return np.lib.format.open_memmap(path, "r")
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(f"Cannot read {path} as a NumPy array: {error}") from None


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / WINDOW).read_bytes())
        return {"window": list(manifest["window"]), "files": dict(manifest["files"])}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError(f"{folder / WINDOW} is damaged: it is not the manifest of a window.") from None


def _checked(folder: Path, name: str, digest: str | None) -> Path:
    """The file of that digest, in its place or beside it."""
    paths = [path for path in (folder / name, _beside(folder, name)) if path.is_file()]
    for path in paths:
        if _digest(path) == digest:
            return path
    what = f"damaged or altered: its SHA-256 is not that of {WINDOW}" if paths else "missing"
    raise ValueError(f"{folder / name} is {what}.")


def _finish_moves(folder: Path) -> None:
    for name in (CODES, LATENTS):
        if _beside(folder, name).exists():
            os.replace(_beside(folder, name), folder / name)


def _allocate(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """A file of zeros that has its room on the disk; none is left where there is no room."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    try:
        with open(path, "wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            size = file.tell() + dtype.itemsize * int(np.prod(shape))
            reserve(file, size)
            file.truncate(size)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _is_whole(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether a file that a kill may have left is an array of this shape, to its end."""
    try:
        array = np.lib.format.open_memmap(path, "r")
    except (OSError, ValueError, SyntaxError):  # whatever its header has become
        return False
    return array.shape == shape and array.dtype == dtype


def _beside(folder: Path, name: str) -> Path:
    return folder / f"{name}.new"


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
