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
from vqtheory._kernels import softmax
from vqtheory._kernels.cells import add_cells, by_batch, find_each, info, new_tally
from vqtheory._kernels.jit import kernel
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
        codes, tally, by_product = state.codes.copy(), new_tally(x, state.codes), by_batch(x.shape[1], state.codes)
        work = softmax.workspace(x.shape[1], codes, 3)
        _advance(x, weight, rates.astype(x.dtype), *numbers, by_product, state.step, codes, work, *tally)
        return EntropyState(codes, state.step + len(x)), info(tally, weight)


class EntropyState(NamedTuple):
    """Codes and updates done."""

    codes: np.ndarray
    step: np.int64


@kernel
def _advance(x, weight, rates, strength, temperature, balance, by_product, step, codes, work, hits, last_hit, assignment,
             distortion):  # fmt: skip
    """IN x, weight, rates [T] (eta / B), the numbers, whether by products; IN/OUT codes [K, D]; OUT the tally."""
    squared, use, pull = np.empty(x.shape[1], x.dtype), np.empty(len(codes), x.dtype), np.empty_like(codes)
    y, z = np.empty(x.shape[1:], x.dtype), np.empty_like(codes)
    for t in range(len(x)):
        find_each(x[t], codes, by_product, assignment, squared)
        pull[:] = 0
        distortion[t] = add_cells(x[t], weight[t], codes, assignment, squared, pull, hits)
        for k in assignment:
            last_hit[k] = step + t
        mass = weight[t].sum()
        tau = temperature * distortion[t] / mass if mass > 0 else x.dtype.type(0)
        if tau > 0 and strength > 0:
            softmax.centre(x[t], weight[t], codes, tau, work, y, z)
            softmax.find_use(y, weight[t], z, True, tau, work, use)
            for k in range(len(use)):
                use[k] *= balance
            _add_entropy(y, weight[t], z, tau, strength, use, work, pull)
        for k in range(len(codes)):
            for d in range(codes.shape[1]):
                codes[k, d] += rates[t] * pull[k, d]


@kernel
def _add_entropy(y, weight, z, tau, strength, use, work, pull):
    """Added to pull [K, D]: what the entropies of a batch y [B, D] add, where `use` is gamma ln q_k."""
    size = len(work.highest)
    for first in range(0, len(y), size):
        block, scores = y[first : first + size], softmax.score(y, first, z, True, work)
        power, surprise = softmax.pairs(work, 1, *scores.shape), softmax.pairs(work, 2, *scores.shape)
        if len(block) < len(y):  # or the softmax is there
            softmax.soften(scores, tau, work, power)
        softmax.find_surprise(scores, tau, use, work, power, surprise)
        softmax.weigh(strength, weight[first:], surprise, work, power)
        softmax.add_moves(power, block, z, True, work, pull)
