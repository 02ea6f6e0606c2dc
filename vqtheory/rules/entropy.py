"""Entropy-regularised vector quantization: sharp assignments of each latent, and an even use of codes by the batch.

The entropy loss of lookup-free quantization (Yu et al., arXiv 2310.05737) for codes that are parameters. With d_ik =
|x_i - c_k|^2, e = mean_i min_k d_ik, tau the temperature times e, p_ik = softmax_k(-d_ik / tau), H_i the entropy of p_i, and
q_k = mean_i p_ik, codes descend E min_k d_ik / 2 + lambda e (mean_i H_i - gamma H(q)), e and tau as numbers (derived here):

    u_ik = p_ik [ln p_ik + H_i - gamma (ln q_k - sum_j p_ij ln q_j)]
    c_k <- c_k + (eta / B) [ sum_(i won by k) (x_i - c_k) + (2 lambda / temperature) sum_i u_ik (x_i - c_k) ]

A code that is used little is drawn to the latents, by a weight of p_ik: it is 0 in floating point beyond 745 tau (88 in
float32) from the winner's squared distance, and such a code is not brought back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._kernels.cells import find_nearest, info, new_tally, sum_cells
from vqtheory._kernels.jit import kernel
from vqtheory._kernels.softmax import soften
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import Rule, check_start, uniform_start


@dataclass(frozen=True, repr=False)
class EntropyVQ(Rule):
    """Online k-means with an entropy loss.

    Parameters
    ----------
    step_size : float or schedule, default 0.05
        eta, in the units of `VQ`.
    strength : float, default 0.1
        lambda, over the batch's own distortion.
    temperature : float, default 1
        tau over the batch's own distortion.
    balance : float, default 1
        gamma, the weight of the batch's entropy over that of each latent.
    start : {"matched", "published"}, default "matched"
        As of `VQ`.

    Examples
    --------
    The code at 3 wins nothing, and is drawn to the latents:

    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = EntropyVQ(step_size=0.5, strength=1.0)
    >>> state = rule.init(np.array([[0.0], [3.0]]))
    >>> rule.advance(state, Batches(np.array([[[-1.0], [1.0], [1.0]]])))[0].codes.ravel().round(3)
    array([0.154, 2.975])
    """

    step_size: Any = 0.05
    strength: float = 0.1
    temperature: float = 1.0
    balance: float = 1.0
    start: str = "matched"

    key: ClassVar[str] = "entropy"
    fixed_point: ClassVar[str | None] = "k-means as strength -> 0"
    equivariances: ClassVar[frozenset[str]] = frozenset({"translation", "rotation", "scaling", "permutation"})

    def __post_init__(self) -> None:
        owner = "EntropyVQ"
        self._keep(
            step_size=schedules.validate(owner, "step_size", self.step_size, 0, above=True),
            strength=check.number(owner, "strength", self.strength, 0),
            temperature=check.temperature(owner, "temperature", self.temperature),
            balance=check.number(owner, "balance", self.balance, 0),
        )
        check_start(owner, self.start)

    def init(self, codes: np.ndarray, seed: int = 0) -> EntropyState:
        """The state that starts from codes [K, D]."""
        codes = check.matrix("EntropyVQ.init", "codes", codes).copy()
        if self.start == "published":
            codes = uniform_start(codes, seed, bound=1 / len(codes))
        return EntropyState(codes, np.int64(0))

    def advance(self, state: EntropyState, batches: Batches) -> tuple[EntropyState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        check.instance("EntropyVQ.advance", "state", state, EntropyState, "a state that EntropyVQ.init has made")
        x, weight = checked("EntropyVQ.advance", batches, state.codes)
        rates = schedules.values(self.step_size, int(state.step), len(x)) / x.shape[1]
        with np.errstate(over="ignore"):
            numbers = (
                x.dtype.type(value) for value in (2 * self.strength / self.temperature, self.temperature, self.balance)
            )
        codes_t, tally = state.codes.T.copy(), new_tally(x, state.codes)
        _advance(x, weight, rates.astype(x.dtype), *numbers, state.step, codes_t, *tally)
        return EntropyState(codes_t.T.copy(), state.step + len(x)), info(tally, weight)


class EntropyState(NamedTuple):
    """Codes and updates done."""

    codes: np.ndarray
    step: np.int64


@kernel
def _advance(x, weight, rates, strength, temperature, balance, step, codes_t, hits, last_hit, assignment, distortion):
    """IN x, weight, rates [T] (eta / B), the numbers; IN/OUT codes_t [D, K]; OUT the tally."""
    dim, num_codes = codes_t.shape
    distances, share = np.empty(num_codes, x.dtype), np.empty(num_codes, x.dtype)
    used, pull = np.empty(num_codes, x.dtype), np.empty((num_codes, dim), x.dtype)
    for t in range(len(x)):
        pull[:] = 0
        distortion[t] = sum_cells(x[t], weight[t], codes_t, distances, pull, hits, assignment)
        for k in assignment:
            last_hit[k] = step + t
        mass = weight[t].sum()
        tau = temperature * distortion[t] / mass if mass > 0 else x.dtype.type(0)
        if tau > 0 and strength > 0:
            used[:] = 0
            for b in range(x.shape[1]):
                soften(distances, find_nearest(x[t, b], codes_t, distances), -tau, share)
                for k in range(num_codes):
                    used[k] += weight[t, b] / mass * share[k]
            for k in range(num_codes):
                used[k] = balance * np.log(used[k]) if used[k] > 0 else x.dtype.type(0)
            for b in range(x.shape[1]):
                soften(distances, find_nearest(x[t, b], codes_t, distances), -tau, share)
                mean = x.dtype.type(0)
                for k in range(num_codes):
                    if share[k] > 0:
                        mean += share[k] * (np.log(share[k]) - used[k])
                for k in range(num_codes):
                    if share[k] > 0:
                        gain = strength * weight[t, b] * share[k] * (np.log(share[k]) - used[k] - mean)
                        for d in range(dim):
                            pull[k, d] += gain * (x[t, b, d] - codes_t[d, k])
        for k in range(num_codes):
            for d in range(dim):
                codes_t[d, k] += rates[t] * pull[k, d]
