"""The largest speed of a drift that a codebook withstands, by bisection."""

from __future__ import annotations

from collections.abc import Callable


def threshold(withstands: Callable[[float], bool], low: float, high: float, halvings: int) -> float:
    """Where `withstands` turns from true to false, to (high - low) / 2^(halvings + 1).

    The ends are not tried: a result next to one of them says that the threshold lies there or beyond.

    Examples
    --------
    >>> threshold(lambda speed: speed < 0.3, 0.0, 1.0, halvings=3)
    0.3125
    """
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if withstands(middle) else (low, middle)
    return (low + high) / 2
