"""exp(z) for z <= 0, ln(x) and the normal distribution's tail in plain arithmetic: their loops become vector instructions.

With n the integer nearest to z / ln 2 and r = z - n ln 2, which lies within ln 2 / 2 of 0,

    exp(z) = 2^n (1 + r + r^2 p(r))

ln 2 is taken off in two parts, of which the first has so few bits that n times it is exact. Adding
1.5 * 2^(bits of the mantissa) rounds to an integer and leaves it in the low bits, from where a shift makes it
the exponent. p is the minimax polynomial for the relative error of exp: 3.1e-9 of degree 4 in float32, 3.7e-18 of
degree 9 in float64, both far below the rounding. The result is within 1.1 units in the last place, and exactly 0 where
exp(z) is below the smallest normal number: below -87.3 in float32, and -708.4 in float64.

With x = 2^n (1 + f), 1 + f within sqrt(1/2) and sqrt(2), and s = f / (2 + f),

    ln(x) = n ln 2 + f - (f^2 / 2 - s (f^2 / 2 + s^2 p(s^2)))

and p the minimax polynomial: within 8.1e-10 of ln(1 + f) of degree 2 in float32, 1.3e-18 of degree 6 in float64.

    1 - Phi(y) = exp(-y^2 / 2) (1 + y / 2)^-1 p(t),      t = (y - m) / (y + m),      y >= 0

maps all y to t in [-1, 1), where p, the normal distribution's ratio of Mills made bounded, is a polynomial (after Shepherd
and Laframboise, Math. Comp. 36, 1981): of degree 10 in float32 with m = 4, within 6e-10, and of degree 21 in float64 with
m = 5, within 3.4e-17. The result is within 4 units in the last place, to which comes the rounding of y^2.
"""

from __future__ import annotations

import numpy as np
from numba.extending import overload

from vqtheory._kernels.jit import inlined_kernel


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


def logarithm(x):
    """ln(x), for a normal number x > 0, in the precision of x."""
    return (_single_log if isinstance(x, np.float32) else _double_log)(x)


@overload(logarithm)
def _typed_log(x):
    return (lambda x: _single_log(x)) if getattr(x, "bitwidth", 64) == 32 else (lambda x: _double_log(x))


@inlined_kernel
def _single_log(x):
    bits = np.int32(np.float32(x).view(np.int32) - np.int32(0x3F3504F3))  # of sqrt(1/2)
    n = np.int32((bits >> np.int32(23)) + np.int32(0x4B400000)).view(np.float32) - np.float32(12582912.0)
    f = np.int32((bits & np.int32(0x7FFFFF)) + np.int32(0x3F3504F3)).view(np.float32) - np.float32(1)
    s = f / (np.float32(2) + f)
    z, half = s * s, np.float32(0.5) * f * f
    p = np.float32(0.29871723)
    p = p * z + np.float32(0.39977542)
    p = p * z + np.float32(0.66666776)
    return n * np.float32(0.693359375) + ((f - (half - s * (half + z * p))) + n * np.float32(-0.00021219444))


@inlined_kernel
def _double_log(x):
    bits = np.int64(np.float64(x).view(np.int64) - np.int64(0x3FE6A09E667F3BCD))  # of sqrt(1/2)
    n = np.int64((bits >> np.int64(52)) + np.int64(0x4338000000000000)).view(np.float64) - 6755399441055744.0
    f = np.int64((bits & np.int64(0xFFFFFFFFFFFFF)) + np.int64(0x3FE6A09E667F3BCD)).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z, half = s * s, 0.5 * f * f
    p = 0.14795949746504109102
    p = p * z + 0.1531405053947184746
    p = p * z + 0.18183564327007024513
    p = p * z + 0.22222198573157717871
    p = p * z + 0.28571428742388012491
    p = p * z + 0.39999999999414675746
    p = p * z + 0.66666666666667344128
    return n * 0.6931471803691238 + ((f - (half - s * (half + z * p))) + n * 1.9082149292705877e-10)


def normal_tail(y, density):
    """1 - Phi(y), the mass of a normal distribution beyond y >= 0, from exp(-y^2 / 2), in the precision of y."""
    return (_single_tail if isinstance(y, np.float32) else _double_tail)(y, density)


@overload(normal_tail)
def _typed_tail(y, density):
    if getattr(y, "bitwidth", 64) == 32:
        return lambda y, density: _single_tail(y, density)
    return lambda y, density: _double_tail(y, density)


@inlined_kernel
def _single_tail(y, density):
    share = np.float32(1) / ((y + np.float32(4)) * (np.float32(1) + np.float32(0.5) * y))
    t = (y - np.float32(4)) * (np.float32(1) + np.float32(0.5) * y) * share
    p = np.float32(-3.3431792e-05)
    p = p * t - np.float32(6.109227e-05)
    p = p * t + np.float32(0.00025850418)
    p = p * t + np.float32(0.00017417225)
    p = p * t - np.float32(0.0022487969)
    p = p * t + np.float32(0.0047223414)
    p = p * t - np.float32(0.00066636526)
    p = p * t - np.float32(0.021553548)
    p = p * t + np.float32(0.06918944)
    p = p * t - np.float32(0.1335506)
    p = p * t + np.float32(0.2832319)
    return density * (p * ((y + np.float32(4)) * share))


@inlined_kernel
def _double_tail(y, density):
    share = 1.0 / ((y + 5.0) * (1.0 + 0.5 * y))
    t = (y - 5.0) * (1.0 + 0.5 * y) * share
    p = 1.0889380934880663e-09
    p = p * t + 1.5244704858559764e-09
    p = p * t - 1.119437840894321e-08
    p = p * t - 1.633228034396084e-08
    p = p * t + 7.722325398378076e-08
    p = p * t + 1.0006159151343131e-07
    p = p * t - 5.313255910805055e-07
    p = p * t - 3.71151543484626e-07
    p = p * t + 3.894635789957239e-06
    p = p * t - 1.6264748469964017e-06
    p = p * t - 2.6323090824614653e-05
    p = p * t + 6.095349674626802e-05
    p = p * t + 7.103421523313722e-05
    p = p * t - 0.0007282608302095371
    p = p * t + 0.002071578155854031
    p = p * t - 0.0030895224234491554
    p = p * t + 0.0005615313779803553
    p = p * t + 0.010727154658810011
    p = p * t - 0.035440762439448374
    p = p * t + 0.07354959015598576
    p = p * t - 0.11750491854901052
    p = p * t + 0.269217567412522
    return density * (p * ((y + 5.0) * share))
