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
from vqtheory._kernels.cells import find_nearest, info, new_tally
from vqtheory._kernels.jit import kernel
from vqtheory._kernels.softmax import soften
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
        codes_t, tally = state.codes.T.copy(), new_tally(x, state.codes)
        _advance(x, weight, rates.astype(x.dtype), softness, state.step, codes_t, tally)
        return IBQState(codes_t.T.copy(), state.step + len(x)), info(tally, weight)


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
def _advance(x, weight, rates, softness, step, codes_t, tally):
    """IN x, weight, rates [T] (eta / B), softness, step; IN/OUT codes_t [D, K]; OUT the tally."""
    dim, num_codes = codes_t.shape
    work = np.empty((3, num_codes), x.dtype)  # similarities, shares, and what a derivative is of
    logs, pull = np.empty(num_codes, x.dtype), np.empty((num_codes, dim), x.dtype)
    for t in range(len(x)):
        pull[:] = 0
        if softness.entropy_weight > 0:
            _find_use(x[t], weight[t], codes_t, softness, work, logs)
            _add_entropy(x[t], weight[t], codes_t, softness, work, logs, pull)
        for b in range(x.shape[1]):
            k = _add_error(x[t, b], weight[t, b], codes_t, softness, work, pull)
            for d in range(dim):
                gap = x[t, b, d] - codes_t[d, k]
                tally.distortion[t] += weight[t, b] * gap * gap
            tally.hits[k] += 1
            tally.last_hit[k] = step + t
            tally.assignment[b] = k
        for k in range(num_codes):
            for d in range(dim):
                codes_t[d, k] += rates[t] * pull[k, d]


@kernel
def _add_error(x, weight, codes_t, softness, work, pull):
    """Added to pull [K, D]: what a latent adds by both terms of the error; returns the code that it goes to."""
    similarity, share, towards = work
    winner = _compare(x, codes_t, softness.by_distance, similarity)
    soften(similarity, winner, softness.temperature, share)
    towards[:] = 0
    for d in range(len(x)):
        gap = codes_t[d, winner] - x[d]
        pull[winner, d] -= 2 * weight * gap
        for k in range(len(share)):
            towards[k] += codes_t[d, k] * gap
    mean = x.dtype.type(0)
    for k in range(len(share)):
        mean += share[k] * towards[k]
    for k in range(len(share)):
        if share[k] > 0:
            force = -weight * share[k] * (towards[k] - mean) / softness.temperature
            _add_derivative(x, codes_t, k, force, softness.by_distance, pull)
    return winner


@kernel
def _find_use(x, weight, codes_t, softness, work, logs):
    """OUT logs [K]: ln of the mean share of each code in a batch, 0 where that is 0."""
    similarity, share, _ = work
    mass, one = weight.sum(), x.dtype.type(1)
    mass = mass if mass > 0 else one
    logs[:] = 0
    for b in range(len(x)):
        winner = _compare(x[b], codes_t, softness.by_distance, similarity)
        soften(similarity, winner, softness.entropy_temperature, share)
        for k in range(len(share)):
            logs[k] += weight[b] / mass * share[k]
    for k in range(len(logs)):
        logs[k] = np.log(logs[k]) if logs[k] > 0 else x.dtype.type(0)


@kernel
def _add_entropy(x, weight, codes_t, softness, work, logs, pull):
    """Added to pull [K, D]: what the batch adds by its entropies."""
    similarity, share, _ = work
    factor = x.dtype.type(0.5) * x.shape[1] * softness.entropy_weight / softness.entropy_temperature
    for b in range(len(x)):
        winner = _compare(x[b], codes_t, softness.by_distance, similarity)
        soften(similarity, winner, softness.entropy_temperature, share)
        mean = x.dtype.type(0)
        for k in range(len(share)):
            if share[k] > 0:
                mean += share[k] * (logs[k] - np.log(share[k]))
        for k in range(len(share)):
            if share[k] > 0 and weight[b] > 0:
                force = -weight[b] * factor * share[k] * (logs[k] - np.log(share[k]) - mean)
                _add_derivative(x[b], codes_t, k, force, softness.by_distance, pull)


@kernel
def _compare(x, codes_t, by_distance, similarity):
    """OUT similarity [K]; returns the first code with the largest."""
    if by_distance:
        winner = find_nearest(x, codes_t, similarity)
        for k in range(len(similarity)):
            similarity[k] = -similarity[k]
        return winner
    similarity[:] = 0
    for d in range(len(x)):
        for k in range(len(similarity)):
            similarity[k] += x[d] * codes_t[d, k]
    return np.argmax(similarity)


@kernel
def _add_derivative(x, codes_t, k, force, by_distance, pull):
    """Added to row k of pull [K, D]: force dl/dc."""
    for d in range(len(x)):
        pull[k, d] += force * (2 * (x[d] - codes_t[d, k]) if by_distance else x[d])
