"""What a finite step size takes off the critical speed: samples kick a code out before the mean motion would.

Just below the critical lag a_c the mean motion slows down along one mode phi, norm 1, of the codes:
with x = phi . (u - u_c), in units of eta t,

    dx = (s (a_c - a) - q x^2) dt + sqrt(eta S / B) dW,
    s = sum of phi,   q = -(1/2) phi . d2g/du2 [phi, phi],   S = sum_k phi_k^2 E[(x - u_k)^2; V_k] - (s a_c)^2,

S being the variance of phi . (what one sample does). A code is lost when the noise carries x over the
barrier (4/3) (s (a_c - a))^(3/2) / sqrt(q), at Kramers' rate sqrt(s (a_c - a) q) / pi exp(-barrier / D),
D = eta S / 2B. The lag at which that happens once in a run is

    a = a_c (1 - c (eta Lambda / B)^(2/3)),   c = (3 S sqrt(q) / 8)^(2/3) / (s a_c),
    Lambda = ln(eta steps sqrt(s (a_c - a) q) / pi).

For the uniform density c = 0.310 at K = 2, 0.347 at 8, 0.405 at 64, and tends to 0.445.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from vqtheory.reference.density import Density
from vqtheory.theory._relaxed import lowest_mode


class Escape(NamedTuple):
    """How the noise of K codes loses one of them."""

    share: float  # c
    rate: float  # sqrt(s a_c q) / pi, attempts per unit of eta t

    def drop(self, step_size: float, batch_size: int, steps: int) -> float:
        """1 - a / a_c; 1 where the noise would do it without drift, 0 for a run too short for an attempt."""
        drop = 1.0
        for _ in range(200):
            attempts = step_size * steps * self.rate * math.sqrt(drop)
            if attempts <= 1:
                return 0.0
            last, drop = drop, min(1.0, self.share * (step_size * math.log(attempts) / batch_size) ** (2 / 3))
            if abs(drop - last) <= 1e-14:
                break
        return drop


def escape(density: Density, codes: np.ndarray, lag: float) -> Escape:
    """The escape from the steady state `codes` at the critical lag."""
    mode = lowest_mode(density, codes)
    borders = (codes[:-1] + codes[1:]) / 2
    x, mass, _ = density.at(borders)
    cell = np.searchsorted(borders, x)
    kicks = np.bincount(cell, mass * (x - codes[cell]) ** 2, len(codes))
    spread = mode.phi**2 @ kicks - (mode.drift * lag) ** 2
    share = (3 / 8 * spread * math.sqrt(mode.curvature)) ** (2 / 3) / (mode.drift * lag)
    return Escape(float(share), math.sqrt(mode.drift * lag * mode.curvature) / math.pi)
