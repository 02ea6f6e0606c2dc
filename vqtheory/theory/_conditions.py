"""Under what conditions codes live: a distribution of the latents, and the noise of a run if its length is given."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from vqtheory._base import check
from vqtheory.theory._arguments import LARGEST, integers
from vqtheory.theory._cube import Cube
from vqtheory.theory._escape import Escape, escape
from vqtheory.theory._relaxed import MOST_CODES, OnTheLine
from vqtheory.theory._uniform import Uniform


class Conditions:
    """The collapse law for latents of one kind; lengths in units of `width`."""

    def __init__(
        self, owner: str, width: float, dim: int, density: Any, direction: int, batch_size: Any, steps: Any
    ) -> None:
        self.owner, self.width = owner, check.real(owner, "width", width, 0, above=True)
        if density is not None and width != 1:
            raise check.fail(owner, "width", "1 where a density is given, which has a width of its own", width)
        self.law: Any = law_of(owner, dim, density, direction)
        self.most = LARGEST if steps is None and not isinstance(self.law, OnTheLine) else MOST_CODES
        if steps is not None and isinstance(self.law, Cube):
            raise check.fail(owner, "steps", "None where dim > 1: the noise is worked out in one dimension only", steps)
        self.batch_size = integers(owner, "batch_size", batch_size)
        self.steps = None if steps is None else integers(owner, "steps", steps)
        self._escape = cache(self._find_escape)

    def codes(self, num_codes: Any) -> np.ndarray:
        """Checked numbers of codes."""
        counts = integers(self.owner, "num_codes", num_codes)
        if np.any(counts > self.most):
            raise check.fail(self.owner, "num_codes", f"an int <= {self.most}", int(counts.max()))
        return counts

    def critical_speed(self, num_codes: np.ndarray, step_size: np.ndarray) -> np.ndarray:
        """v_c."""
        return self.width * step_size * self.law.critical_lag(num_codes) * (1 - self._drop(num_codes, step_size))

    def step_size(self, num_codes: np.ndarray, speed: np.ndarray) -> np.ndarray:
        """The least eta with v_c >= v, from below; nan if there is none."""
        least = np.asarray(speed / (self.width * self.law.critical_lag(num_codes)))
        step_size = least
        for _ in range(0 if self.steps is None else 500):
            last, drop = step_size, self._drop(num_codes, step_size)
            step_size = least / np.where(drop < 1, 1 - drop, np.nan)
            if not np.any(step_size > last * (1 + 1e-13)):
                return step_size
        return step_size if self.steps is None else np.where(step_size <= last * (1 + 1e-9), step_size, np.nan)

    def survivors(self, speed: np.ndarray, step_size: np.ndarray, num_codes: np.ndarray | None) -> np.ndarray:
        """The largest K <= num_codes that can live, by doubling and bisection: K codes can only if fewer can."""
        most = np.array(self.most) if num_codes is None else num_codes
        steps = 1 if self.steps is None else self.steps
        speed, step_size, most, _, _ = np.broadcast_arrays(speed, step_size, most, self.batch_size, steps)

        if num_codes is None and isinstance(self.law, OnTheLine):
            slowest = 1e-12 * self.law.density.deviation / self.most**3  # far below what `most` codes can follow
            if np.any(speed / step_size < slowest):
                raise self._too_many()

        def live(num_codes: np.ndarray, asked: np.ndarray) -> np.ndarray:
            num_codes = np.where(asked, num_codes, 1)
            if self.steps is None:
                return asked & self.law.can_live(num_codes, speed / (self.width * step_size))
            return asked & (speed <= self.critical_speed(num_codes, step_size) * (1 + 1e-9))

        low = np.ones(most.shape, np.int64)
        asked = low < most
        while np.any(asked):
            lives = live(np.minimum(2 * low, most), asked)
            low = np.where(lives, np.minimum(2 * low, most), low)
            asked = lives & (low < most)
        high = np.minimum(2 * low, most + 1)
        while np.any(asked := high - low > 1):
            middle = (low + high) // 2
            lives = live(middle, asked)
            low, high = np.where(lives, middle, low), np.where(asked & ~lives, middle, high)
        if num_codes is None and np.any(low == most):
            raise self._too_many()
        return low

    def _too_many(self) -> ValueError:
        return ValueError(
            f"More than {self.most} codes survive in {self.owner}. Use high_resolution_codes, which is made for that."
        )

    def _drop(self, num_codes: np.ndarray, step_size: np.ndarray) -> np.ndarray:
        """The share that noise takes off the critical speed."""
        if self.steps is None:
            return np.array(0.0)

        def drop(K: int, eta: float, B: int, updates: int) -> float:
            return self._escape(int(K)).drop(float(eta), int(B), int(updates)) if K > 1 and eta > 0 else 0.0

        return np.vectorize(drop, otypes=[np.float64])(num_codes, step_size, self.batch_size, self.steps)

    def _find_escape(self, num_codes: int) -> Escape:
        return escape(self.law.density, *self.law.fold(num_codes))


def law_of(owner: str, dim: int, density: Any, direction: int) -> Any:
    """The law of a density in one dimension, or of the unit cube."""
    check.integer(owner, "dim", dim)
    if not isinstance(direction, (int, np.integer)) or direction not in (1, -1):
        raise check.fail(owner, "direction", "1 or -1", direction)
    if density is None:
        return Uniform() if dim == 1 else Cube(dim)
    if dim != 1:
        raise check.fail(owner, "dim", "1 where a density in one dimension is given", dim)
    return OnTheLine(owner, density, direction)
