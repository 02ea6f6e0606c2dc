"""A code that is not chosen does not move: which codes can no latent of a bounded cloud choose?

For latents in the ball |x - mu| <= R, code j loses every one of them to code i if and only if

    |c_j - mu|^2 - |c_i - mu|^2 > 2 R |c_i - c_j|                                     (1)

since |x - c_j|^2 - |x - c_i|^2 is linear in x and least where x = mu + R (c_j - c_i) / |c_j - c_i|.
By the triangle inequality, and so in any metric,

    |c_j - mu| > 2 R + |c_i - mu|                                                     (2)

suffices, and is sharp: with mu between the two codes, equality leaves a tie at the edge of the ball.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from vqtheory._base import check
from vqtheory.theory._arguments import closed_form

_BLOCK = 2**22  # distances at a time


@closed_form
def never_chosen(codes: Any, center: Any, radius: float, *, any_metric: bool = False) -> np.ndarray:
    """Which codes no latent of the ball chooses, by what can be said of one rival at a time.

    Exact for each pair of codes, and sufficient for the whole codebook: True is a proof, False is
    not. A code may also be shut out by several rivals together, or because the latents do not fill
    the ball. True is said only where it holds by more than rounding.

    It speaks of these codes and this ball. The code stays where it is while some rival satisfies (1)
    at every later time, as when the cloud moves away for good; "dead now" alone is not dead for
    ever: a cloud that returns, grows or oscillates can revive a code, and so can a stationary one,
    when its rivals move off towards their centroids. An unbounded distribution lies in no ball, and nothing follows.

    Parameters
    ----------
    codes : float [K, D]
    center : float [D]
        mu, the center of a ball that holds all latents.
    radius : float
        R, in the units of the latents.
    any_metric : bool, default False
        Use condition (2), which also holds for other metrics, instead of (1), which it implies.

    Returns
    -------
    bool [K]

    Raises
    ------
    ValueError
        For values that are not finite, dimensions that differ, and a radius below 0.

    Examples
    --------
    Latents in [-1, 1]; the last code is farther than 2 R + |c_i - mu| = 2.5:

    >>> never_chosen([[0.5], [-0.5], [2.6]], center=[0.0], radius=1.0)
    array([False, False,  True])

    Two codes at the same place share their latents; the one with the lower index takes them all, but
    by a rule for ties, not by distance:

    >>> never_chosen([[0.0], [0.0]], center=[0.0], radius=1.0)
    array([False, False])
    """
    codes = check.matrix("never_chosen", "codes", codes).astype(np.float64)
    center = np.reshape(check.array("never_chosen", "center", center, f"{codes.shape[1]} numbers"), (1, -1))
    center = check.matrix("never_chosen", "center", center, columns=codes.shape[1])
    any_metric = check.flag("never_chosen", "any_metric", any_metric)
    radius = check.real("never_chosen", "radius", radius, 0)
    from_center = cdist(codes, center)[:, 0]
    slack = 16 * np.finfo(np.float64).eps * (from_center.max() + radius + np.abs(center).max())
    if any_metric:
        return from_center > 2 * radius + from_center.min() + slack
    rows = max(1, _BLOCK // len(codes))
    blocks = [slice(start, start + rows) for start in range(0, len(codes), rows)]
    return np.concatenate([_loses_to_one(codes[b], from_center[b], codes, from_center, radius, slack) for b in blocks])


def _loses_to_one(
    some: np.ndarray, their_distance: np.ndarray, codes: np.ndarray, distance: np.ndarray, radius: float, slack: float
) -> np.ndarray:
    """Condition (1) for some of the codes, with (a - b)(a + b) for a^2 - b^2, which does not cancel."""
    difference, total = their_distance[:, None] - distance, their_distance[:, None] + distance
    return (difference * total > 2 * radius * cdist(some, codes) + slack * (total + 2 * radius)).any(axis=1)
