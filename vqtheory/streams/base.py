"""What a source, a drift and a snapshot must have, and what is assumed where they say nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from vqtheory._base import check
from vqtheory._base.config import Configured
from vqtheory._base.randomness import Purpose, generator
from vqtheory.protocols import Snapshot as Protocol
from vqtheory.streams.motion import Motion

_MOST_CODES = 512  # for which the optimum is found in under a second


class Source(Configured):
    """A distribution on R^dim. `sample` is all that a stream needs; the rest is given where it is known."""

    if TYPE_CHECKING:  # a field of some sources, a property of others

        @property
        def dim(self) -> int:
            """D, the dimension of the samples."""

    @property
    def mean(self) -> np.ndarray:
        """The mean, [D]: the point about which the cloud grows and turns."""
        raise NotImplementedError

    def sample(self, generator: np.random.Generator, size: int) -> np.ndarray:
        """Samples [size, D], float64."""
        raise NotImplementedError

    def part(self, seed: int, number: int, size: int) -> np.ndarray:
        """Samples number * size .. (number + 1) * size - 1 of the endless sequence of this seed, float64 [size, D].

        By default each part has a generator of its own, so that no part depends on another.
        """
        return self.sample(generator(seed, Purpose.SOURCE, number), size)

    @property
    def support(self) -> np.ndarray | None:
        """All values [N, D] that a sample can take, if they are finitely many and at hand."""
        return None

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of the files that samples are read from."""
        return ()

    def density(self, x: np.ndarray) -> np.ndarray | None:
        """The density at x [N, D], if there is one in closed form."""
        distribution = self.distribution()
        return None if distribution is None else distribution.pdf(x[:, 0])

    def distribution(self) -> Any:
        """The law as a frozen scipy distribution, in 1-D where it is known."""
        return None

    def optimum(self, num_codes: int) -> float | None:
        """The least distortion of `num_codes` codes, where `distribution` is known."""
        known = num_codes <= _MOST_CODES and self.distribution() is not None
        return _optimum(self, num_codes) if known else None


@cache
def _optimum(source: Source, num_codes: int) -> float | None:
    from vqtheory.reference import lloyd_max  # streams load without numba and scipy

    try:
        return lloyd_max(source.distribution(), num_codes).distortion
    except ValueError:  # a tail so heavy that the optimum cannot be found; a run does without
        return None


class Drift(Configured):
    """A drift gives the motion at any run of steps, the same for the same seed."""

    def motion(self, start: int, steps: int, dim: int, seed: int) -> Motion:
        """The motion at steps ``start .. start + steps - 1``; `start` may be -1, the step before the first."""
        raise NotImplementedError

    def __add__(self, other: Drift) -> Drift:
        if not isinstance(other, Drift):
            raise check.fail("a sum of drifts", "other", "a drift such as Translation(speed=1e-5)", other)
        return Sum((*_parts(self), *_parts(other)))


@dataclass(frozen=True, repr=False)
class Sum(Drift):
    """Several drifts at once; written ``a + b``."""

    parts: tuple[Drift, ...]

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))

    def motion(self, start: int, steps: int, dim: int, seed: int) -> Motion:
        total = Motion.none(steps, dim)
        for part in self.parts:
            total = total + part.motion(start, steps, dim, seed)
        return total


def _parts(drift: Drift) -> tuple[Drift, ...]:
    return drift.parts if isinstance(drift, Sum) else (drift,)


class Snapshot:
    """Where latents are at one step. `sample` is all that a run needs; the rest is reported where it is known."""

    @property
    def mean(self) -> np.ndarray | None:
        """The mean of the latents, [D]."""
        return None

    @property
    def velocity(self) -> np.ndarray | None:
        """The move of the mean since the step before, [D]; 0 at step 0."""
        return None

    def sample(self, size: int) -> np.ndarray:
        """Fresh latents [size, D], none of which the updates of a run with this seed meet."""
        raise NotImplementedError

    @property
    def support(self) -> np.ndarray | None:
        """All values [N, D] that a latent can take, if they are finitely many and at hand."""
        return None

    def density(self, x: np.ndarray) -> np.ndarray | None:
        """The density at x [N, D], [N]; None where there is none in closed form."""
        return None

    def optimum(self, num_codes: int) -> float | None:
        """The least distortion that `num_codes` codes can have; None where it is not known."""
        return None


_SILENT = Snapshot()


def reported(snapshot: Protocol, name: str) -> Any:
    """What a snapshot reports under this name; of one that says nothing, what `Snapshot` says."""
    return getattr(snapshot, name, getattr(_SILENT, name))
