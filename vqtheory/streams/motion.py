"""The state of a drift at a run of steps: a shift, a factor and an angle for each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Motion(NamedTuple):
    """Motions add: shifts and angles by their sums, factors by their product.

    Attributes
    ----------
    shift : float [T, D]
        By how much the cloud's mean has moved from the source's.
    log_factor : float [T]
        Logarithm of the factor by which the cloud has grown about its mean.
    angle : float [T]
        By how much it has turned about its mean in the plane of the first two axes, radians.
    """

    shift: np.ndarray
    log_factor: np.ndarray
    angle: np.ndarray

    @classmethod
    def none(cls, steps: int, dim: int) -> Motion:
        """No motion, for `steps` steps."""
        return cls(np.zeros((steps, dim)), np.zeros(steps), np.zeros(steps))

    @property
    def factor(self) -> np.ndarray:
        """The factor itself, [T]."""
        return np.exp(self.log_factor)

    def __add__(self, other: tuple) -> Motion:
        return Motion(*(mine + its for mine, its in zip(self, other, strict=True)))

    def split(self) -> tuple[Motion, Motion]:
        """The motion at the step before each of steps 1 .. T - 1, and at each of them."""
        return Motion(*(part[:-1] for part in self)), Motion(*(part[1:] for part in self))

    def apply(self, samples: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Samples [T, B, D] of the source, moved."""
        if not (self.log_factor.any() or self.angle.any()):
            return samples + self.shift[:, None]  # the bits of a plain shift, which is what most runs have
        centred = _turn(samples - mean, self.angle) * self.factor[:, None, None]
        return centred + (mean + self.shift[:, None])

    def invert(self, latents: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """The samples that `apply` moved to `latents` [T, B, D]."""
        centred = (latents - mean - self.shift[:, None]) / self.factor[:, None, None]
        return mean + _turn(centred, -self.angle)


def _turn(x: np.ndarray, angle: np.ndarray) -> np.ndarray:
    if not angle.any():
        return x
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    turned = x.copy()
    turned[..., 0] = cos * x[..., 0] - sin * x[..., 1]
    turned[..., 1] = sin * x[..., 0] + cos * x[..., 1]
    return turned
