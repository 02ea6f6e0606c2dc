"""Sinkhorn: latents are given to codes by optimal transport, so that every code wins the same share of a batch.

OptVQ (Zhang et al., arXiv 2412.15195), here in the log domain, with squared distances and with prices that are
kept from batch to batch. With d_ik = |x_i - c_k|^2, w_i the share of latent i in its batch, prices psi_k, which start at
0, and epsilon the temperature times the mean of min_k d_ik, up to R `rounds` of

    p_ik = softmax_k((psi_k - d_ik) / epsilon),    m_k = sum_i w_i p_ik,    psi_k <- psi_k - r epsilon ln(K m_k)

make the masses m_k those of equal shares, 1/K. Each latent then goes to the code of the least priced distance, and the
codes move as in plain VQ:

    a_i = argmin_k d_ik - psi_k,    c_k <- c_k + eta (n_k / B) (mean_k - c_k)

The price of a code that wins too little rises until it wins, from any distance: a conscience (DeSieno 1988), of which the
cells are a power diagram. r = min(1, B / K): fewer latents than codes cannot be balanced, and the prices balance over
batches instead. A round needs the distances of one latent at a time, and no array of latents by codes is made.

Equal shares are not the least distortion. For many codes the density of codes is that of the latents, f, in place of
f^(D/(D+2)): in one dimension the distortion is above the optimum's by the factor (int 1/f) / (int f^(1/3))^3 (derived here).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._base.randomness import Purpose, generator
from vqtheory._kernels.cells import find_nearest, info, new_tally
from vqtheory._kernels.exponential import exponential
from vqtheory._kernels.jit import kernel
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import Rule, check_start, with_rows


@dataclass(frozen=True, repr=False)
class Sinkhorn(Rule):
    """Online k-means with balanced cells.

    What is counted, hits and distortion, is of its own assignment, and says nothing of how the codebook does with the
    nearest code, by which it is evaluated: that is what `dead`, `measure.cells` and the layer in evaluation say.

    ``info["imbalance"]`` [T] is the largest of |K m_k - 1| after the last round. Where it is above the tolerance a warning
    says so, with one digit of it, so that Python shows the same sentence once.

    Parameters
    ----------
    step_size : float or schedule, default 0.05
        eta, in the units of `VQ`.
    temperature : float, default 1
        epsilon over the batch's own distortion. Less makes cells sharper, and takes more rounds.
    rounds : int, default 10
        R, the most rounds for a batch; 5 in published code, from prices of 0 each time.
    tolerance : float, default 0.1
        The imbalance from which on a batch counts as balanced, and no round is left to do.
    start : {"matched", "published"}, default "matched"
        The codes given, or N(0, 1) as in the published code.

    Examples
    --------
    Of four latents near code 0, the two that are nearer to code 1 than the others go there:

    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = Sinkhorn(step_size=0.5, rounds=100)
    >>> state = rule.init(np.array([[0.0], [10.0]]))
    >>> state, info = rule.advance(state, Batches(np.array([[[-1.0], [0.0], [1.0], [2.0]]])))
    >>> info["assignment"], info["hits"]
    (array([0, 0, 1, 1]), array([2, 2]))
    """

    step_size: Any = 0.05
    temperature: float = 1.0
    rounds: int = 10
    tolerance: float = 0.1
    start: str = "matched"

    key: ClassVar[str] = "sinkhorn"
    memory: ClassVar[str] = "its prices"
    assigns_nearest: ClassVar[bool] = False
    equivariances: ClassVar[frozenset[str]] = frozenset({"translation", "rotation", "scaling", "permutation"})

    def __post_init__(self) -> None:
        owner = "Sinkhorn"
        self._keep(
            step_size=schedules.validate(owner, "step_size", self.step_size, 0, above=True),
            temperature=check.temperature(owner, "temperature", self.temperature),
            rounds=check.integer(owner, "rounds", self.rounds),
            tolerance=check.number(owner, "tolerance", self.tolerance, 0),
        )
        check_start(owner, self.start)

    def init(self, codes: np.ndarray, seed: int = 0) -> SinkhornState:
        """The state that starts from codes [K, D], at prices of 0."""
        codes = check.matrix("Sinkhorn.init", "codes", codes).copy()
        if self.start == "published":
            codes = generator(seed, Purpose.RULE).standard_normal(codes.shape).astype(codes.dtype)
        return SinkhornState(codes, np.int64(0), np.zeros(len(codes), codes.dtype))

    def place(self, state: SinkhornState, rows: np.ndarray, codes: np.ndarray) -> SinkhornState:
        """At a price of 0, the mean."""
        state = super().place(state, rows, codes)
        return state._replace(prices=with_rows(state.prices, rows, 0))

    def advance(self, state: SinkhornState, batches: Batches) -> tuple[SinkhornState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]; info has `imbalance` [T] too."""
        check.instance("Sinkhorn.advance", "state", state, SinkhornState, "a state that Sinkhorn.init has made")
        x, weight = checked("Sinkhorn.advance", batches, state.codes)
        rates = schedules.values(self.step_size, int(state.step), len(x)).astype(x.dtype) / x.shape[1]
        codes_t, prices, tally = state.codes.T.copy(), state.prices.copy(), new_tally(x, state.codes)
        imbalance = np.zeros(len(x), x.dtype)
        limits = x.dtype.type(self.temperature), self.rounds, x.dtype.type(self.tolerance)
        _advance(x, weight, rates.astype(x.dtype), *limits, state.step, codes_t, prices, imbalance, *tally)
        if (imbalance > self.tolerance).any():
            warnings.warn(unbalanced(float(imbalance.max()), self.rounds, self.tolerance), stacklevel=2)
        return SinkhornState(codes_t.T.copy(), state.step + len(x), prices), info(tally, weight) | {"imbalance": imbalance}


class SinkhornState(NamedTuple):
    """Codes, updates done, and prices [K], squares of a length, with the mean 0."""

    codes: np.ndarray
    step: np.int64
    prices: np.ndarray


def unbalanced(imbalance: float, rounds: int, tolerance: float) -> str:
    """The sentence for a batch that is not balanced; with one digit, so that not every batch has a sentence of its own."""
    return (
        f"Sinkhorn has not balanced a batch in {rounds} rounds: the share of a code differs from 1 / K by {imbalance:.1g} "
        f"times as much, and the tolerance is {tolerance:g}. Take more rounds, a higher temperature, or more latents than "
        "codes."
    )


@kernel
def _advance(x, weight, rates, temperature, rounds, tolerance, step, codes_t, prices, imbalance, hits, last_hit,
             assignment, distortion):  # fmt: skip
    """IN x, weight, rates [T] (eta / B) and the limits; IN/OUT codes_t [D, K], prices [K]; OUT imbalance [T], the tally."""
    dim, num_codes = codes_t.shape
    distances, highest = np.empty(num_codes, x.dtype), np.empty(num_codes, x.dtype)
    total, pull = np.empty(num_codes, x.dtype), np.zeros((num_codes, dim), x.dtype)
    for t in range(len(x)):
        epsilon = temperature * _own_distortion(x[t], weight[t], codes_t, distances)
        if epsilon > 0:
            imbalance[t] = _balance(x[t], weight[t], epsilon, rounds, tolerance, codes_t, prices, distances, highest, total)
        for b in range(x.shape[1]):
            k = cheapest(x[t, b], codes_t, prices, epsilon, distances)
            for d in range(dim):
                pull[k, d] += weight[t, b] * (x[t, b, d] - codes_t[d, k])
            distortion[t] += weight[t, b] * distances[k]
            hits[k] += 1
            last_hit[k] = step + t
            assignment[b] = k
        for k in assignment:
            for d in range(dim):
                codes_t[d, k] += rates[t] * pull[k, d]
                pull[k, d] = 0


@kernel
def _own_distortion(x, weight, codes_t, distances):
    """The mean of min_k d_ik; 0 where it is below all rounding of the distances."""
    error, most, mass = x.dtype.type(0), x.dtype.type(0), x.dtype.type(0)
    for b in range(len(x)):
        k = find_nearest(x[b], codes_t, distances)
        error += weight[b] * distances[k]
        mass += weight[b]
        most = max(most, distances.max())
    floor = np.finfo(x.dtype).eps ** 2 * most
    return error / mass if mass > 0 and error > floor * mass else x.dtype.type(0)


@kernel
def _balance(x, weight, epsilon, rounds, tolerance, codes_t, prices, distances, highest, total):
    """IN/OUT prices [K]: up to so many rounds; returns the imbalance that is left. The rest is work."""
    num_codes = len(prices)
    share, damping = np.log(x.dtype.type(num_codes)), x.dtype.type(min(1.0, len(x) / num_codes))
    for done in range(rounds + 1):
        _add_masses(x, weight, epsilon, codes_t, prices, distances, highest, total)
        worst = x.dtype.type(0)
        for k in range(num_codes):
            highest[k] += np.log(total[k]) + share  # ln(K m_k)
            worst = max(worst, abs(np.exp(min(highest[k], x.dtype.type(80))) - 1))
        if worst <= tolerance or done == rounds:
            return worst
        prices -= damping * epsilon * highest
        prices -= prices.mean()
    return worst


@kernel
def _add_masses(x, weight, epsilon, codes_t, prices, distances, highest, total):
    """OUT highest, total [K]: ln m_k is highest + ln total, a sum over latents of w_i p_ik in logarithms."""
    one, mass = x.dtype.type(1), weight.sum()
    highest[:], total[:] = -np.inf, 0
    for b in range(len(x)):
        if weight[b] == 0:
            continue
        find_nearest(x[b], codes_t, distances)
        top, norm = x.dtype.type(-np.inf), x.dtype.type(0)
        for k in range(len(prices)):
            distances[k] = (prices[k] - distances[k]) / epsilon
            top = max(top, distances[k])
        for k in range(len(prices)):
            norm += exponential(distances[k] - top)
        top += np.log(norm) - np.log(weight[b] / mass)
        for k in range(len(prices)):
            value = distances[k] - top
            if value > highest[k]:
                total[k] = total[k] * exponential(highest[k] - value) + one
                highest[k] = value
            else:
                total[k] += exponential(value - highest[k])


@kernel
def cheapest(x, codes_t, prices, epsilon, distances):
    """argmin_k d_k - psi_k of x [D]; where they differ by rounding the nearest, then the lowest index; fills distances."""
    find_nearest(x, codes_t, distances)
    least, nearest = x.dtype.type(np.inf), 0
    for k in range(len(prices)):
        least = min(least, distances[k] - prices[k])
    limit = least + np.sqrt(np.finfo(x.dtype).eps) * epsilon
    closest = x.dtype.type(np.inf)
    for k in range(len(prices)):
        if distances[k] - prices[k] <= limit and distances[k] < closest:
            nearest, closest = k, distances[k]
    return nearest
