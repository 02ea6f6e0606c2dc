"""Layers of map rules, as kernels."""

from __future__ import annotations

import math

import numpy as np

from vqtheory._kernels.exponential import exponential, normal_tail
from vqtheory._kernels.jit import kernel


@kernel
def gelu(bias, before, slope, hidden):
    """IN bias [N]; IN/OUT before, to which it is added; OUT hidden = before Phi(before), and its slope."""
    half, one, height = before.dtype.type(-0.5), before.dtype.type(1), before.dtype.type(1 / math.sqrt(2 * math.pi))
    for k in range(before.shape[0]):
        for j in range(before.shape[1]):
            z = before[k, j] + bias[j]
            density = exponential(half * z * z)
            tail = normal_tail(abs(z), density)
            gate = tail if z < 0 else one - tail
            before[k, j], hidden[k, j], slope[k, j] = z, z * gate, gate + z * (height * density)


@kernel
def sum_rows(matrix, total):
    """OUT total [columns]."""
    total[:] = 0
    for k in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            total[j] += matrix[k, j]


@kernel
def softmax(scores, unit):
    """IN/OUT scores [T, T]: the softmax of unit times each row."""
    for t in range(len(scores)):
        top, total = scores[t].max(), unit * 0
        for j in range(scores.shape[1]):
            scores[t, j] = exponential(unit * (scores[t, j] - top))
            total += scores[t, j]
        for j in range(scores.shape[1]):
            scores[t, j] /= total


@kernel
def normalize(x, eps, unit, inverse):
    """LayerNorm of each row without gain and bias. IN x [T, M]; OUT unit, inverse [T]."""
    rows, width = x.shape
    share = x.dtype.type(1 / width)
    for t in range(rows):
        mean = share * x[t].sum()
        for j in range(width):
            unit[t, j] = x[t, j] - mean
        inverse[t] = 1 / np.sqrt(share * np.dot(unit[t], unit[t]) + eps)
        for j in range(width):
            unit[t, j] *= inverse[t]


@kernel
def normalize_back(dunit, unit, inverse, dx):
    """IN dunit, unit, inverse; added to dx. A row's mean does not pass the norm, and hardly its size."""
    rows, width = dunit.shape
    share = dunit.dtype.type(1 / width)
    for t in range(rows):
        mean, along = share * dunit[t].sum(), share * np.dot(dunit[t], unit[t])
        for j in range(width):
            dx[t, j] += inverse[t] * (dunit[t, j] - mean - along * unit[t, j])
