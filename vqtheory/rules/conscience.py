"""Conscience: a code that wins more than its fair share stands back from the next latents.

DeSieno, Proceedings of the IEEE International Conference on Neural Networks, 1988, "Adding a conscience to competitive
learning". With f_k the running share of the latents that code k has won, 1/K at the start, and a bias b, which is a length,

    q(i) = argmin_k |x_i - c_k|^2 - b^2 (1 - K f_k)
    c_k <- c_k + (eta / B) sum_(i: q(i) = k) (x_i - c_k),     f_k <- decay f_k + (1 - decay) n_k / B

for a batch at the codes and the f_k before it. In the form |x - c_k|^2 - C (1/K - f_k) the bias factor is C = K b^2. A code
that wins nothing counts as nearer by b^2 at most: one that is farther from all latents than that stays dead. With b = 0 it
is plain VQ; with b^2 far above the squared distances of latents to their codes usage is even. A codebook in use, or in
evaluation, goes by the distance alone.

Cells are those of a power diagram, which is a Voronoi diagram with one more coordinate: q(i) is the code nearest to (x_i, 0)
among (c_k, sqrt(h_k)) with h_k = b^2 K (f_k - min f). So it is found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._kernels.cells import by_batch, find_each, info, new_tally
from vqtheory._kernels.jit import kernel
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import Rule, check_start, uniform_start, with_rows


@dataclass(frozen=True, repr=False)
class Conscience(Rule):
    """Online k-means in which usage has a price.

    Parameters
    ----------
    step_size : float or schedule, default 0.05
        eta, in the units of `VQ`.
    bias : float or schedule, default 1
        b, a length in the units of the latents. Where it falls to 0 after the drift, codes end at k-means.
    decay : float, default 0.99
        In [0, 1), per update, of the running shares.
    start : {"matched", "published"}, default "matched"
        The codes given, or U(-1/K, 1/K).

    Examples
    --------
    The first code has won all, f = (0.75, 0.25), and then counts as farther away by b^2 K (f_1 - f_2) = 1:

    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = Conscience(step_size=0.1, decay=0.5)
    >>> state = rule.init(np.array([[0.0], [1.0]]))
    >>> state, first = rule.advance(state, Batches(np.array([[[0.0]]])))
    >>> state, second = rule.advance(state, Batches(np.array([[[0.1]]])))
    >>> first["hits"], second["hits"]
    (array([1, 0]), array([0, 1]))
    """

    step_size: Any = 0.05
    bias: Any = 1.0
    decay: float = 0.99
    start: str = "matched"

    key: ClassVar[str] = "conscience"
    memory: ClassVar[str] = "its running shares"
    moves_unselected: ClassVar[bool] = False
    assigns_nearest: ClassVar[bool] = False
    equivariances: ClassVar[frozenset[str]] = frozenset({"translation", "rotation", "scaling", "permutation"})
    lengths: ClassVar[tuple[str, ...]] = ("bias",)

    def __post_init__(self) -> None:
        self._keep(step_size=schedules.validate("Conscience", "step_size", self.step_size, 0, above=True))
        self._keep(bias=schedules.validate("Conscience", "bias", self.bias, 0))
        self._keep(decay=check.number("Conscience", "decay", self.decay, 0))
        if self.decay >= 1:
            raise check.fail("Conscience", "decay", "a number >= 0 and < 1", self.decay)
        check_start("Conscience", self.start)

    def init(self, codes: np.ndarray, seed: int = 0) -> ConscienceState:
        """The state that starts from codes [K, D]."""
        codes = check.matrix("Conscience.init", "codes", codes).copy()
        if self.start == "published":
            codes = uniform_start(codes, seed, bound=1 / len(codes))
        return ConscienceState(codes, np.int64(0), np.full(len(codes), 1 / len(codes), codes.dtype))

    def place(self, state: ConscienceState, rows: np.ndarray, codes: np.ndarray) -> ConscienceState:
        """With the mean of all shares: a new code is neither ahead of the others nor behind them."""
        state = super().place(state, rows, codes)
        return state._replace(shares=with_rows(state.shares, rows, state.shares.mean()))

    def advance(self, state: ConscienceState, batches: Batches) -> tuple[ConscienceState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        check.instance("Conscience.advance", "state", state, ConscienceState, "a state that Conscience.init has made")
        x, weight = checked("Conscience.advance", batches, state.codes)
        steps, batch_size, _ = x.shape
        rates = (schedules.values(self.step_size, int(state.step), steps) / batch_size).astype(x.dtype)
        biases = np.minimum(np.abs(schedules.values(self.bias, int(state.step), steps)), check.SQUARABLE).astype(x.dtype)
        lifted = np.pad(x, ((0, 0), (0, 0), (0, 1)))
        codes, shares, tally = np.pad(state.codes, ((0, 0), (0, 1))), state.shares.copy(), new_tally(x, state.codes)
        numbers = (x.dtype.type(self.decay), by_batch(batch_size, codes), state.step)
        _advance(lifted, weight, rates, biases, *numbers, codes, shares, *tally)
        return ConscienceState(codes[:, :-1].copy(), state.step + steps, shares), info(tally, weight)


class ConscienceState(NamedTuple):
    """Codes, updates done, and running shares f."""

    codes: np.ndarray
    step: np.int64
    shares: np.ndarray


@kernel
def _advance(x, weight, rates, biases, decay, by_product, step, codes, shares, hits, last_hit, assignment, distortion):
    """IN x [T, B, D + 1], weight, rates [T] (eta / B), biases [T], decay, whether by products, step; IN/OUT codes
    [K, D + 1], shares [K]; OUT the tally."""
    steps, batch_size, size = x.shape
    dim, one = size - 1, x.dtype.type(1)
    squared, won, pull = np.empty(batch_size, x.dtype), np.zeros(len(codes), x.dtype), np.zeros_like(codes)
    for t in range(steps):
        _lift(biases[t], shares, codes)
        find_each(x[t], codes, by_product, assignment, squared)
        total = x.dtype.type(0)
        for b in range(batch_size):
            k, share, error = assignment[b], weight[t, b], x.dtype.type(0)
            hits[k] += 1
            last_hit[k] = step + t
            won[k] += share
            total += share
            for d in range(dim):
                gap = x[t, b, d] - codes[k, d]
                error += gap * gap
                pull[k, d] += share * gap
            distortion[t] += share * error
        for b in range(batch_size):
            k = assignment[b]  # a code that won twice is met again with nothing left to add
            for d in range(dim):
                codes[k, d] += rates[t] * pull[k, d]
                pull[k, d] = 0
        for k in range(len(codes)):
            shares[k] = decay * shares[k] + (one - decay) * won[k] / total if total > 0 else shares[k]
            won[k] = 0


@kernel
def _lift(bias, shares, codes):
    """OUT the last column of codes: b sqrt(K (f - min f))."""
    least = shares[0]
    for k in range(1, len(shares)):
        least = min(least, shares[k])
    for k in range(len(shares)):
        codes[k, codes.shape[1] - 1] = bias * np.sqrt(len(shares) * (shares[k] - least))
