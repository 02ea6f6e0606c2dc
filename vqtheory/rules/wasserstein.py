"""Wasserstein: the codes' mean and covariance are drawn to the latents', and then a rule takes its own step.

Wasserstein-VQ (arXiv 2506.15078): beside the codebook loss codes descend the squared Wasserstein distance of
two Gaussians, one with the codes' mean and covariance (mu_c, V_c), one with the latents' (mu, V; running averages with the
decay gamma, `vqtheory.rules.framed`, in place of a queue of latents). Its gradient in c_k is 2/K times the way to the image
of c_k under the optimal transport from one to the other (derived here), so that, with a pull w for all of the factors,

    c_k <- c_k + w (mu + T (c_k - mu_c) - c_k),    T = V_c^(-1/2) (V_c^(1/2) V V_c^(1/2))^(1/2) V_c^(-1/2)

w = 1 makes both moments the same at once. Every code moves, chosen or not, so that an affine drift is followed within 1 / w
updates; of anything beyond two moments the pull knows nothing. The published loss is the distance itself, whose gradient
has the same length from near and far and does not come to rest; here it is the square.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vqtheory import protocols
from vqtheory._base import check
from vqtheory.rules.framed import Framed, Moments, Motion, rounding_of, transport_map


@dataclass(frozen=True, repr=False)
class Wasserstein(Framed):
    """Any rule with codes of its own, its codebook drawn to the mean and covariance of the latents.

    Codes move from when the running average holds 10 D latents. Directions in which the codes do not spread stay without.
    What the pull holds against the rule's own step keeps the codebook off k-means, whose codes spread less than the latents
    by the distortion.

    Parameters
    ----------
    rule : rule
        Any rule with codes of its own (not a map rule, nor HyperVQ), but those that pass displacements on or compare
        latents elsewhere.
    pull : float, default 0.1
        w, in (0, 1]. SGD with rate lr on gamma' times the squared distance is w = 2 lr gamma' / K.
    decay : float, default 0.99
        gamma in [0, 1), per update. 0 takes each batch's own moments.

    Examples
    --------
    Codes that win nothing come to have the mean 5 and the variance 4/3 of the latents:

    >>> from vqtheory.protocols import Batches
    >>> from vqtheory.rules import VQ
    >>> rule, cloud = Wasserstein(VQ(step_size=1e-9), pull=1.0, decay=0.0), 5 + np.linspace(-2, 2, 101)
    >>> state = rule.init(np.array([[-1.0], [0.0], [1.0]]))
    >>> state, _ = rule.advance(state, Batches(np.array([cloud[:, None]] * 2)))
    >>> state.codes.ravel().round(3)
    array([3.572, 5.   , 6.428])
    """

    rule: protocols.Rule
    pull: float = 0.1
    decay: Any = 0.99

    def __post_init__(self) -> None:
        self._check_frame()
        self._keep(pull=check.number("Wasserstein", "pull", self.pull, 0, 1, above=True))

    @property
    def equivariances(self) -> frozenset[str]:
        """The rule's own."""
        return self._equivariances_without()

    def motion(self, before: Moments, after: Moments, codes: Moments) -> Motion:
        """w of the way from the codes' moments to the latents'."""
        pull, whole = codes.mean.dtype.type(self.pull), np.eye(len(codes.mean), dtype=codes.mean.dtype)
        factor = transport_map(codes.covariance, after.covariance, rounding_of(codes.mean))
        image = codes.mean + pull * (after.mean - codes.mean)
        return Motion(codes.mean, (1 - pull) * whole + pull * factor, image)
