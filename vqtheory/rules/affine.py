"""Affine: codes kept in a frame that goes with the mean and the spread of the latents, in which a rule takes its steps.

After the affine re-parameterization of Huh et al. (arXiv 2305.08842): codes that are one affine function of codes in a
normalised frame all move when the frame does. Each batch moves the running mean mu and covariance V of the latents, with the
decay gamma (`vqtheory.rules.framed`), and every code, chosen or not, goes with them before the rule takes its own step among
the latents as they are:

    c_k <- mu' + F (c_k - mu)

    per="scalar"       F = s' / s,              s^2 the mean of the diagonal of V
    per="dimension"    F = diag(s'_d / s_d),    s_d^2 the diagonal of V
    per="covariance"   F = V^(-1/2) (V^(1/2) V' V^(1/2))^(1/2) V^(-1/2), the optimal-transport map, which turns nothing

For a rule that commutes with affine maps, once the winners are known, as VQ and EMA do, this is the rule in the frame.

Two other forms are not here. In the published one scale and bias are learned, (1 + l s) c_k + l b with one s and one b [D]
for all codes and the factor l ("affine_lr"). The one of vector-quantize-pytorch has running statistics of the codes, too,
and compares latents with mu + (c_k - mu_c) s / s_c: codes have the mean and the spread of the latents from the first batch
on. Here they keep where they start in relation to the latents: a start that is elsewhere, or too wide, stays so until the
rule has changed it.

What it follows and what not (derived here). All moves add up to one, from the frame at the start to the frame now: the noise
of batches does not add up. Under a steady translation v the frame lags by v gamma / (1 - gamma), in growth likewise, and
then goes at the cloud's own speed: a code stays behind the cloud by at most that lag, where plain VQ stays behind without
bound. (V has v^2 gamma / (1 - gamma)^2 of the drift itself in it: a lag above the spread stretches the codebook.) A change
of shape that the frame does not have, as a strip that turns in a scalar frame, leaves the codes to the rule.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vqtheory import protocols
from vqtheory._base import check
from vqtheory.rules.base import declared
from vqtheory.rules.framed import Framed, Moments, Motion, rounding_of, transport_map

KINDS = ("scalar", "dimension", "covariance")


@dataclass(frozen=True, repr=False)
class Affine(Framed):
    """Any rule with codes of its own, its codebook carried by the mean and the spread of the latents.

    Its state is the rule's with `frame_mean` [D], `frame_covariance` [D, D], and `frame_batches` and `frame_weight`, the
    batches and the weight of latents in their average. The codes go with the frame from when that weight is 10, with
    per="covariance" 10 D: a spread of a few latents may be as small as one likes, and codes would be blown up by it.
    Directions in which the latents do not spread, by more than rounding, are left as they are.

    Parameters
    ----------
    rule : rule
        Any rule with codes of its own (not a map rule, nor HyperVQ), but those that pass displacements on or compare
        latents elsewhere.
    per : {"scalar", "dimension", "covariance"}, default "dimension"
        What of the spread the frame has: one number, one for each dimension, or all of it.
    decay : float, default 0.99
        gamma in [0, 1), per update. 0 follows each batch's own mean and spread, without a lag.

    Examples
    --------
    The cloud moves by 5 and doubles in size; the code at 2, which wins nothing, goes with it:

    >>> from vqtheory.protocols import Batches
    >>> from vqtheory.rules import VQ
    >>> cloud = np.linspace(-1, 1, 12).reshape(1, 12, 1)
    >>> rule = Affine(VQ(step_size=1e-9), decay=0.0)
    >>> state = rule.init(np.array([[0.0], [0.5], [2.0]]))
    >>> state, _ = rule.advance(state, Batches(np.concatenate([cloud, 5 + 2 * cloud])))
    >>> state.codes.ravel().round(6)
    array([5., 6., 9.])
    """

    rule: protocols.Rule
    per: str = "dimension"
    decay: Any = 0.99

    def __post_init__(self) -> None:
        self._check_frame()
        check.choice("Affine", "per", self.per, KINDS)

    @property
    def _of_covariance(self) -> bool:  # type: ignore[override]
        return self.per == "covariance"

    @property
    def fixed_point(self) -> str | None:
        """The rule's own, where the frame rests."""
        own = declared(self.rule, "fixed_point")
        return own if own == "k-means" else None  # a limit is one of a field of that rule

    @property
    def equivariances(self) -> frozenset[str]:
        """The rule's own; but a spread of each dimension knows the axes."""
        return self._equivariances_without(*(["rotation"] if self.per == "dimension" else []))

    def motion(self, before: Moments, after: Moments, codes: Moments) -> Motion:
        """By which all codes go with the frame."""
        factor = self._factor(before.covariance, after.covariance, rounding_of(after.mean))
        return Motion(before.mean, factor, after.mean)

    def _factor(self, before: np.ndarray, after: np.ndarray, rounding: float) -> np.ndarray:
        """F [D, D] from one covariance to the next."""
        if self.per == "covariance":
            return transport_map(before, after, rounding)
        variances = np.array([np.diag(before), np.diag(after)])
        if self.per == "scalar":
            variances[:] = variances.mean(axis=1, keepdims=True)
        resolved = (variances > rounding).all(axis=0)
        return np.diag(np.sqrt(np.where(resolved, variances[1], 1) / np.where(resolved, variances[0], 1)))
