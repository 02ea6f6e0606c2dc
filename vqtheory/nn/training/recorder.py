"""The latents and codes of a window of updates, in files that hold every one of them and stay on disk."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from torch import Tensor, distributed

LATENTS, CODES = "latents.npy", "codes.npy"


class Recorder:
    """Writes latents.npy [time, N, D] and codes.npy [time, K, D]: what each update saw before it moved anything.

    Both are named NAME.new until the window is over. All processes write to them, each its own share of the rows.
    """

    def __init__(self, folder: Path | None, window: tuple[int, int] | None, rank: int, world: int) -> None:
        self.start, self.stop = window or (0, 0)
        self.folder, self.rank, self.world = folder or Path(), rank, world
        self.files: list[np.memmap] = []
        if (self.folder / LATENTS).exists():  # of a run that was killed after its window, and left the same bits
            self.start = self.stop

    def covers(self, step: int) -> bool:
        """Whether the update after `step` updates is to be recorded."""
        return self.start <= step < self.stop

    def __call__(self, step: int, codes: Tensor, latents: Tensor) -> None:
        """Record an update: the codes [K, D] before it, and the process's own share of the latents, [n, D]."""
        rows, book = latents.detach().cpu().numpy(), codes.cpu().numpy()
        if not self.files:
            self._open((self.world * len(rows), rows.shape[1]), book.shape, rows.dtype)
        self.files[0][step - self.start, self.rank * len(rows) : (self.rank + 1) * len(rows)] = rows
        if self.rank == 0:
            self.files[1][step - self.start] = book
        if step + 1 == self.stop:
            self._close()

    def flush(self) -> None:
        """Put on disk what has been recorded, before a checkpoint that counts on it."""
        for file in self.files:
            file.flush()

    def _open(self, frame: tuple[int, ...], book: tuple[int, ...], dtype: np.dtype) -> None:
        """The first process makes the files, unless a run that was killed has left them."""
        if self.rank == 0:
            for name, shape in ((LATENTS, frame), (CODES, book)):
                _make(self.folder / name, (self.stop - self.start, *shape), dtype)
        self._wait()
        self.files = [np.lib.format.open_memmap(self.folder / f"{name}.new", "r+") for name in (LATENTS, CODES)]

    def _close(self) -> None:
        self.flush()
        self.files = []
        self._wait()
        if self.rank == 0:
            for name in (CODES, LATENTS):
                os.replace(self.folder / f"{name}.new", self.folder / name)

    def _wait(self) -> None:
        if self.world > 1:
            distributed.barrier()


def _make(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    beside = path.with_name(f"{path.name}.new")
    if path.exists():  # the kill came between the two renamings
        os.replace(path, beside)
    if not beside.exists():
        np.lib.format.open_memmap(beside, "w+", dtype, shape).flush()
