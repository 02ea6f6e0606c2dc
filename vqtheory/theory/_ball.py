"""The law of the potential for a uniform ball that drifts, in closed form.

With Phi - Phi_min = v (x + R) along the drift, slices of the volume V_(D-1) (R^2 - x^2)^((D-1)/2) and f = 1 / (V_D R^D),

    K_live = (c / v)^e f^(D/(D+2)) V_(D-1) (2R)^(D-e) B((D+1)/2, (D+1)/2 - e),

c and e as in `vqtheory.theory.potential`. It converges since the volume below a level rises as its (D+1)/2-th power. At the
end behind cells are not as small as the law has them, so that fewer codes survive in runs: `MEASURED_SHARE`.
"""

from __future__ import annotations

import math

from scipy import special

from vqtheory.theory._clouds import ball_volume
from vqtheory.theory._flow import Mobility

MEASURED_SHARE = {
    "ema": {2: (0.85, 1.0), 3: (0.7, 0.95)},
    "adam": {2: (0.55, 0.8), 3: (0.45, 0.7)},
}  # survivors over the law, claims ema-ball-* and adam-ball-*


def radius_of(width: float, dim: int) -> float:
    """R of the ball that has along each axis the variance of a cube of this width."""
    return width * math.sqrt((dim + 2) / 12)


def ball_codes(speed: float, mobility: Mobility, radius: float, dim: int) -> float:
    """K_live."""
    density = 1 / (ball_volume(dim) * radius**dim)
    exponent, half = mobility.exponent, (dim + 1) / 2
    scale = mobility.scale if mobility.weighs else mobility.scale * density ** (-2 / (dim + 2))
    slices = ball_volume(dim - 1) * (2 * radius) ** (dim - exponent) * special.beta(half, half - exponent)
    return float((scale / speed) ** exponent * density ** (dim / (dim + 2)) * slices)


def ball_speed(num_codes: int, mobility: Mobility, radius: float, dim: int) -> float:
    """The speed at which K_live is K."""
    return (ball_codes(1.0, mobility, radius, dim) / num_codes) ** (1 / mobility.exponent)
