"""FSCL, frequency-sensitive competitive learning: the more a code has won, the farther it seems.

Ahalt, Krishnamurthy, Chen & Melton, Neural Networks 3, 1990. With u_k what code k has won so far, 1 at the start, and the
fairness gamma,

    q(i) = argmin_k u_k^gamma |x_i - c_k|^2
    c_k <- c_k + (eta / B) sum_(i: q(i) = k) (x_i - c_k),     u_k <- decay u_k + n_k

for a batch at the codes and the u_k before it. A code that wins nothing has a price that falls until it wins, from any
distance. With gamma = 0 it is plain VQ. A codebook in use, or in evaluation, goes by the distance alone.

In one dimension and for many codes their density is that of the latents to the power (2 + 3 gamma) / (6 + 3 gamma), between
1/3 for plain VQ and 1 for equal usage. (Galanopoulos & Ahalt, IEEE Transactions on Neural Networks 7, 1996, for the fairness
gamma / 2 on distances that are not squared; derived in `vqtheory.claims.laws.magnification`.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._kernels.cells import by_batch, info, new_tally
from vqtheory._kernels.jit import kernel
from vqtheory._kernels.product import find_cheapest
from vqtheory._kernels.tiles import TILE, lay, measure
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import Rule, check_start, uniform_start, with_rows


@dataclass(frozen=True, repr=False)
class FSCL(Rule):
    """Online k-means with distances that grow with the code's wins.

    Parameters
    ----------
    step_size : float or schedule, default 0.05
        eta, in the units of `VQ`.
    fairness : float, default 1
        gamma, the power of the wins in a squared distance.
    decay : float, default 1
        In (0, 1], per update. 1 counts all wins, as published; under drift they are to be forgotten.
    start : {"matched", "published"}, default "matched"
        The codes given, or U(-1/K, 1/K).

    Examples
    --------
    After one batch the second code is four times as near as the first one, which has won three latents more:

    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = FSCL(step_size=0.1)
    >>> state = rule.init(np.array([[0.0], [1.5]]))
    >>> state, first = rule.advance(state, Batches(np.zeros((1, 3, 1))))
    >>> state, second = rule.advance(state, Batches(np.full((1, 3, 1), 0.6)))
    >>> first["hits"], second["hits"]
    (array([3, 0]), array([0, 3]))
    """

    step_size: Any = 0.05
    fairness: float = 1.0
    decay: float = 1.0
    start: str = "matched"

    key: ClassVar[str] = "fscl"
    memory: ClassVar[str] = "its counts of wins"
    moves_unselected: ClassVar[bool] = False
    assigns_nearest: ClassVar[bool] = False
    equivariances: ClassVar[frozenset[str]] = frozenset({"translation", "rotation", "scaling", "permutation"})

    def __post_init__(self) -> None:
        self._keep(step_size=schedules.validate("FSCL", "step_size", self.step_size, 0, above=True))
        self._keep(fairness=check.number("FSCL", "fairness", self.fairness, 0))
        self._keep(decay=check.number("FSCL", "decay", self.decay, 0, 1, above=True))
        check_start("FSCL", self.start)

    def init(self, codes: np.ndarray, seed: int = 0) -> FSCLState:
        """The state that starts from codes [K, D]."""
        codes = check.matrix("FSCL.init", "codes", codes).copy()
        if self.start == "published":
            codes = uniform_start(codes, seed, bound=1 / len(codes))
        return FSCLState(codes, np.int64(0), np.ones(len(codes), codes.dtype))

    def place(self, state: FSCLState, rows: np.ndarray, codes: np.ndarray) -> FSCLState:
        """With the mean of all wins: a new code has neither to catch up nor to be waited for."""
        state = super().place(state, rows, codes)
        return state._replace(counts=with_rows(state.counts, rows, state.counts.mean()))

    def advance(self, state: FSCLState, batches: Batches) -> tuple[FSCLState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        check.instance("FSCL.advance", "state", state, FSCLState, "a state that FSCL.init has made")
        x, weight = checked("FSCL.advance", batches, state.codes)
        steps, batch_size, _ = x.shape
        rates = (schedules.values(self.step_size, int(state.step), steps) / batch_size).astype(x.dtype)
        codes, counts, tally = state.codes.copy(), state.counts.copy(), new_tally(x, state.codes)
        numbers = (x.dtype.type(self.fairness), x.dtype.type(self.decay), by_batch(batch_size, codes), state.step)
        _advance(x, weight, rates, *numbers, lay(codes), codes, counts, *tally)
        return FSCLState(codes, state.step + steps, counts), info(tally, weight)


class FSCLState(NamedTuple):
    """Codes, updates done, and wins u."""

    codes: np.ndarray
    step: np.int64
    counts: np.ndarray


@kernel
def _advance(x, weight, rates, fairness, decay, by_product, step, tiles, codes, counts, hits, last_hit, assignment,
             distortion):  # fmt: skip
    """IN x, weight, rates [T] (eta / B), fairness, decay, whether by products, step; tiles of the codes, kept where there
    are no products; IN/OUT codes [K, D], counts [K]; OUT the tally."""
    steps, batch_size, dim = x.shape
    num_codes, pull, prices = len(codes), np.zeros_like(codes), np.empty(len(codes), x.dtype)
    distances, costs, smallest = np.empty(TILE, x.dtype), np.empty(batch_size, x.dtype), np.finfo(x.dtype).tiny
    for t in range(steps):
        _price(counts, fairness, prices)
        if by_product:
            find_cheapest(x[t], codes, prices, assignment, costs)
        else:
            _find_cheapest(x, t, tiles, prices, distances, assignment)
        for b in range(batch_size):
            k, error = assignment[b], x.dtype.type(0)
            hits[k] += 1
            last_hit[k] = step + t
            for d in range(dim):
                gap = x[t, b, d] - codes[k, d]
                error += gap * gap
                pull[k, d] += weight[t, b] * gap
            distortion[t] += weight[t, b] * error
        for k in range(num_codes):
            counts[k] = max(decay * counts[k], smallest)
        for b in range(batch_size):
            k = assignment[b]  # a code that won twice is met again with nothing left to add
            counts[k] += weight[t, b]
            for d in range(dim):
                codes[k, d] += rates[t] * pull[k, d]
                pull[k, d] = 0
                if not by_product:
                    tiles[k // TILE, d, k % TILE] = codes[k, d]


@kernel
def _find_cheapest(x, t, tiles, prices, distances, assignment):
    """The same as by products, for few codes or few samples: OUT assignment [B]; distances [64] is work."""
    for b in range(len(assignment)):
        best, least = -1, x.dtype.type(np.inf)
        for j in range(len(tiles)):
            measure(x, t, b, tiles, j, distances)
            for k in range(min(TILE, len(prices) - j * TILE)):
                value = prices[j * TILE + k] * distances[k]
                if value < least or best < 0:
                    best, least = j * TILE + k, value
        assignment[b] = best


@kernel
def _price(counts, fairness, prices):
    """OUT prices [K]: the wins over the most wins, to the power of the fairness; never so small that distances are lost."""
    most, least = counts.dtype.type(0), np.finfo(counts.dtype).tiny / np.finfo(counts.dtype).eps
    for k in range(len(counts)):
        most = max(most, counts[k])
    for k in range(len(counts)):
        share = counts[k] / most
        prices[k] = max(share if fairness == 1 else share**fairness, least)
