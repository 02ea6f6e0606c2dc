"""The collapse law of the uniform density on the unit cube [0, 1]^D that drifts along an axis: a scaling law.

Where cells are near-isotropic, of volume h^D = 1/n and second moment M per dimension, the distortion per
volume is e(n) = D M f n^(-2/D) / 2, and the force on a code is -grad de/dn. Against the drift it has to be

    M d(f h^(D+2)) / dx_1 = a,     so that  f h^(D+2) = (a / M) x_1  from the trailing face on,

and K = integral of h^-D gives a_c = M ((D+2)/2)^((D+2)/D) K^(-(D+2)/D). For D = 1 it is the limit of
`vqtheory.theory._uniform`, 9/32 K^-3.
"""

from __future__ import annotations

import numpy as np

from vqtheory.reference import cell_moment

MEASURED_SHARE = {
    2: (0.8, 0.9),
    3: (0.65, 0.8),
    4: (0.55, 0.7),
    8: (0.3, 0.5),
}  # survivors over the law, claims cube-share-*
ROUNDING = 1e-12  # a lag that exceeds the critical one by less counts as equal to it


class Cube:
    """The law of the uniform density on the unit cube in `dim` dimensions."""

    def __init__(self, dim: int) -> None:
        self.power = (dim + 2) / dim
        self.factor = cell_moment(dim) * ((dim + 2) / 2) ** self.power

    def critical_lag(self, num_codes: np.ndarray) -> np.ndarray:
        """a_c; infinite for K = 1, as a code that is alone is never lost."""
        return np.where(np.equal(num_codes, 1), np.inf, self.factor * np.asarray(num_codes, float) ** -self.power)

    def can_live(self, num_codes: np.ndarray, lag: np.ndarray) -> np.ndarray:
        """Whether a <= a_c."""
        return lag <= self.critical_lag(num_codes) * (1 + ROUNDING)
