"""exp(z) for z <= 0 in plain arithmetic, so that a loop over it is compiled to vector instructions.

With n the integer nearest to z / ln 2 and r = z - n ln 2, which lies within ln 2 / 2 of 0,

    exp(z) = 2^n (1 + r + r^2 p(r))

ln 2 is taken off in two parts, of which the first has so few bits that n times it is exact. Adding
1.5 * 2^(bits of the mantissa) rounds to an integer and leaves it in the low bits, from where a shift makes it
the exponent. p is the minimax polynomial for the relative error of exp: 3.1e-9 of degree 4 in float32, 3.7e-18 of
degree 9 in float64, both far below the rounding. The result is within 1 unit in the last place, and exactly 0 where
exp(z) is below the smallest normal number: below -87.3 in float32, and -708.4 in float64.
"""

from __future__ import annotations

import numpy as np
from numba.extending import overload

from vqtheory._jit import inlined_kernel


def exponential(z):
    """exp(z), for z <= 0 or NaN, in the precision of z."""
    return (_single if isinstance(z, np.float32) else _double)(z)


@overload(exponential)
def _typed(z):
    return (lambda z: _single(z)) if getattr(z, "bitwidth", 64) == 32 else (lambda z: _double(z))


@inlined_kernel
def _single(z):
    if z < np.float32(-87.33655):
        return np.float32(0)
    shifted = np.float32(z * np.float32(1.442695) + np.float32(12582912.0))
    n = shifted - np.float32(12582912.0)
    r = (z - n * np.float32(0.693359375)) - n * np.float32(-0.00021219444)
    p = np.float32(0.0013814598)
    p = p * r + np.float32(0.008368717)
    p = p * r + np.float32(0.041668389)
    p = p * r + np.float32(0.16666521)
    p = p * r + np.float32(0.49999994)
    power = np.int32((shifted.view(np.int32) << np.int32(23)) + np.int32(127 << 23)).view(np.float32)
    return power * (np.float32(1) + (r + r * r * p))


@inlined_kernel
def _double(z):
    if z < -708.3964185322641:
        return 0.0
    shifted = np.float64(z * 1.4426950408889634 + 6755399441055744.0)
    n = shifted - 6755399441055744.0
    r = (z - n * 0.6931471803691238) - n * 1.9082149292705877e-10
    p = 2.5000061625531280e-08
    p = p * r + 2.7630248385323021e-07
    p = p * r + 2.7557586373785181e-06
    p = p * r + 2.4801493098887392e-05
    p = p * r + 1.9841269506578574e-04
    p = p * r + 1.3888888943630134e-03
    p = p * r + 8.3333333334944617e-03
    p = p * r + 4.1666666666530158e-02
    p = p * r + 1.6666666666666413e-01
    p = p * r + 5.0000000000000106e-01
    power = np.int64((shifted.view(np.int64) << np.int64(52)) + np.int64(1023 << 52)).view(np.float64)
    return power * (1.0 + (r + r * r * p))
