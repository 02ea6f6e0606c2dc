"""Plain vector quantization: the winner moves, every other code stays.

Gradient descent on the codebook loss E|sg(x) - c_q(x)|^2 is online k-means (Lu et
al., arXiv 2602.18896; MacQueen 1967 for one sample at a time):

    c_k <- c_k + eta_t (n_k / B) (mean_k - c_k)

with n_k the number of the batch's B samples that code k wins and mean_k their mean.
A code with n_k = 0 is not touched, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._kernels.cells import Tally, by_batch, find_all, find_nearest, info, link, new_chain, new_tally, sum_cells
from vqtheory._kernels.jit import kernel
from vqtheory._kernels.product import BY_STEP, BY_WINS, Gains, follow, worthwhile
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import Rule, check_start, uniform_start, with_rows
from vqtheory.rules.trained import TrainedVQ


@dataclass(frozen=True, repr=False)
class VQ(Rule):
    """Online k-means, the codebook of a plain VQ-VAE.

    Parameters
    ----------
    step_size : float or schedule, default 0.05
        eta, the step size in units in which 1 moves a code that wins the whole batch onto
        its mean. SGD with rate lr on a mean-squared codebook loss of weight alpha is
        eta = 2 lr alpha / D.
    clock : {"step", "wins"}, default "step"
        What a schedule's argument counts: updates of the codebook, or the code's own wins.
        With "wins" the samples of a batch are taken one after the other, each by the gain
        at its code's own count, c_k <- c_k + eta(wins_k) (x - c_k), without the 1/B;
        ``VQ(harmonic(1.0), clock="wins")`` is MacQueen's rule, which leaves every code at
        the running mean of all that it has won.
    start : {"matched", "published"}, default "matched"
        The codes given, or U(-1/K, 1/K) as in the original VQ-VAE code.

    Examples
    --------
    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = VQ(step_size=0.5)
    >>> state = rule.init(np.array([[0.0], [1.0]]), seed=0)
    >>> state, info = rule.advance(state, Batches(np.array([[[0.2]], [[0.1]]])))
    >>> state.codes.ravel(), info["hits"]
    (array([0.1, 1. ]), array([2, 0]))
    """

    step_size: Any = 0.05
    clock: str = "step"
    start: str = "matched"

    key: ClassVar[str] = "vq"
    moves_unselected: ClassVar[bool] = False
    fixed_point: ClassVar[str | None] = "k-means"
    equivariances: ClassVar[frozenset[str]] = frozenset({"translation", "rotation", "scaling", "permutation"})

    def __post_init__(self) -> None:
        self._keep(step_size=schedules.validate("VQ", "step_size", self.step_size, 0, above=True))
        check.choice("VQ", "clock", self.clock, ["step", "wins"])
        check_start("VQ", self.start)

    def init(self, codes: np.ndarray, seed: int = 0) -> VQState:
        """The state that starts from codes [K, D]."""
        codes = check.matrix("VQ.init", "codes", codes).copy()
        if self.start == "published":
            codes = uniform_start(codes, seed, bound=1 / len(codes))
        return VQState(codes, np.int64(0), np.zeros(len(codes), np.int64))

    def place(self, state: VQState, rows: np.ndarray, codes: np.ndarray) -> VQState:
        """Without wins."""
        state = super().place(state, rows, codes)
        return state._replace(wins=with_rows(state.wins, rows, 0))

    def under(self, optimizer: str | None, rate: Any, momentum: float = 0.0, weight_decay: float = 0.0) -> Rule | None:
        """Adam, momentum and weight decay make it a `TrainedVQ`."""
        if optimizer == "adam" or (optimizer == "sgd" and (momentum or weight_decay)):
            return TrainedVQ().under(optimizer, rate, momentum, weight_decay)
        return super().under(optimizer, rate, momentum, weight_decay)

    def advance(self, state: VQState, batches: Batches) -> tuple[VQState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        check.instance("VQ.advance", "state", state, VQState, "a state that VQ.init has made")
        x, weight = checked("VQ.advance", batches, state.codes)
        steps, batch_size, _ = x.shape
        if self.clock == "wins":
            gains = _gains_by_wins(self.step_size, state.wins, steps * batch_size, x.dtype)
        else:
            rates = schedules.values(self.step_size, int(state.step), steps) / batch_size
            gains = Gains(BY_STEP, rates.astype(x.dtype), np.empty(0, np.int64))
        tally = new_tally(x, state.codes)
        if batch_size == 1 and worthwhile(state.codes):
            advance = _advance_one_by_one
        else:
            advance = _advance_by_batch if by_batch(batch_size, state.codes) else _advance_directly
        codes = advance(x, weight, gains, state.step, state.codes, tally)
        return VQState(codes, state.step + steps, state.wins + tally.hits), info(tally, weight)


class VQState(NamedTuple):
    """Codes, updates done, and samples won by each code so far."""

    codes: np.ndarray
    step: np.int64
    wins: np.ndarray


def _gains_by_wins(schedule: Any, wins: np.ndarray, samples: int, dtype: np.dtype) -> Gains:
    """The gains at every count that can occur in a call.

    Code k meets the counts wins_k .. wins_k + samples - 1 at most. The table is the union of
    these ranges, so that a code left far behind does not stretch it.
    """
    order = np.argsort(wins, kind="stable")
    lengths = np.append(np.minimum(np.diff(wins[order]), samples), samples)
    first = np.concatenate([[0], np.cumsum(lengths)])
    counts = np.concatenate([start + np.arange(length) for start, length in zip(wins[order], lengths, strict=True)])
    offsets = np.empty(len(wins), np.int64)
    offsets[order] = first[:-1]
    return Gains(BY_WINS, schedules.at(schedule, counts).astype(dtype), offsets)


def _advance_directly(x, weight, gains: Gains, step, codes, tally: Tally) -> np.ndarray:
    """The codes after T updates, by the direct sum alone."""
    codes_t = codes.T.copy()
    if gains.clock == BY_WINS:
        _advance_by_wins(x, weight, gains.rates, gains.offsets, step, codes_t, *tally)
    else:
        _advance(x, weight, gains.rates, step, codes_t, *tally)
    return codes_t.T.copy()


def _advance_one_by_one(x, weight, gains: Gains, step, codes, tally: Tally) -> np.ndarray:
    """The codes after T updates of one sample each, found by products over blocks of updates."""
    codes, winners = codes.copy(), np.empty(len(x), np.int64)
    follow(x[:, 0], weight[:, 0], gains, tally.hits, codes, winners, tally.distortion)
    tally.distortion[:] *= weight[:, 0]
    np.maximum.at(tally.last_hit, winners, step + np.arange(len(x)))
    tally.assignment[:] = winners[-1:]
    return codes


def _advance_by_batch(x, weight, gains: Gains, step, codes, tally: Tally) -> np.ndarray:
    """The codes after T updates, each batch assigned by products."""
    codes, chain = codes.copy(), new_chain(len(codes), x.shape[1])
    for t in range(len(x)):
        tally.assignment[:], squared = find_all(x[t], codes)
        _move(x[t], weight[t], gains, t, tally.assignment, squared, chain, codes, tally.hits, tally.distortion[t:])
        tally.last_hit[tally.assignment] = step + t
    return codes


@kernel
def _advance(x, weight, rates, step, codes_t, hits, last_hit, assignment, distortion):
    """IN x, weight, rates [T] (eta / B), step; IN/OUT codes_t; OUT the tally."""
    steps, batch_size, dim = x.shape
    distances = np.empty(codes_t.shape[1], x.dtype)
    pull = np.zeros((codes_t.shape[1], dim), x.dtype)
    for t in range(steps):
        distortion[t] = sum_cells(x[t], weight[t], codes_t, distances, pull, hits, assignment)
        for b in range(batch_size):
            k = assignment[b]  # a code that won twice is met again with nothing left to add
            last_hit[k] = step + t
            for d in range(dim):
                codes_t[d, k] += rates[t] * pull[k, d]
                pull[k, d] = 0


@kernel
def _advance_by_wins(x, weight, rates, offsets, step, codes_t, hits, last_hit, assignment, distortion):
    """IN x, weight, rates (gain by count), offsets [K] (in rates), step; IN/OUT codes_t; OUT the tally."""
    steps, batch_size, dim = x.shape
    distances = np.empty(codes_t.shape[1], x.dtype)
    for t in range(steps):
        error = codes_t.dtype.type(0)
        for b in range(batch_size):
            k = find_nearest(x[t, b], codes_t, distances)
            assignment[b] = k
            error += weight[t, b] * distances[k]
        distortion[t] = error
        for b in range(batch_size):
            k = assignment[b]
            gain = weight[t, b] * rates[offsets[k] + hits[k]]
            for d in range(dim):
                codes_t[d, k] += gain * (x[t, b, d] - codes_t[d, k])
            hits[k] += 1
            last_hit[k] = step + t


@kernel
def _move(x, weight, gains, update, assignment, squared, chain, codes, hits, distortion):
    """One batch that has been assigned: IN x [B, D], weight, gains, the update; IN/OUT codes [K, D], hits; OUT distortion;
    chain is work. A code's samples are summed in the order of the batch."""
    pull, by_wins = np.empty(x.shape[1], x.dtype), gains.clock == BY_WINS
    link(assignment, chain)
    for first in range(len(x)):
        distortion[0] += weight[first] * squared[first]
        k, b = assignment[first], first
        if chain.first[k] != first:
            continue
        pull[:] = 0
        while b >= 0:
            if by_wins:
                gain = weight[b] * gains.rates[gains.offsets[k] + hits[k]]
                for d in range(x.shape[1]):
                    codes[k, d] += gain * (x[b, d] - codes[k, d])
            else:
                for d in range(x.shape[1]):
                    pull[d] += weight[b] * (x[b, d] - codes[k, d])
            hits[k] += 1
            b = chain.next[b]
        if not by_wins:
            for d in range(x.shape[1]):
                codes[k, d] += gains.rates[update] * pull[d]
        chain.first[k] = -1
