"""Recorded latents: what a real encoder said of the same samples, again and again as it was trained."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from vqtheory._base import check
from vqtheory._base.config import Configured
from vqtheory._base.files import load_array
from vqtheory._base.randomness import Purpose, generator
from vqtheory._base.shards import KINDS, Frames, is_listed, shards_of
from vqtheory.protocols import Batches
from vqtheory.streams._stream import StreamSnapshot, block_steps
from vqtheory.streams.motion import Motion
from vqtheory.streams.photographs import Latents

AnyFrames = TypeVar("AnyFrames", bound="np.ndarray | Frames")


@dataclass(frozen=True, repr=False, eq=False)  # equal only to itself, as Latents is
class Recorded(Configured):
    """A stream that plays back latents of the same N samples at successive times.

    Step t shows frame t // every, or with `interpolate` a point on the straight line from that frame to the next one, as
    far along as t is. Where `batch_size` is N a batch is the whole frame, in order; otherwise its samples are drawn from
    the frame's N, with replacement. Which ones, a key of the seed and the step says, and not what is in memory.

    Parameters
    ----------
    latents : array [time, N, D], path, or list of paths
        Frames, the same sample in the same row of each; or a .npy file of them, or a folder of shards, which follow each
        other by name: .npy files of frames, or .npy and .parquet files of one frame [N, D] each. A list of their paths gives
        another order. Files stay on disk: in memory are a few frames at a time, of files and in float64. An array is not
        copied: do not change it afterwards.
    every : int, default 1
        Steps from a frame to the next.
    interpolate : bool, default False
        Whether the samples move from frame to frame in equal steps, or stand and then jump.

    Attributes
    ----------
    steps : int
        How many steps there are: frames times `every`; up to the last frame itself with `interpolate`.

    Raises
    ------
    ValueError
        For values that are not finite, with the index of the first; for shards of different shapes, and for a file that
        changes while it is read.

    Examples
    --------
    >>> stream = Recorded(np.arange(6.0).reshape(3, 2, 1), every=2)
    >>> batches = stream.draw(start=1, steps=2, batch_size=2, seed=0, displacement=True)
    >>> batches.x.tolist(), batches.displacement.tolist()
    ([[[0.0], [1.0]], [[2.0], [3.0]]], [[[0.0], [0.0]], [[2.0], [2.0]]])
    >>> stream.steps
    6
    >>> Recorded(stream.latents, every=2, interpolate=True).draw(0, 5, batch_size=2, seed=0).x[:, 0, 0].tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """

    latents: Any
    every: int = 1
    interpolate: bool = False
    _positional: ClassVar[int] = 1

    def __post_init__(self) -> None:
        self._keep(every=check.integer("Recorded", "every", self.every))
        self._keep(interpolate=check.flag("Recorded", "interpolate", self.interpolate))
        if isinstance(self.latents, (str, Path)):
            self._keep(latents=str(check.path("Recorded", "latents", self.latents)))
        elif is_listed(self.latents):
            self._keep(latents=tuple(str(check.path("Recorded", "latents", item)) for item in self.latents))
        else:
            requirement = "an array [time, samples, dimensions] of numbers that is not empty"
            self._keep(latents=_checked("Recorded", check.array("Recorded", "latents", self.latents, requirement)))

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: a file is opened again."""
        return {"latents": self.latents, "every": self.every, "interpolate": self.interpolate}

    @cached_property
    def frames(self) -> np.ndarray | Frames:
        """The latents at each time, [N, D] each."""
        if isinstance(self.latents, np.ndarray):
            return self.latents
        return _checked(f"Recorded({self.latents!r})", _opened(self.files))

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the frames, where they are in files."""
        return () if isinstance(self.latents, np.ndarray) else shards_of(self.latents)

    @property
    def dim(self) -> int:
        """D, the dimension of the latents."""
        return self.frames.shape[2]

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return (len(self.frames) - 1) * self.every + 1 if self.interpolate else len(self.frames) * self.every

    def draw(
        self,
        start: int,
        steps: int,
        batch_size: int,
        seed: int,
        dtype: Any = np.float64,
        displacement: bool = False,
    ) -> Batches:
        """Latents of steps ``start .. start + steps - 1``; the same arguments give the same latents.

        `displacement` asks for each sample's own move since the step before, 0 at step 0. Raises `ValueError` for steps
        beyond the last.
        """
        start = check.integer("draw", "start", start, 0)
        steps, batch_size = check.integer("draw", "steps", steps), check.integer("draw", "batch_size", batch_size)
        seed, dtype = check.seed("draw", seed), check.floating("draw", "dtype", dtype)
        displacement = check.flag("draw", "displacement", displacement)
        if start + steps > self.steps:
            raise self._too_far(start + steps - 1)
        t, rows = np.arange(start, start + steps), self._rows(start, start + steps, batch_size, seed)
        x = self._latents(t, rows)
        moved = x - self._latents(np.maximum(t - 1, 0), rows) if displacement else None
        return Batches(x.astype(dtype), None if moved is None else moved.astype(dtype))

    def _latents(self, t: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The latents of these rows [T, B] at steps t [T], float64 [T, B, D]."""
        frame, along = self._place(t)
        here = self._taken(frame, rows).astype(np.float64)
        if not self.interpolate:
            return here
        there = self._taken(np.minimum(frame + 1, len(self.frames) - 1), rows)
        return here + along[:, None, None] * (there - here)

    def _taken(self, frame: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """These rows [T, B] of these frames [T], [T, B, D]."""
        if isinstance(self.frames, np.ndarray):
            return self.frames[frame[:, None], rows]
        return np.stack([self.frames[time][chosen] for time, chosen in zip(frame.tolist(), rows, strict=True)])

    def _place(self, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The frame at or before step t, and what part of the way to the next one is done."""
        frame, since = np.divmod(t, self.every)
        return frame, since / self.every * self.interpolate

    def _rows(self, start: int, stop: int, batch_size: int, seed: int) -> np.ndarray:
        """Which samples are in each batch, [T, B]; drawn in whole blocks, whose bits cannot depend on the cut."""
        num_rows, length = self.frames.shape[1], block_steps(batch_size, 1)
        if batch_size == num_rows:
            return np.broadcast_to(np.arange(num_rows), (stop - start, num_rows))
        blocks = range(start // length, (stop - 1) // length + 1)
        drawn = [generator(seed, Purpose.SOURCE, block).integers(num_rows, size=(length, batch_size)) for block in blocks]
        first = blocks.start * length
        return np.concatenate(drawn)[start - first : stop - first]

    def at(self, t: int, seed: int = 0) -> StreamSnapshot:
        """Where the latents are at step t: all its samples. After the last step they stand."""
        t, seed = check.integer("at", "t", t, 0), check.seed("at", seed)
        if t > self.steps:
            raise self._too_far(t)
        times = np.array([min(t, self.steps - 1), max(min(t, self.steps) - 1, 0)])
        now, before = self._latents(times, np.broadcast_to(np.arange(self.frames.shape[1]), (2, self.frames.shape[1])))
        source, still = Latents(now), Motion.none(1, self.dim)
        moved = before.mean(axis=0) - source.mean
        return StreamSnapshot(source, still._replace(shift=moved[None]), still, seed, t)

    def _too_far(self, step: int) -> ValueError:
        return ValueError(
            f"Recorded holds {self.steps} steps, {len(self.frames)} frames of {self.every} each: the last is step "
            f"{self.steps - 1}. Got step {step}."
        )


def _opened(paths: tuple[str, ...]) -> np.ndarray | Frames:
    archive = len(paths) == 1 and not paths[0].lower().endswith(KINDS)
    return load_array(paths[0]) if archive else Frames(paths)


def _checked(owner: str, latents: AnyFrames) -> AnyFrames:
    """The frames themselves, if they are finite."""
    if latents.ndim != 3 or latents.size == 0 or latents.dtype.kind not in "fiub":
        raise ValueError(
            f"The 'latents' parameter of {owner} must be an array [time, samples, dimensions] of numbers that is not empty. "
            f"Got shape {latents.shape} and dtype {latents.dtype}."
        )
    for time, frame in enumerate(latents):  # one by one: a file may be larger than memory
        if not np.isfinite(frame).all():
            row, column = np.argwhere(~np.isfinite(frame))[0]
            raise ValueError(
                f"The 'latents' parameter of {owner} must be finite. "
                f"Got {frame[row, column]} at index ({time}, {row}, {column})."
            )
    return latents
