"""Photographs made worse: blurred, made smaller, noisy, stored as JPEG, and made large again.

What restorations of faces are trained on (Gu et al., arXiv 2205.06803, after Wang et al., arXiv 2101.04061). Of an image x,

    y = ((x * k_s) downsampled by r + n, as JPEG of quality q) upsampled by r,

with a Gaussian kernel k of widths s in pixels, equal in all directions or not, and white noise n. Each of them is drawn
evenly from its range. The published ranges are for 512 pixels a side, s in [1, 15] and r in [1, 30]; by default they are an
eighth of that, for images of 64 pixels.
"""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vqtheory._base import check
from vqtheory._base.config import Configured
from vqtheory._base.randomness import Purpose, generator

_OWNER = "Degradation"
_REACH = 3  # widths of a blur by which an image is continued beyond its border
_LARGEST = 64.0  # of a blur and of a downsampling


@dataclass(frozen=True, repr=False)
class Degradation(Configured):
    """A random degradation of images, the same whenever an image comes with the same seed and turn.

    Parameters
    ----------
    blur : (float, float), default (0.125, 1.875)
        Range of the width of the blur, in pixels.
    anisotropic : float, default 0.5
        Share of images whose blur has two widths and a direction.
    downsampling : (float, float), default (1, 3.75)
        Range of the factor by which width and height are divided.
    noise : (float, float), default (0, 20)
        Range of the standard deviation of the noise, of pixels in [0, 255].
    quality : (int, int), optional
        Range of the quality of JPEG, by default (30, 90); None for none.

    Raises
    ------
    ValueError
        For ranges that are none, and for what is no image uint8 [H, W, 3].

    Examples
    --------
    >>> image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    >>> degradation = Degradation(noise=(5, 10))
    >>> degraded = degradation(image, seed=1)
    >>> degraded.shape, bool((degraded == degradation(image, seed=1)).all()), bool((degraded == degradation(image)).all())
    ((32, 32, 3), True, False)
    """

    blur: tuple[float, float] = (0.125, 1.875)
    anisotropic: float = 0.5
    downsampling: tuple[float, float] = (1.0, 3.75)
    noise: tuple[float, float] = (0.0, 20.0)
    quality: tuple[int, int] | None = (30, 90)

    def __post_init__(self) -> None:
        ranges = {"blur": (0.0, _LARGEST), "downsampling": (1.0, _LARGEST), "noise": (0.0, 255.0)}
        self._keep(**{name: _range(name, getattr(self, name), *ends) for name, ends in ranges.items()})
        self._keep(anisotropic=check.real(_OWNER, "anisotropic", self.anisotropic, 0, 1))
        if self.quality is not None:
            _range("quality", self.quality, 1, 100)
            self._keep(quality=tuple(check.integer(_OWNER, "quality", end) for end in self.quality))

    def __call__(self, image: np.ndarray, seed: int = 0, turn: int = 0) -> np.ndarray:
        """An image uint8 [H, W, 3], degraded at its own size; by another draw for each image, seed and turn."""
        image = checked_image(_OWNER, image)
        draws = generator(_key(image, check.seed(_OWNER, seed)), Purpose.PROBE, check.integer(_OWNER, "turn", turn, 0))
        widths, angle = self._blur(draws)
        blurred = blur(image, widths, angle)
        height, width = image.shape[:2]
        factor = draws.uniform(*self.downsampling)
        small = _resized(blurred, (max(1, round(width / factor)), max(1, round(height / factor))), "BILINEAR")
        noisy = _eight_bit(small + draws.uniform(*self.noise) * draws.standard_normal(small.shape))
        if self.quality is not None:
            noisy = _as_jpeg(noisy, int(draws.integers(self.quality[0], self.quality[1] + 1)))
        return _resized(noisy, (width, height), "BICUBIC")

    def _blur(self, draws: np.random.Generator) -> tuple[tuple[float, float], float]:
        """Widths of a blur along its two axes, and the angle of the first."""
        first, second, angle = draws.uniform(*self.blur), draws.uniform(*self.blur), draws.uniform(0, math.pi)
        return (first, second if draws.uniform() < self.anisotropic else first), angle


def blur(image: np.ndarray, widths: tuple[float, float], angle: float = 0.0) -> np.ndarray:
    """An image uint8 [H, W, C] under a Gaussian with these widths along its axes, the first at `angle` to the columns.

    By the Fourier transform exp(-k^T S k / 2) of the kernel, S its covariance; the image is mirrored at its border.
    """
    margin = [(min(side - 1, math.ceil(_REACH * max(widths))),) * 2 for side in image.shape[:2]]
    wide = np.pad(image.astype(np.float64), [*margin, (0, 0)], mode="reflect")
    rows, columns = (2 * math.pi * frequencies for frequencies in _frequencies(wide.shape))
    along = math.cos(angle) * columns + math.sin(angle) * rows
    across = math.cos(angle) * rows - math.sin(angle) * columns
    transfer = np.exp(-0.5 * ((widths[0] * along) ** 2 + (widths[1] * across) ** 2))
    blurred = np.fft.irfft2(np.fft.rfft2(wide, axes=(0, 1)) * transfer[..., None], s=wide.shape[:2], axes=(0, 1))
    (top, _), (left, _) = margin
    return _eight_bit(blurred[top : top + image.shape[0], left : left + image.shape[1]])


def _frequencies(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Of the rows [H, 1] and of the columns [1, W // 2 + 1] of a real image, in cycles per pixel."""
    return np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None, :]


def _key(image: np.ndarray, seed: int) -> int:
    """A seed of this image: 64 bits of a hash of its pixels and the seed."""
    content = f"{seed} {image.shape}".encode() + image.tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little")


def _resized(image: np.ndarray, size: tuple[int, int], filter: str) -> np.ndarray:
    """At (width, height), by one of Pillow's filters."""
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling[filter]))


def _as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def _eight_bit(values: np.ndarray) -> np.ndarray:
    return values.round().clip(0, 255).astype(np.uint8)


def checked_image(owner: str, image: Any) -> np.ndarray:
    """An image in colour, of 8 bits."""
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
        or not image.size
    ):
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"The image of {owner} must be uint8 [H, W, 3] with at least one pixel. Got {got}.")
    return image


def _range(name: str, ends: Any, low: float, high: float) -> tuple[float, float]:
    wanted = f"two numbers, {low:g} <= low <= high <= {high:g}"
    if not isinstance(ends, (tuple, list)) or len(ends) != 2:
        raise check.fail(_OWNER, name, wanted, ends)
    first, last = (check.real(_OWNER, name, end, low, high) for end in ends)
    if first > last:
        raise check.fail(_OWNER, name, wanted, ends)
    return first, last
