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
batches instead. A softmax needs the distances up to a number of each latent's own, which one product gives for all codes; an
array of latents by codes is kept while it has at most 32 MB.

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
from vqtheory._kernels.cells import add_cells, by_batch, info, new_tally
from vqtheory._kernels.exponential import exponential
from vqtheory._kernels.jit import inlined_kernel, kernel
from vqtheory._kernels.scores import Scores, least_priced, look, new_scores, precise, rows_of, total_of
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
        codes, prices, imbalance = state.codes.copy(), state.prices.copy(), np.zeros(len(x), x.dtype)
        scores, tally = new_scores(x.shape[1], codes), new_tally(x, codes)
        limits = x.dtype.type(self.temperature), self.rounds, x.dtype.type(self.tolerance)
        by_product, work = by_batch(x.shape[1], codes), _workspace(scores)
        _advance(x, weight, rates, *limits, by_product, state.step, codes, prices, scores, work, imbalance, *tally)
        if (imbalance > self.tolerance).any():
            warnings.warn(unbalanced(float(imbalance.max()), self.rounds, self.tolerance), stacklevel=2)
        return SinkhornState(codes, state.step + len(x), prices), info(tally, weight) | {"imbalance": imbalance}


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


class _Work(NamedTuple):
    """Workspace of the kernels, for B latents."""

    terms: np.ndarray  # [K], exp((psi_k - d_ik) / epsilon) over the largest
    masses: np.ndarray  # [K], m_k
    excess: np.ndarray  # [K], ln(K m_k)
    least: np.ndarray  # [B], min_k d_ik - psi_k
    shares: np.ndarray  # [B], w_i over the sum of the exponentials
    halves: np.ndarray  # [K], while a minimum is taken
    close: np.ndarray  # bool [K, and up to a multiple of 8], whether d_ik - psi_k differs from the least by rounding


def _workspace(scores: Scores) -> _Work:
    num_codes, number = scores.rows.shape[1], scores.rows.dtype
    terms, masses, excess, halves = np.empty((4, num_codes), number)
    least, shares = np.empty((2, len(scores.base)), number)
    return _Work(terms, masses, excess, least, shares, halves, np.zeros(-(-num_codes // 8) * 8, np.bool_))


@kernel
def _advance(x, weight, rates, temperature, rounds, tolerance, by_product, step, codes, prices, scores, work, imbalance,
             hits, last_hit, assignment, distortion):  # fmt: skip
    """IN x, weight, rates [T] (eta / B), the limits, whether by products; IN/OUT codes [K, D], prices [K]; OUT imbalance
    [T], the tally."""
    pull, squared = np.zeros_like(codes), np.empty(x.shape[1], x.dtype)
    for t in range(len(x)):
        epsilon, product = _width(x[t], weight[t], temperature, by_product, codes, scores, work)
        if epsilon > 0:
            imbalance[t] = _balance(x[t], weight[t], epsilon, rounds, tolerance, product, prices, scores, work)
        _assign(x[t], epsilon, product, codes, prices, scores, work, assignment, squared)
        distortion[t] = add_cells(x[t], weight[t], codes, assignment, squared, pull, hits)
        for k in assignment:  # one that won twice is met again with nothing left to add
            last_hit[k] = step + t
            for d in range(x.shape[2]):
                codes[k, d] += rates[t] * pull[k, d]
                pull[k, d] = 0


@kernel
def _width(x, weight, temperature, by_product, codes, scores, work):
    """epsilon, and whether products are precise enough for it; else distances are summed directly."""
    for product in (by_product, False):
        farthest = look(x, codes, product, scores)
        own = _own_distortion(x, weight, product, farthest, scores, work)
        if not product or precise(own, temperature * own, scores):
            break
    return temperature * own, product


@kernel
def _own_distortion(x, weight, by_product, farthest, scores, work):
    """The mean of min_k d_ik; 0 where it is below all rounding of the farthest distance."""
    error, mass, free, halves, base = x.dtype.type(0), x.dtype.type(0), work.excess, work.halves, scores.base
    free[:] = 0
    for first in range(0, len(x), len(scores.samples)):
        rows = rows_of(x, first, by_product, True, scores)
        for b in range(len(rows)):
            error += weight[first + b] * (least_priced(rows, b, free, halves) + base[first + b])
            mass += weight[first + b]
    floor = np.finfo(x.dtype).eps ** 2 * farthest
    return error / mass if mass > 0 and error > floor * mass else x.dtype.type(0)


@kernel
def _balance(x, weight, epsilon, rounds, tolerance, by_product, prices, scores, work):
    """IN/OUT prices [K]: up to so many rounds; returns the imbalance that is left."""
    limits, one, excess = np.finfo(x.dtype), x.dtype.type(1), work.excess
    inverse = min(one / epsilon, limits.max)
    share, damping = np.log(x.dtype.type(len(prices))), x.dtype.type(min(1.0, len(x) / len(prices)))
    for done in range(rounds + 1):
        _add_masses(x, weight, inverse, by_product, prices, scores, work)
        if work.masses.min() < limits.tiny / limits.eps:
            _add_logarithms(x, inverse, by_product, prices, scores, work)
        else:
            excess[:] = np.log(work.masses)
        worst = x.dtype.type(0)
        for k in range(len(prices)):
            excess[k] += share  # ln(K m_k)
            worst = max(worst, abs(np.exp(min(excess[k], x.dtype.type(80))) - one))
        if worst <= tolerance or done == rounds:
            return worst
        prices -= damping * epsilon * excess
        prices -= prices.mean()
    return worst


@inlined_kernel
def _add_masses(x, weight, inverse, by_product, prices, scores, work):
    """OUT in work: masses m_k; of each latent least, min_k d_ik - psi_k, and shares, w_i over its sum of exponentials."""
    masses, terms, halves, shares, leasts = work.masses, work.terms, work.halves, work.shares, work.least
    mass = weight.sum()
    masses[:] = 0
    for first in range(0, len(x), len(scores.samples)):
        rows = rows_of(x, first, by_product, False, scores)
        for b in range(len(rows)):
            i, least = first + b, least_priced(rows, b, prices, halves)
            for k in range(len(prices)):
                terms[k] = halves[k] = exponential((least - (rows[b, k] - prices[k])) * inverse)
            share = weight[i] / (mass * total_of(halves))
            for k in range(len(prices)):
                masses[k] += share * terms[k]
            leasts[i], shares[i] = least, share


@inlined_kernel
def _add_logarithms(x, inverse, by_product, prices, scores, work):
    """OUT in work: excess, ln m_k, also of masses that are below all numbers; the terms of each are over its largest."""
    highest, total, terms, leasts, shares = work.excess, work.masses, work.terms, work.least, work.shares
    lowest = -np.finfo(x.dtype).max / 8
    highest[:], total[:] = lowest, 0
    for sweep in range(2):
        for first in range(0, len(x), len(scores.samples)):
            rows = rows_of(x, first, by_product, False, scores)
            for b in range(len(rows)):
                if shares[first + b] == 0:
                    continue
                least, level = leasts[first + b], np.log(shares[first + b])
                for k in range(len(prices)):
                    value = (least - (rows[b, k] - prices[k])) * inverse + level
                    terms[k] = value if value > lowest else lowest
                if sweep == 0:
                    for k in range(len(prices)):
                        highest[k] = terms[k] if terms[k] > highest[k] else highest[k]
                else:
                    for k in range(len(prices)):
                        total[k] += exponential(terms[k] - highest[k])
    highest += np.log(total)


@kernel
def _assign(x, epsilon, by_product, codes, prices, scores, work, assignment, squared):
    """OUT argmin_k d_ik - psi_k, [B]; where they differ by rounding the nearest, then the lowest index; and its distance."""
    close, eights, halves = work.close, work.close.view(np.int64), work.halves
    rounding = np.sqrt(np.finfo(x.dtype).eps) * epsilon
    for first in range(0, len(x), len(scores.samples)):
        rows = rows_of(x, first, by_product, False, scores)
        for b in range(len(rows)):
            limit = least_priced(rows, b, prices, halves) + rounding
            for k in range(len(prices)):
                close[k] = rows[b, k] - prices[k] <= limit
            assignment[first + b], squared[first + b] = _nearest_of(x, first + b, codes, close, eights)


@inlined_kernel
def _nearest_of(x, i, codes, close, eights):
    """The nearest to x[i] of the few codes that are close, the lowest of equal ones, and its squared distance."""
    nearest, closest = 0, x.dtype.type(np.inf)
    for eight in range(len(eights)):
        if eights[eight] == 0:
            continue
        for k in range(8 * eight, min(8 * eight + 8, len(codes))):
            if close[k]:
                distance = x.dtype.type(0)
                for d in range(x.shape[1]):
                    distance += (x[i, d] - codes[k, d]) ** 2
                if distance < closest:
                    nearest, closest = k, distance
    return nearest, closest
