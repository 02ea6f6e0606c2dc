"""NSVQ, non-stationary vector quantization: drift reaches the codes that were not chosen.

Lu et al., arXiv 2602.18896. (Not noise substitution in vector quantization, 2022, of the same
name.) The winner moves as in plain VQ; every other code j moves with it by a kernel weight of
bandwidth sigma_t, which shrinks over training, after the drift:

    gaussian   c_j <- c_j + (eta / B) sum_i w_ij (x_i - c_j),
               w_ij = kappa exp(-|x_i - c_j|^2 / 2 sigma^2), the winner's 1   (the paper's figure: kappa = 1/2)
    softmax    the same with w_ij = min(1, kappa K softmax_j(-|x_i - c_j|^2 / tau)), tau = sigma^2
               (the published code: kappa = 0.01)
    propagate  c_j <- c_j + (eta / B) sum_(i won by j) (x_i - c_j) + kappa sum_i w_ij d_i / sum_i w_ij,
               w_ij = exp(-|x_i - c_j|^2 / 2 sigma^2), with d_i the encoder's own move of sample i
               (after the paper's supplement, normalised so that a rigid translation is passed on
               whole at kappa = 1; a code that no sample reaches stays)

All sums are taken at the codes before the update. As sigma -> 0 what is left is online k-means.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import _check, schedules
from vqtheory._batches import Batches, checked
from vqtheory._config import Configured
from vqtheory._jit import inlined_kernel, kernel
from vqtheory.assign import find_nearest, info, new_tally
from vqtheory.rules._start import check_start, uniform_start

_STRENGTH = {"gaussian": 0.5, "softmax": 0.01, "propagate": 1.0}


@dataclass(frozen=True, repr=False)
class NSVQ(Configured):
    """Plain VQ with a kernel that moves the codes that did not win.

    Parameters
    ----------
    step_size : float or schedule, default 0.05
        eta, in the units of `VQ`. A gain eta * (mean weight) of 2 or more diverges.
    bandwidth : float or schedule, default 1.0
        sigma, a length in the units of the latents; tau = sigma^2 in the softmax form. It has to
        reach over the cloud while the encoder drifts, of the order of spread * sqrt(D), and fall
        below the spacing of the codes afterwards: one that never shrinks contracts the codebook.
    strength : float, optional
        kappa; by default 0.5 (gaussian), 0.01 (softmax), 1 (propagate).
    form : {"gaussian", "softmax", "propagate"}, default "gaussian"
    start : {"matched", "published"}, default "matched"
        The codes given, or U(-1/K, 1/K) as in the published code.

    Examples
    --------
    A code that wins nothing follows by half the winner's weight where the kernel is wide:

    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = NSVQ(step_size=0.5, bandwidth=1e6)
    >>> state = rule.init(np.array([[0.0], [-1.0]]))
    >>> rule.advance(state, Batches(np.array([[[1.0]]])))[0].codes.ravel().round(9)
    array([ 0.5, -0.5])
    """

    step_size: Any = 0.05
    bandwidth: Any = 1.0
    strength: float | None = None
    form: str = "gaussian"
    start: str = "matched"

    moves_unselected: ClassVar[bool] = True
    fixed_point: ClassVar[str | None] = "k-means as bandwidth -> 0"
    equivariances: ClassVar[frozenset[str]] = frozenset({"translation", "rotation", "scaling", "permutation"})
    lengths: ClassVar[tuple[str, ...]] = ("bandwidth",)

    def __post_init__(self) -> None:
        schedules.check("NSVQ", "step_size", self.step_size, 0, above=True)
        schedules.check("NSVQ", "bandwidth", self.bandwidth, 0, above=True)
        if self.strength is not None:
            _check.real("NSVQ", "strength", self.strength, 0)
        _check.choice("NSVQ", "form", self.form, _STRENGTH)
        check_start("NSVQ", self.start)

    @property
    def needs_displacement(self) -> bool:
        """Only the propagate form is told how far the encoder moved each sample."""
        return self.form == "propagate"

    @property
    def tracks_translation(self) -> bool:
        """A rigid translation is passed on whole, while a step of it stays within the kernel's reach, 38 bandwidths."""
        return self.form == "propagate" and self._strength == 1

    @property
    def _strength(self) -> float:
        return _STRENGTH[self.form] if self.strength is None else self.strength

    def init(self, codes: np.ndarray, seed: int = 0) -> NSVQState:
        """The state that starts from codes [K, D]."""
        codes = _check.matrix("NSVQ.init", "codes", codes).copy()
        if self.start == "published":
            codes = uniform_start(codes, seed, bound=1 / len(codes))
        return NSVQState(codes, np.int64(0))

    def advance(self, state: NSVQState, batches: Batches) -> tuple[NSVQState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]; `ValueError` if the propagate form gets no displacement."""
        x, weight = checked("NSVQ.advance", batches, state.codes)
        steps, batch_size, _ = x.shape
        rates = (schedules.values(self.step_size, int(state.step), steps) / batch_size).astype(x.dtype)
        scales = self._scales(int(state.step), steps, x.dtype)
        codes_t, tally = state.codes.T.copy(), new_tally(x, state.codes)
        strength = x.dtype.type(self._strength)
        if self.form == "propagate":
            moved = _displacement(batches)
            _propagate(x, weight, moved, rates, scales, strength, state.step, codes_t, *tally)
        else:
            softmax = self.form == "softmax"
            _attract(x, weight, rates, scales, strength, softmax, state.step, codes_t, *tally)
        return NSVQState(codes_t.T.copy(), state.step + steps), info(tally, batches)

    def _scales(self, start: int, steps: int, dtype: np.dtype) -> np.ndarray:
        """What squared distances are multiplied with, -1 / 2 sigma^2 or -1 / tau, [T].

        Finite however narrow the kernel, so that the winner's distance of 0 keeps its weight of 1.
        """
        squares = (1.0 if self.form == "softmax" else 2.0) * schedules.values(self.bandwidth, start, steps) ** 2
        return (-1 / np.maximum(squares, np.finfo(dtype).tiny)).astype(dtype)


class NSVQState(NamedTuple):
    """Codes and updates done."""

    codes: np.ndarray
    step: np.int64


def _displacement(batches: Batches) -> np.ndarray:
    """The samples' own moves [T, B, D]."""
    if batches.displacement is None or batches.displacement.shape != batches.x.shape:
        raise ValueError("NSVQ(form='propagate') needs batches with a displacement [T, B, D] of the shape of the latents.")
    moved = np.ascontiguousarray(batches.displacement, batches.x.dtype)
    return _check.finite("NSVQ.advance", "displacement", moved)


@inlined_kernel
def weigh_gaussian(distances, scale, strength, weights):
    """OUT weights [K] = kappa exp(-distances / 2 sigma^2), scale = -1 / 2 sigma^2."""
    for k in range(len(distances)):
        weights[k] = strength * np.exp(scale * distances[k])


@inlined_kernel
def weigh_softmax(distances, scale, strength, closest, weights):
    """OUT weights [K] = min(1, kappa K softmax(-distances / sigma^2)), scale = -1 / sigma^2."""
    total = distances.dtype.type(0)
    for k in range(len(distances)):
        weights[k] = np.exp(scale * (distances[k] - closest))
        total += weights[k]
    for k in range(len(distances)):
        weights[k] = min(distances.dtype.type(1), strength * len(distances) * weights[k] / total)


@kernel
def _attract(x, weight, rates, scales, strength, softmax, step, codes_t, hits, last_hit, assignment, distortion):
    """IN x, weight, rates [T] (eta / B), scales [T], step; IN/OUT codes_t [D, K]; OUT the tally."""
    steps, batch_size, dim = x.shape
    num_codes = codes_t.shape[1]
    distances, weights = np.empty(num_codes, x.dtype), np.empty(num_codes, x.dtype)
    pull_t = np.empty((dim, num_codes), x.dtype)
    for t in range(steps):
        pull_t[:] = 0
        for b in range(batch_size):
            winner = find_nearest(x[t, b], codes_t, distances)
            if softmax:
                weigh_softmax(distances, scales[t], strength, distances[winner], weights)
            else:
                weigh_gaussian(distances, scales[t], strength, weights)
            weights[winner] = 1
            for d in range(dim):
                for k in range(num_codes):
                    pull_t[d, k] += weight[t, b] * weights[k] * (x[t, b, d] - codes_t[d, k])
            distortion[t] += weight[t, b] * distances[winner]
            assignment[b] = winner
            hits[winner] += 1
            last_hit[winner] = step + t
        for d in range(dim):
            for k in range(num_codes):
                codes_t[d, k] += rates[t] * pull_t[d, k]


@kernel
def _propagate(x, weight, moved, rates, scales, strength, step, codes_t, hits, last_hit, assignment, distortion):
    """As `_attract`, with the samples' moves [T, B, D]."""
    steps, batch_size, dim = x.shape
    num_codes = codes_t.shape[1]
    distances, weights = np.empty(num_codes, x.dtype), np.empty(num_codes, x.dtype)
    total, passed_t = np.empty(num_codes, x.dtype), np.empty((dim, num_codes), x.dtype)
    pull = np.zeros((num_codes, dim), x.dtype)
    for t in range(steps):
        total[:] = 0
        passed_t[:] = 0
        for b in range(batch_size):
            winner = find_nearest(x[t, b], codes_t, distances)
            weigh_gaussian(distances, scales[t], weight[t, b], weights)
            for k in range(num_codes):
                total[k] += weights[k]
            for d in range(dim):
                pull[winner, d] += weight[t, b] * (x[t, b, d] - codes_t[d, winner])
                for k in range(num_codes):
                    passed_t[d, k] += weights[k] * moved[t, b, d]
            distortion[t] += weight[t, b] * distances[winner]
            assignment[b] = winner
            hits[winner] += 1
            last_hit[winner] = step + t
        for d in range(dim):
            for k in range(num_codes):
                if total[k] > 0:
                    codes_t[d, k] += strength * (passed_t[d, k] / total[k])
                codes_t[d, k] += rates[t] * pull[k, d]
                pull[k, d] = 0
