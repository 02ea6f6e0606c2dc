"""Latents that a program of the user's makes, batch by batch, of any number of rows each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vqtheory._base import check
from vqtheory._base.shards import load_rows
from vqtheory.protocols import Batches, Ended


class Batched:
    """A stream of latents from an iterable of batches.

    The rows of the batches follow each other, and are cut anew into batches of the run's `batch_size`; update t has rows
    t * batch_size .. (t + 1) * batch_size - 1. Rows left over at the end are not used. What the latents are is the program's
    affair: they do not depend on the seed of a run, nor are there fresh ones to measure it on (`residual`, `lag` and `dead`
    of its history stay null). In memory are the rows of one call of `draw`, and those of the last batch.

    A run goes forward only. The first codes are rows of the first batch, or of as many batches as there have to be for so
    many codes. A second run, and `resume`, which needs ``stream=Batched(...)`` again, begin the iterable anew and skip what
    is done: a list, a DataLoader or any other object that can be iterated over again, whose bits are the same if it gives
    the same batches again. A generator can be read once, and a second time is refused.

    Parameters
    ----------
    iterable : iterable
        Of batches: arrays [rows, D] of any number of rows, 0 too; or paths of .npy, .npz, .parquet or .csv files, each of
        which is a batch. Columns are numbers.
    dim : int
        D, the dimension of the latents.

    Raises
    ------
    ValueError
        For what is no iterable, for batches of another dimension or with values that are not finite, with the number of the
        batch; where a run asks for latents that have gone by, and for rules that need to know how far each latent has moved
        (`Recorded` knows). An iterable that ends before the run does ends the run there, with a warning.

    Examples
    --------
    >>> days = [np.zeros((3, 1)), np.ones((5, 1)), np.full((2, 1), 2.0)]
    >>> stream = Batched(days, dim=1)
    >>> stream.draw(start=0, steps=2, batch_size=4, seed=0).x[:, :, 0].tolist()
    [[0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]]
    """

    def __init__(self, iterable: Iterable[Any], dim: int) -> None:
        if isinstance(iterable, (str, bytes, Mapping)) or not isinstance(iterable, Iterable) or isinstance(iterable, type):
            raise check.fail("Batched", "iterable", "an iterable of arrays [rows, dim], such as a list of them", iterable)
        self.iterable, self.dim = iterable, check.integer("Batched", "dim", dim)
        self._begin()

    def __reduce__(self) -> tuple:
        """What a pickle holds: the iterable, from its beginning."""
        return Batched, (self.iterable, self.dim)

    def __repr__(self) -> str:
        return f"Batched(dim={self.dim})"

    def _begin(self) -> None:
        self._batches: Iterator[Any] | None = None
        self._count = 0  # batches read
        self._read = 0  # latents read
        self._ends: list[int] = []  # latents read after each batch, as long as the first latent is held
        self._first, self._held = 0, np.empty((0, self.dim))  # latents first .. read - 1

    def draw(
        self, start: int, steps: int, batch_size: int, seed: int, dtype: Any = np.float64, displacement: bool = False
    ) -> Batches:
        """Latents of steps ``start .. start + steps - 1``; raises `Ended` where the iterable has fewer."""
        start = check.integer("draw", "start", start, 0)
        steps, batch_size = check.integer("draw", "steps", steps), check.integer("draw", "batch_size", batch_size)
        dtype = check.floating("draw", "dtype", dtype)
        if check.flag("draw", "displacement", displacement):
            raise ValueError(
                "Batched does not know how far each latent has moved since the update before, which this rule needs. "
                "Recorded does, of the same samples at successive times."
            )
        self._hold(start * batch_size, (start + steps) * batch_size)
        if len(self._held) < steps * batch_size:
            raise Ended(
                f"The iterable of Batched has ended after {self._count:,} batches of {self._read:,} latents.",
                len(self._held) // batch_size,
            )
        return Batches(self._held[: steps * batch_size].reshape(steps, batch_size, self.dim).astype(dtype))

    def first(self, size: int) -> np.ndarray:
        """The rows of the first batch, and of as many more as there have to be for `size` rows."""
        self._hold(0, size)
        if not self._read:
            raise ValueError("The 'iterable' parameter of Batched must have latents to begin with. It has none.")
        return self._held[: next((end for end in self._ends if end >= size), None)]

    def _hold(self, first: int, last: int) -> None:
        """Hold latents first .. last - 1, as far as there are any, and let go of those before."""
        if first < self._first:
            self._go_back()
        pieces = [self._held[first - self._first :]]
        while self._read < last and (batch := self._next()) is not None:
            pieces.append(batch[max(first - self._read, 0) :])
            self._read += len(batch)
            if first == 0:
                self._ends.append(self._read)
        self._first, self._held = first, np.concatenate(pieces)

    def _go_back(self) -> None:
        if iter(self.iterable) is self.iterable:
            raise ValueError(
                "The 'iterable' parameter of Batched must be one that can be iterated over again, such as a list, where "
                f"latents are asked for again, as by a second run. Got {check.short(self.iterable)}, which can be read once."
            )
        self._begin()

    def _next(self) -> np.ndarray | None:
        """The next batch, float64 [rows, D]."""
        self._batches = iter(self.iterable) if self._batches is None else self._batches
        for item in self._batches:
            self._count += 1
            return self._checked(load_rows(str(item)) if isinstance(item, (str, Path)) else item)
        return None

    def _checked(self, item: Any) -> np.ndarray:
        name, requirement = f"iterable[{self._count - 1}]", f"an array [rows, {self.dim}] of numbers"
        batch = check.array("Batched", name, item, requirement)
        if batch.ndim != 2 or batch.shape[1] != self.dim:
            raise ValueError(f"The {name!r} parameter of Batched must be {requirement}. Got shape {batch.shape}.")
        return check.finite("Batched", name, batch).astype(np.float64)
