"""Hypothesis strategies for what a rule meets: codebooks, latents, drifts, schedules.

Codes and latents lie on a dyadic grid, multiples of 1/16 up to 4 in size. Sums, differences and squares
of such numbers are exact in floating point, so that a tie is a tie however it is computed, and a moved
copy of the data has the same distances to the bit.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from hypothesis import strategies as st

from vqtheory import schedules as known
from vqtheory import streams

_GRID = st.integers(-64, 64)


@lru_cache(maxsize=256)  # making a strategy costs as much as drawing from it
def numbers(size: int, low: int, high: int) -> st.SearchStrategy[list[int]]:
    """Lists of so many integers."""
    return st.lists(st.integers(low, high), min_size=size, max_size=size)


@lru_cache(maxsize=256)
def grid(shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    """Arrays of multiples of 1/16 in [-4, 4]."""
    return numbers(int(np.prod(shape)), -64, 64).map(lambda values: np.array(values, float).reshape(shape) / 16)


@lru_cache(maxsize=256)
def _distinct(num_codes: int, dim: int) -> st.SearchStrategy[np.ndarray]:
    rows = st.lists(st.tuples(*[_GRID] * dim), min_size=num_codes, max_size=num_codes, unique=True)
    return rows.map(lambda values: np.array(values, float) / 16)


@st.composite
def codebooks(
    draw: st.DrawFn,
    num_codes: int | None = None,
    dim: int | None = None,
    *,
    min_codes: int = 1,
    max_codes: int = 6,
    max_dim: int = 3,
    distinct: bool = False,
    dtype: Any = np.float64,
) -> np.ndarray:
    """Codebooks [K, D] on the grid; some hold the same code more than once, unless `distinct`.

    Parameters
    ----------
    num_codes, dim : int, optional
        K and D; drawn where not given: K from `min_codes` to `max_codes`, D from 1 to `max_dim`.
    min_codes, max_codes, max_dim : int, default 1, 6 and 3
    distinct : bool, default False
    dtype : dtype, default float64

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> @settings(database=None)
    ... @given(codebooks(num_codes=3, dim=2))
    ... def test(codes):
    ...     assert codes.shape == (3, 2)
    >>> test()
    """
    num_codes = draw(st.integers(min_codes, max_codes)) if num_codes is None else num_codes
    dim = draw(st.integers(1, max_dim)) if dim is None else dim
    codes = draw(_distinct(num_codes, dim) if distinct else grid((num_codes, dim)))
    again = 0 if distinct or num_codes == 1 else draw(st.integers(0, num_codes // 2))
    codes[num_codes - again :] = codes[:again]
    return codes.astype(dtype)


@st.composite
def latents(
    draw: st.DrawFn, codes: np.ndarray, steps: int | None = None, batch_size: int | None = None, *, flat: bool | None = None
) -> np.ndarray:
    """Latents [T, B, D] for codes [K, D], in their dtype: points of the grid, and what is awkward.

    Some latents are a code itself; some lie half way between two codes, a tie; some repeat another
    latent. With `flat` all are one point; where it is not given, that is so now and then.

    Parameters
    ----------
    codes : float [K, D]
    steps, batch_size : int, optional
        T and B; drawn from 1 to 4 where not given.
    flat : bool, optional
    """
    steps = draw(st.integers(1, 4)) if steps is None else steps
    batch_size = draw(st.integers(1, 4)) if batch_size is None else batch_size
    num, (num_codes, dim) = steps * batch_size, codes.shape
    x = draw(grid((num, dim)))
    for n, kind in enumerate(draw(numbers(num, 0, 2 * num_codes**2))):
        if kind == 1:
            x[n] = x[n - 1]
        elif 2 <= kind < 2 + num_codes**2:  # half way between two codes, which may be one
            i, j = divmod(kind - 2, num_codes)
            x[n] = (codes[i] + codes[j]) / 2
    if draw(st.integers(0, 5)) == 5 if flat is None else flat:
        x[:] = x[0]
    return x.reshape(steps, batch_size, dim).astype(codes.dtype)


def schedules(low: float = 0.0, high: float = 1.0) -> st.SearchStrategy[Any]:
    """Hyperparameters that lie in (low, high] at every step: numbers, and schedules of every kind.

    Examples
    --------
    >>> from hypothesis import given, settings
    >>> from vqtheory.rules import VQ
    >>> @settings(database=None)
    ... @given(schedules(0, 0.5))
    ... def test(step_size):
    ...     VQ(step_size)
    >>> test()
    """
    inner = st.floats(low, high, exclude_min=True, allow_subnormal=False)
    values = inner.map(lambda value: max(value, low + (high - low) * 1e-6))  # far from underflow, which a schedule may reach
    steps, half_life = st.integers(1, 100), st.floats(10, 1000)
    falling: list[st.SearchStrategy[Any]] = [st.builds(known.exponential, values, half_life)]
    falling += [st.builds(known.harmonic, values, st.floats(1, 100))]
    between = [st.builds(kind, values, values, steps) for kind in (known.linear, known.cosine)]
    return st.one_of(values, st.builds(known.constant, values), *between, *(falling if low == 0 else []))


def drifts(dim: int, max_speed: float = 1.0) -> st.SearchStrategy[streams.Drift]:
    """Drifts of a source in `dim` dimensions, of every kind, and sums of two.

    None moves a sample by much more than `max_speed` times its size per step, jumps excepted.
    """
    speed, times = st.floats(0, max_speed), st.integers(1, 50)
    direction = st.none() | grid((dim,)).filter(np.any).map(tuple)
    rate = st.floats(-max_speed / 10, max_speed / 10)
    simple = [
        st.just(streams.Stationary()),
        st.builds(streams.Translation, speed, direction),
        st.builds(streams.Scaling, rate),
        st.builds(streams.RandomWalk, speed),
        st.builds(streams.Oscillation, speed, times, direction),
        st.builds(streams.Jump, times, grid((dim,)).map(tuple)),
        st.builds(streams.Fading, speed, times, direction),
    ]
    one = st.one_of(*simple, *([st.builds(streams.Rotation, rate)] if dim > 1 else []))
    return st.one_of(one, st.builds(lambda first, second: first + second, one, one))
