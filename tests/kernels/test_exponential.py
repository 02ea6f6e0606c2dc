"""exp, ln and the normal tail in plain arithmetic, against arithmetic of higher precision."""

import math
from decimal import Decimal, localcontext

import numpy as np
import pytest

from vqtheory._kernels.exponential import exponential, logarithm, normal_tail
from vqtheory._kernels.jit import kernel

dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


@kernel
def exponentials(z, out):
    for i in range(len(z)):
        out[i] = exponential(z[i])


@kernel
def logarithms(x, out):
    for i in range(len(x)):
        out[i] = logarithm(x[i])


@kernel
def tails(y, out):
    half = y.dtype.type(-0.5)
    for i in range(len(y)):
        out[i] = normal_tail(y[i], exponential(half * y[i] * y[i]))


def through(function, values, dtype):
    values = np.asarray(values, dtype)
    out = np.empty_like(values)
    function(values, out)
    return values, out


@dtypes
def test_exp_is_within_a_unit_in_the_last_place(dtype):
    random, low = np.random.default_rng(0), math.log(np.finfo(dtype).tiny)
    z = [*random.uniform(low + 1e-5 * abs(low), 0, 4000), *-(10.0 ** random.uniform(-20, 1, 1000))]
    z, out = through(exponentials, z, dtype)
    with localcontext() as context:
        context.prec = 40
        exact = [Decimal(float(value)).exp() for value in z]
        errors = [abs(Decimal(float(o)) - e) / Decimal(float(np.spacing(o))) for o, e in zip(out, exact, strict=True)]
    assert max(errors) < Decimal("1.1")
    assert out.dtype == dtype


@dtypes
def test_exp_is_zero_below_the_normal_numbers_and_keeps_nan(dtype):
    tiny = np.finfo(dtype).tiny
    low = math.log(tiny)
    with np.errstate(invalid="ignore"):
        _, out = through(exponentials, [0.0, -0.0, low * (1 - 1e-6), low * (1 + 1e-6), -1e30, -np.inf, np.nan], dtype)
    assert (out[:2] == 1).all()
    assert out[2] >= tiny
    assert (out[3:6] == 0).all()
    assert np.isnan(out[6])


@dtypes
def test_exp_grows(dtype):
    """From one number to the next, and over the seams where the exponent changes."""
    seams = [-math.log(2) * (n + 0.5) for n in range(20)]
    z = np.sort(np.concatenate([np.asarray(s, dtype) + np.arange(-200, 200) * np.spacing(dtype(s)) for s in seams]))
    _, out = through(exponentials, z, dtype)
    # each value is within 1.1 units of its place, so that a fall of two units and more would be an error
    assert (np.diff(out) >= -2.2 * np.spacing(out[1:])).all()


@dtypes
def test_ln_is_within_a_unit_in_the_last_place(dtype):
    """Next to 1, over the seams where the exponent changes, and over all normal numbers."""
    random, limits = np.random.default_rng(0), np.finfo(dtype)
    seams = [2.0 ** (n + 0.5) * (1 + random.uniform(-1e-6, 1e-6, 50)) for n in range(-3, 4)]
    spread = np.exp(random.uniform(np.log(limits.tiny), np.log(limits.max), 3000))
    close = 1 + random.choice([-1, 1], 1000) * 10.0 ** random.uniform(-16, -1, 1000)
    x, out = through(logarithms, [limits.tiny, limits.max, 0.5, 2.0, *spread, *close, *np.concatenate(seams)], dtype)
    with localcontext() as context:
        context.prec = 40
        exact = [Decimal(float(value)).ln() for value in x]
        errors = [abs(Decimal(float(o)) - e) / Decimal(float(np.spacing(abs(o)))) for o, e in zip(out, exact, strict=True)]
    assert max(errors) < Decimal("1.1")
    assert (out[x == 1] == 0).all()
    assert out.dtype == dtype


def exact_tail(y):
    """1/2 - sum_n (-1)^n y^(2n + 1) / (2^n n! (2n + 1)) / sqrt(2 pi), in 60 digits, for y up to 8."""
    with localcontext() as context:
        context.prec = 60
        y, pi = Decimal(float(y)), Decimal("3.14159265358979323846264338327950288419716939937510582097494")
        term, total = y, y
        for n in range(1, 200):
            term *= -y * y / (2 * n)
            total += term / (2 * n + 1)
        return Decimal("0.5") - total / (2 * pi).sqrt()


@dtypes
def test_normal_tail_is_exact_up_to_rounding(dtype):
    """Within 4 units in the last place, and y^2 / 4 from the rounding of y^2 / 2 by half a unit of its own."""
    y = np.concatenate([np.linspace(0, 8, 400), 10.0 ** np.random.default_rng(0).uniform(-9, 0, 50)])
    y, out = through(tails, y, dtype)
    units = [
        abs(Decimal(float(o)) / exact_tail(v) - 1) / Decimal(float(np.finfo(dtype).eps)) for o, v in zip(out, y, strict=True)
    ]
    assert (np.array(units, float) < 4 + 0.25 * y.astype(float) ** 2).all()


@dtypes
def test_normal_tail_ends_at_zero(dtype):
    _, out = through(tails, [40.0, 1000.0], dtype)
    assert (out == 0).all()
