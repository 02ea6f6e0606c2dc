"""Index backpropagation: the quantizer's derivative is the derivative of a softmax over all codes (Shi et al., arXiv
2412.02692).

A latent is compared with the codes by l_nk, the dot product x_n . c_k as published, or -|x_n - c_k|^2 (derived here), and
goes to the code with the largest. With p_n = softmax_k(l_nk / T) the quantized latent

    q_n = sum_k w_nk c_k,      w_n = onehot(a_n) - sg(p_n) + p_n

has the value of the code c_a, and the derivative of the mixture sum_k p_nk c_k. Codes descend, over the mean of |.|^2 /
D,

    |q_n - x_n|^2 + |c_a - sg(x_n)|^2 + lambda [mean_n H(p'_n) - H(mean_n p'_n)],      p'_n = softmax_k(l_nk / T').

With u_n = c_a - x_n, s_nk = p_nk (c_k - sum_j p_nj c_j) . u_n, and m_nk the derivative of the entropies in l_nk / T',
times N,

    c_k <- c_k - (eta / B) [ sum_(n: a_n = k) 2 u_n + sum_n (s_nk / T + (lambda D / 2) m_nk / T') dl_nk/dc_k ]
    m_nk = p'_nk [(ln p_k - sum_j p'_nj ln p_j) - (ln p'_nk + H(p'_n))],      p_k = mean_n p'_nk

(derived here). dl/dc is x_n with the dot product, so that codes which are not chosen move along the latents by their
share of the softmax, and 2 (x_n - c_k) with the distance. The simulator has no decoder, which in a model adds its
gradient to u_n.

The commitment |sg(c_a) - x|^2 moves no code and is the layer's: its weight there is the beta of the paper. (The official
code has beta on the term |c_a - sg(x)|^2 instead, which is not offered here: the layer's `beta_on_codebook` weighs all that
moves codes by it.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._base.randomness import Purpose, generator
from vqtheory._kernels import softmax
from vqtheory._kernels.cells import by_batch, find_each, info, new_tally
from vqtheory._kernels.jit import kernel
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import Rule, check_start

_BLOCK = 2**20  # dot products at a time


@dataclass(frozen=True, repr=False)
class IBQ(Rule):
    """Codes that descend through a softmax over all of them.

    Parameters
    ----------
    step_size : float or schedule, default 0.05
        eta, in the units of `VQ`; the codebook term by itself moves a code as `VQ` does, and both terms twice as far.
    similarity : {"dot", "l2"}, default "dot"
        How latents and codes are compared. The published dot product prefers long codes, and its gradient and the
        assignment differ from the Euclidean loss; with "l2" (not theirs) all three are of one geometry.
    temperature : float, default 1
        T, in units of length squared.
    entropy_weight : float, default 0.05
        lambda, beside the mean squared error of one dimension.
    entropy_temperature : float, default 0.01
        T' of the softmax of the entropies alone.
    start : {"matched", "published"}, default "matched"
        The codes given, or N(0, I).

    Examples
    --------
    The code (0, 2) wins nothing, and moves along the latent:

    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = IBQ(step_size=0.25, entropy_weight=0.0)
    >>> state = rule.init(np.array([[2.0, 0.0], [0.0, 2.0]]))
    >>> rule.advance(state, Batches(np.array([[[1.0, 0.5]]])))[0].codes.round(3)
    array([[1.353, 0.176],
           [0.147, 2.074]])
    """

    step_size: Any = 0.05
    similarity: str = "dot"
    temperature: float = 1.0
    entropy_weight: float = 0.05
    entropy_temperature: float = 0.01
    start: str = "matched"

    key: ClassVar[str] = "ibq"

    @property
    def equivariances(self) -> frozenset[str]:
        """Not scaling: the temperatures are squares of lengths."""
        return frozenset({"rotation", "permutation"} | ({"translation"} if self.similarity == "l2" else set()))

    @property
    def assigns_nearest(self) -> bool:
        """Not by the dot product."""
        return self.similarity == "l2"

    def __post_init__(self) -> None:
        owner = "IBQ"
        check.choice(owner, "similarity", self.similarity, ["dot", "l2"])
        self._keep(
            step_size=schedules.validate(owner, "step_size", self.step_size, 0, above=True),
            temperature=check.temperature(owner, "temperature", self.temperature),
            entropy_weight=check.number(owner, "entropy_weight", self.entropy_weight, 0),
            entropy_temperature=check.temperature(owner, "entropy_temperature", self.entropy_temperature),
        )
        check_start(owner, self.start)

    def init(self, codes: np.ndarray, seed: int = 0) -> IBQState:
        """The state that starts from codes [K, D]."""
        codes = check.matrix("IBQ.init", "codes", codes).copy()
        if self.start == "published":
            codes = generator(seed, Purpose.RULE).standard_normal(codes.shape).astype(codes.dtype)
        return IBQState(codes, np.int64(0))

    def assign(self, latents: np.ndarray, state: IBQState) -> np.ndarray:
        """The codes that latents [N, D] go to: in evaluation as in training."""
        if self.similarity == "l2":
            return super().assign(latents, state)
        size = max(1, _BLOCK // len(state.codes))
        parts = np.split(latents, range(size, len(latents), size))
        return np.concatenate([np.argmax(part @ state.codes.T, axis=1) for part in parts])

    def advance(self, state: IBQState, batches: Batches) -> tuple[IBQState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        check.instance("IBQ.advance", "state", state, IBQState, "a state that IBQ.init has made")
        x, weight = checked("IBQ.advance", batches, state.codes)
        rates = schedules.values(self.step_size, int(state.step), len(x)) / x.shape[1]
        with np.errstate(over="ignore"):
            numbers = [x.dtype.type(n) for n in (self.temperature, self.entropy_temperature, self.entropy_weight)]
        softness = Softness(self.similarity == "l2", *numbers)
        codes, tally = state.codes.copy(), new_tally(x, state.codes)
        work, by_product = softmax.workspace(x.shape[1], codes, 4), by_batch(x.shape[1], codes)
        _advance(x, weight, rates.astype(x.dtype), softness, by_product, state.step, codes, work, tally)
        return IBQState(codes, state.step + len(x)), info(tally, weight)


class IBQState(NamedTuple):
    """Codes and updates done."""

    codes: np.ndarray
    step: np.int64


class Softness(NamedTuple):
    """The softmax of a rule, as numbers."""

    by_distance: bool
    temperature: Any
    entropy_temperature: Any
    entropy_weight: Any


@kernel
def _advance(x, weight, rates, softness, by_product, step, codes, work, tally):
    """IN x, weight, rates [T] (eta / B), softness, whether by products, step; IN/OUT codes [K, D]; OUT the tally."""
    hits, last_hit, assignment, distortion = tally
    squared, use, pull = np.empty(x.shape[1], x.dtype), np.empty(len(codes), x.dtype), np.empty_like(codes)
    y, z, gap = np.empty(x.shape[1:], x.dtype), np.empty_like(codes), np.empty(x.shape[1:], x.dtype)
    sharpest = softness.temperature
    if softness.entropy_weight > 0:
        sharpest = min(sharpest, softness.entropy_temperature)
    for t in range(len(x)):
        pull[:] = 0
        if softness.by_distance:
            softmax.centre(x[t], weight[t], codes, sharpest, work, y, z)
            find_each(x[t], codes, by_product, assignment, squared)
        else:
            y[:], z[:], work.begin[0] = x[t], codes, -1
            _find_largest(y, z, work, assignment)
        if softness.entropy_weight > 0:
            softmax.find_use(y, weight[t], z, softness.by_distance, softness.entropy_temperature, work, use)
        for b in range(x.shape[1]):
            k = assignment[b]
            for d in range(x.shape[2]):
                gap[b, d] = codes[k, d] - x[t, b, d]
                distortion[t] += weight[t, b] * gap[b, d] * gap[b, d]
                pull[k, d] -= 2 * weight[t, b] * gap[b, d]
            hits[k] += 1
            last_hit[k] = step + t
        _add_softness(y, weight[t], gap, z, softness, use, work, pull)
        for k in range(len(codes)):
            for d in range(codes.shape[1]):
                codes[k, d] += rates[t] * pull[k, d]


@kernel
def _find_largest(x, codes, work, assignment):
    """OUT assignment [B]: the first code with the largest dot product."""
    size = len(work.highest)
    for first in range(0, len(x), size):
        scores = softmax.score(x, first, codes, False, work)
        softmax.find_winners(scores, work, assignment[first : first + scores.shape[1]])


@kernel
def _add_softness(x, weight, gap, codes, softness, use, work, pull):
    """Added to pull [K, D]: what the softmax of the error and the entropies add; gap [B, D] is u_n."""
    size, dim, by_distance = len(work.highest), x.shape[1], softness.by_distance
    slope = x.dtype.type(2 if by_distance else 1)  # dl/dc is 2 (x - c), or x
    by_error = -slope / softness.temperature
    by_entropy = slope * x.dtype.type(0.5) * dim * softness.entropy_weight / softness.entropy_temperature
    for first in range(0, len(x), size):
        block, share = x[first : first + size], weight[first : first + size]
        scores = softmax.score(x, first, codes, by_distance, work)
        power, values = softmax.pairs(work, 1, *scores.shape), softmax.pairs(work, 2, *scores.shape)
        surprise = softmax.pairs(work, 3, *scores.shape)
        softmax.soften(scores, softness.temperature, work, power)
        softmax.multiply(gap[first : first + size], codes, work, values)
        softmax.find_mean(values, work, power)
        softmax.weigh(by_error, share, values, work, power)
        if softness.entropy_weight > 0:
            softmax.exponentiate(scores, softness.entropy_temperature, work, values)
            softmax.find_surprise(scores, softness.entropy_temperature, use, work, values, surprise)
            softmax.weigh(by_entropy, share, surprise, work, values)
            power += values
        softmax.add_moves(power, block, codes, by_distance, work, pull)
