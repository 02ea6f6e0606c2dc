"""The form that every ground truth comes in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Optimum(NamedTuple):
    """The best codes, float64 [K, D], and their distortion E|x - c_q(x)|^2."""

    codes: np.ndarray
    distortion: float
