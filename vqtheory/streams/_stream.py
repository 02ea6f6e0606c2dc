"""A stream: samples of a source, moved by a drift, as a pure function of its arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from vqtheory._base import check
from vqtheory._base.config import Configured
from vqtheory._base.randomness import Purpose, generator
from vqtheory.protocols import Batches
from vqtheory.streams.base import Drift, Snapshot, Source
from vqtheory.streams.drifts import Stationary
from vqtheory.streams.motion import Motion

_BLOCK_ELEMENTS = 2**14  # numbers in a block: large against the cost of a generator, small against a chunk


@dataclass(frozen=True, repr=False)
class Stream(Configured):
    """Latents from a drifting encoder: samples of `source`, mapped by `drift`.

        x_t = m + r_t R_t (s - m) + d_t

    with s a sample of the source, m the source's mean, and the factor r_t, the rotation R_t
    and the shift d_t of the drift at step t.

    Parameters
    ----------
    source : Source
        Where samples come from before they drift.
    drift : Drift, default Stationary()
        How they move, in units per update. Drifts add with ``+``.

    Examples
    --------
    >>> from vqtheory.streams import Stream, Translation, Uniform
    >>> stream = Stream(Uniform(dim=1), Translation(speed=1.0))
    >>> batches = stream.draw(start=5, steps=2, batch_size=3, seed=0)
    >>> batches.x.shape, batches.x.astype(int).tolist()
    ((2, 3, 1), [[[5], [5], [5]], [[6], [6], [6]]])
    >>> stream.at(5, seed=0).mean
    array([5.5])
    """

    source: Source
    drift: Drift = Stationary()  # noqa: RUF009 - frozen, hence safe to share
    _positional: ClassVar[int] = 2

    def __post_init__(self) -> None:
        check.instance("Stream", "source", self.source, Source, "a source such as Uniform(dim=1)")
        check.instance("Stream", "drift", self.drift, Drift, "a drift such as Translation(speed=1e-5)")
        self.drift.motion(0, 1, self.dim, seed=0)  # refuses a drift that this dimension cannot have

    @property
    def dim(self) -> int:
        """D, the dimension of the latents."""
        return self.source.dim

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files that the source reads."""
        return self.source.files

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

        Raises `ValueError` for a negative `start` or sizes below 1. `displacement` asks for
        each sample's own move since the step before (0 at step 0).
        """
        start = check.integer("draw", "start", start, 0)
        steps, batch_size = check.integer("draw", "steps", steps), check.integer("draw", "batch_size", batch_size)
        seed, dtype = check.seed("draw", seed), check.floating("draw", "dtype", dtype)
        displacement = check.flag("draw", "displacement", displacement)
        x, moved = zip(*self._pieces(start, start + steps, batch_size, seed, displacement), strict=True)
        join = partial(np.concatenate, dtype=dtype, casting="same_kind")
        return Batches(join(x), join(moved) if displacement else None)

    def _pieces(self, start: int, stop: int, batch_size: int, seed: int, displacement: bool) -> Iterator[tuple]:
        """The blocks that start .. stop touches, cut to it.

        A block is made whole whatever part of it is asked for: its bits cannot depend on the cut.
        """
        length = block_steps(batch_size, self.dim)
        for block in range(start // length, (stop - 1) // length + 1):
            first = block * length
            samples = self.source.part(seed, block, length * batch_size).reshape(length, batch_size, self.dim)
            cut = slice(max(start - first, 0), min(stop - first, length))
            with np.errstate(over="ignore", invalid="ignore"):  # of a drift that goes too far, which is said of it
                motion = self.drift.motion(first - 1, length + 1, self.dim, seed)
                before, now = motion.split()
                x = now.apply(samples, self.source.mean)
                moved = x - before.apply(samples, self.source.mean) if displacement else None
            self._check_reach(now, cut, first)
            if moved is not None and first == 0:
                moved[0] = 0
            yield x[cut], None if moved is None else moved[cut]

    def _check_reach(self, motion: Motion, cut: slice, first: int) -> None:
        """Refuses latents whose squares no float can hold."""
        with np.errstate(invalid="ignore"):
            far = ~(np.abs(motion.shift[cut]) <= check.SQUARABLE).all(axis=1)
        if far.any():
            step = first + cut.start + int(np.argmax(far))
            raise ValueError(f"Stream: {self.drift!r} takes the latents at step {step:,} farther than a float can square.")

    def at(self, t: int, seed: int = 0) -> StreamSnapshot:
        """Where the latents are at step t."""
        t, seed = check.integer("at", "t", t, 0), check.seed("at", seed)
        with np.errstate(over="ignore", invalid="ignore"):  # as in a draw
            before, now = self.drift.motion(t - 1, 2, self.dim, seed).split()
        self._check_reach(now, slice(0, 1), t)
        return StreamSnapshot(self.source, before, now, seed, t)


def block_steps(batch_size: int, dim: int) -> int:
    """Steps in a block: a power of two that depends only on batch size and dimension."""
    return 1 << max(0, (_BLOCK_ELEMENTS // (batch_size * dim)).bit_length() - 1)


@dataclass(frozen=True)
class StreamSnapshot(Snapshot):
    """Where a stream is at one step.

    Attributes
    ----------
    mean, velocity : float [D]
        Its mean, and the move of its mean since the step before.
    """

    source: Source
    before: Motion  # of the step before, T = 1
    now: Motion  # of this step, T = 1
    seed: int
    step: int

    @property
    def mean(self) -> np.ndarray:
        """The mean of the latents, [D]."""
        return self.now.apply(self.source.mean[None, None], self.source.mean)[0, 0]

    @property
    def velocity(self) -> np.ndarray:
        """The move of the mean since the step before, [D]; 0 at step 0."""
        if self.step == 0:
            return np.zeros(self.source.dim)
        return self.mean - self.before.apply(self.source.mean[None, None], self.source.mean)[0, 0]

    def sample(self, size: int) -> np.ndarray:
        """Fresh latents [size, D], none of which the updates of a run with this seed meet."""
        samples = self.source.sample(generator(self.seed, Purpose.PROBE, self.step), check.integer("sample", "size", size))
        return self.now.apply(samples[None], self.source.mean)[0]

    @property
    def support(self) -> np.ndarray | None:
        """All values [N, D] that a latent can take, if they are finitely many and at hand."""
        values = self.source.support
        return None if values is None else self.now.apply(values[None], self.source.mean)[0]

    def density(self, x: np.ndarray) -> np.ndarray | None:
        """The density at x [N, D], [N]; None where the source has none in closed form."""
        x = check.matrix("density", "x", x, self.source.dim).astype(np.float64)
        back = self.now.invert(x[None], self.source.mean)[0]
        density = self.source.density(back)
        return None if density is None else density / self.now.factor[0] ** self.source.dim

    def optimum(self, num_codes: int) -> float | None:
        """The least distortion that `num_codes` codes can have; None where it is not known (D > 1, no density)."""
        least = self.source.optimum(check.integer("optimum", "num_codes", num_codes))
        return None if least is None else least * float(self.now.factor[0]) ** 2
