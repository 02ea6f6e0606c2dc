"""Neural gas: every code follows every latent, by its rank among the codes and not by its distance.

Martinetz, Berkovich & Schulten, IEEE Transactions on Neural Networks 4, 1993, section II. With rho_ik the number of codes
that are nearer to latent i than code k is,

    c_k <- c_k + (eta / B) sum_i exp(-rho_ik / lambda) (x_i - c_k)

at the codes before the update. The nearest code has rank 0 and moves as in plain VQ. Ranks know no length: the second
nearest code moves by exp(-1 / lambda) of the way from any distance. As lambda -> 0 online k-means is left.

The published runs take one latent per update and anneal both numbers, lambda from 10 to 0.01 and eta from 0.5 to 0.005.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._kernels.cells import by_batch, info, new_tally
from vqtheory._kernels.jit import kernel
from vqtheory._kernels.product import BLOCK, CHUNK, four_squares, new_proposals, propose
from vqtheory._kernels.tiles import TILE, lay, measure, relay
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import Rule, check_start, uniform_start

FEW = 64  # ranks up to which a list is kept in order while the codes are met
LARGE, SHARE = 2**14, 32  # numbers in a codebook, and codes for each rank, from which a product is worth its preparation


@dataclass(frozen=True, repr=False)
class NeuralGas(Rule):
    """Online k-means with a neighbourhood of ranks.

    Parameters
    ----------
    step_size : float or schedule, default 0.05
        eta, in the units of `VQ`.
    range : float or schedule, default 1
        lambda, the neighbourhood range, in ranks. One that does not shrink contracts the codebook; one that shrinks is to
        do so after the drift, since then the codes that win nothing follow no more: ``exponential(10.0, half_life=500)``.
    start : {"matched", "published"}, default "matched"
        The codes given, or U(-1/K, 1/K).

    Examples
    --------
    The second code follows by 1/e of the first one's step, far as it is:

    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = NeuralGas(step_size=0.5)
    >>> state = rule.init(np.array([[0.0], [-1e6]]))
    >>> rule.advance(state, Batches(np.array([[[1.0]]])))[0].codes.ravel().round(1)
    array([ 5.000000e-01, -8.160601e+05])
    """

    step_size: Any = 0.05
    range: Any = 1.0
    start: str = "matched"

    key: ClassVar[str] = "neural-gas"
    fixed_point: ClassVar[str | None] = "k-means as range -> 0"
    equivariances: ClassVar[frozenset[str]] = frozenset({"translation", "rotation", "scaling", "permutation"})

    def __post_init__(self) -> None:
        self._keep(step_size=schedules.validate("NeuralGas", "step_size", self.step_size, 0, above=True))
        self._keep(range=schedules.validate("NeuralGas", "range", self.range, 0, above=True))
        check_start("NeuralGas", self.start)

    def init(self, codes: np.ndarray, seed: int = 0) -> NeuralGasState:
        """The state that starts from codes [K, D]."""
        codes = check.matrix("NeuralGas.init", "codes", codes).copy()
        if self.start == "published":
            codes = uniform_start(codes, seed, bound=1 / len(codes))
        return NeuralGasState(codes, np.int64(0))

    def advance(self, state: NeuralGasState, batches: Batches) -> tuple[NeuralGasState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        check.instance("NeuralGas.advance", "state", state, NeuralGasState, "a state that NeuralGas.init has made")
        x, weight = checked("NeuralGas.advance", batches, state.codes)
        steps, batch_size, _ = x.shape
        rates = (schedules.values(self.step_size, int(state.step), steps) / batch_size).astype(x.dtype)
        ranges = schedules.values(self.range, int(state.step), steps)
        codes, tally = state.codes.copy(), new_tally(x, state.codes)
        most = len(codes) // SHARE if codes.size >= LARGE and by_batch(batch_size, codes) else 0
        _advance(x, weight, rates, ranges, most, state.step, lay(codes), codes, *tally)
        return NeuralGasState(codes, state.step + steps), info(tally, weight)


class NeuralGasState(NamedTuple):
    """Codes and updates done."""

    codes: np.ndarray
    step: np.int64


@kernel
def _advance(x, weight, rates, ranges, most, step, tiles, codes, hits, last_hit, assignment, distortion):
    """IN x, weight, rates [T] (eta / B), ranges [T], the most ranks that are found by products, step; tiles of the codes;
    IN/OUT codes [K, D]; OUT the tally."""
    steps, batch_size, dim = x.shape
    num_codes, pull, none = len(codes), np.zeros_like(codes), np.empty(0, x.dtype)
    candidates = np.empty(num_codes if most > 0 else 0, np.int64)
    distances = np.empty(len(tiles) * TILE, x.dtype)
    least = np.log(np.finfo(x.dtype).eps / 2)  # a weight below is lost in the rounding of the winner's
    for t in range(steps):
        reach = int(min(-least * ranges[t], num_codes - 1)) + 1 if ranges[t] > 0 else 1
        fall = np.ones(reach)
        for rank in range(1, reach):
            fall[rank] = np.exp(-rank / ranges[t])
        proposed = reach <= most
        if proposed:
            proposals, cuts = new_proposals(x[t], codes, none, BLOCK), none
        for b in range(batch_size):
            if proposed:
                if b % BLOCK == 0:
                    propose(x[t, b : b + BLOCK], codes, proposals)
                    cuts = _find_cuts(proposals.chunks, reach + 1)
                near = _nearest_proposed(x[t], b, codes, reach, cuts[b % BLOCK], proposals, candidates, distances)
            else:
                for j in range(len(tiles)):
                    measure(x, t, b, tiles, j, distances[j * TILE : (j + 1) * TILE])
                near = _nearest_few(distances[:num_codes], reach)
            winner = near[0]
            hits[winner] += 1
            last_hit[winner] = step + t
            assignment[b] = winner
            distortion[t] += weight[t, b] * distances[winner]
            rank = 0
            for i in range(len(near)):
                k = near[i]
                if i > 0 and distances[k] > distances[near[i - 1]]:
                    rank = i
                share = weight[t, b] * x.dtype.type(fall[rank])
                for d in range(dim):
                    pull[k, d] += share * (x[t, b, d] - codes[k, d])
        for k in range(num_codes):
            for d in range(dim):
                codes[k, d] += rates[t] * pull[k, d]
                pull[k, d] = 0
        if t + 1 < steps:
            relay(codes, tiles)


@kernel
def _find_cuts(chunks, count):
    """The count-th least bound of each sample [b], of chunks [K / 4, b]; infinite where there are fewer."""
    size = chunks.shape[1]
    least, value = np.full((count, size), np.inf, chunks.dtype), np.empty(size, chunks.dtype)
    for j in range(len(chunks)):
        value[:] = chunks[j]
        for i in range(count):
            for s in range(size):
                lower = min(least[i, s], value[s])
                value[s] = max(least[i, s], value[s])
                least[i, s] = lower
    return least[count - 1]


@kernel
def _nearest_proposed(x, b, codes, count, cut, proposals, candidates, distances):
    """`_nearest_few` of sample b, whose block is proposed; OUT distances [K], of the codes that may be among them.

    They are the codes of all chunks with a bound up to the cut, which is raised where the count-th may lie beyond.
    """
    slack, chunks, squared = proposals.slack[b % BLOCK], proposals.chunks, np.empty_like(distances)
    while True:
        size = 0
        for j in range(len(chunks)):
            if chunks[j, b % BLOCK] > cut:
                continue
            four = four_squares(x, b, codes, CHUNK * j, proposals.squares)
            for i in range(min(CHUNK, len(codes) - CHUNK * j)):
                candidates[size], squared[size], distances[CHUNK * j + i] = CHUNK * j + i, four[i], four[i]
                size += 1
        near = _nearest_few(squared[:size], count)
        farthest = squared[near[count - 1]] + slack
        if not farthest > cut:
            return candidates[near]
        cut = farthest


@kernel
def _nearest_few(distances, count):
    """The codes that have fewer than `count` nearer ones, in the order of their distances [K], equal ones as they are.

    A few are kept in a sorted list while all are met once; many are cheaper to sort.
    """
    if count > FEW:
        order = np.argsort(distances, kind="mergesort")
        return order[: np.searchsorted(distances[order], distances[order[count - 1]], side="right")]
    near, size, limit = np.empty(len(distances), np.int64), 0, np.inf
    for k in range(len(distances)):
        if distances[k] > limit:
            continue
        place = size
        while place > 0 and distances[near[place - 1]] > distances[k]:
            near[place] = near[place - 1]
            place -= 1
        near[place] = k
        size += 1
        if size >= count:
            limit = distances[near[count - 1]]
            while distances[near[size - 1]] > limit:
                size -= 1
    return near[:size]
