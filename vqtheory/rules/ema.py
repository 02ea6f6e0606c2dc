"""Exponential moving averages: the codebook of VQ-VAE-2.

Every code is the ratio of two running sums over the samples it has won (van den Oord et
al., arXiv 1711.00937, appendix A; Razavi et al., arXiv 1906.00446), n_k the hits of the
batch and s_k their sum:

    N_k <- gamma N_k + (1 - gamma) n_k,   M_k <- gamma M_k + (1 - gamma) s_k,   c_k = M_k / N_k

Here the ratio mu_k = M_k / N_k is kept in place of M_k, and moves by

    mu_k <- mu_k + ((1 - gamma) n_k / N_k) (mean_k - mu_k)

which is the same in exact arithmetic, commutes with shifts of the latents, and has no 0/0
when N_k underflows. Since each code divides by its own count, every code that is alive lags by the
same distance behind a drift, however rarely it is chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._kernels.cells import Tally, by_batch, find_all, info, link, new_chain, new_tally, sum_cells
from vqtheory._kernels.jit import kernel
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import Rule, check_start, uniform_start, with_rows


@dataclass(frozen=True, repr=False)
class EMA(Rule):
    """Each code at the exponential moving average of what it wins.

    Parameters
    ----------
    decay : float or schedule, default 0.99
        gamma in [0, 1), per update. With 0 and without smoothing an update is a Lloyd step.
    smoothing : float, default 0
        epsilon of the Laplace smoothing of the counts, N_k + eps over sum N + K eps, in the unit
        of a hit; published code has 1e-5. 0 switches it off.
    start : {"matched", "published"}, default "matched"
        The codes given, or U(-b, b) with b = sqrt(3 / D) as in the published code. Counts start
        at 1 with either.

    Notes
    -----
    A dead code, one that wins nothing from some step on: without smoothing it stays where it
    is, to the bit, for ever. With smoothing its count falls as gamma^t against a floor of
    epsilon, and it moves to the origin: c(t) ~ c(0) gamma^t / (gamma^t + eps), half way after
    ln(1/eps) / ln(1/gamma) updates, 1146 at the published 1e-5 and 0.99. Whether that revives
    it depends on whether the latents lie about the origin.

    Examples
    --------
    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = EMA(decay=0.0)
    >>> state = rule.init(np.array([[0.0], [1.0]]))
    >>> rule.advance(state, Batches(np.array([[[0.1], [0.3], [0.9]]])))[0].codes.ravel()
    array([0.2, 0.9])
    """

    decay: Any = 0.99
    smoothing: float = 0.0
    start: str = "matched"

    key: ClassVar[str] = "ema"
    memory: ClassVar[str] = "its counts"
    places: ClassVar[tuple[str, ...]] = ("codes", "means")
    running_counts: ClassVar[str] = "counts"

    def __post_init__(self) -> None:
        self._keep(decay=schedules.validate("EMA", "decay", self.decay))
        value = float(self.decay(0)) if callable(self.decay) else self.decay
        last = getattr(self.decay, "end", value)
        if not (0 <= value < 1 and 0 <= last < 1):
            raise check.fail("EMA", "decay", "a number >= 0 and < 1, or a schedule that starts and ends there", self.decay)
        self._keep(smoothing=check.number("EMA", "smoothing", self.smoothing, 0))
        check_start("EMA", self.start)

    @property
    def fixed_point(self) -> str:
        """Smoothing shares mass between unequal codes: at rest c_k = m_k N_k / (N_k + eps) (S + K eps) / S."""
        return "k-means as smoothing -> 0" if self.smoothing > 0 else "k-means"

    @property
    def moves_unselected(self) -> bool:
        """Smoothing takes codes that win nothing to the origin."""
        return self.smoothing > 0

    @property
    def equivariances(self) -> frozenset[str]:
        """Smoothing pulls to the origin, hence is not the same everywhere."""
        return frozenset({"rotation", "scaling", "permutation"} | (set() if self.smoothing else {"translation"}))

    def init(self, codes: np.ndarray, seed: int = 0) -> EMAState:
        """The state that starts from codes [K, D]."""
        codes = check.matrix("EMA.init", "codes", codes).copy()
        if self.start == "published":
            codes = uniform_start(codes, seed, bound=np.sqrt(3 / codes.shape[1]))
        return EMAState(codes, np.int64(0), np.ones(len(codes), codes.dtype), codes if self.smoothing == 0 else codes.copy())

    def place(self, state: EMAState, rows: np.ndarray, codes: np.ndarray) -> EMAState:
        """With the count of a start: the latent that a code is put on weighs as much as one hit."""
        state = super().place(state, rows, codes)
        return state._replace(counts=with_rows(state.counts, rows, 1))

    def advance(self, state: EMAState, batches: Batches) -> tuple[EMAState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        check.instance("EMA.advance", "state", state, EMAState, "a state that EMA.init has made")
        x, weight = checked("EMA.advance", batches, state.codes)
        decays = schedules.values(self.decay, int(state.step), len(x)).astype(x.dtype)
        counts, tally = state.counts.copy(), new_tally(x, state.codes)
        advance = _advance_by_batch if by_batch(x.shape[1], state.codes) else _advance_directly
        codes, means = advance(x, weight, decays, x.dtype.type(self.smoothing), state, counts, tally)
        return EMAState(codes, state.step + len(x), counts, means), info(tally, weight)


class EMAState(NamedTuple):
    """Codes, updates done, running counts N and running means mu; without smoothing the means are the codes."""

    codes: np.ndarray
    step: np.int64
    counts: np.ndarray
    means: np.ndarray


def _advance_directly(x, weight, decays, smoothing, state: EMAState, counts, tally: Tally):
    """Codes and means after T updates, by the direct sum alone; IN/OUT counts."""
    codes_t, means_t = state.codes.T.copy(), state.means.T.copy()
    _advance(x, weight, decays, smoothing, state.step, codes_t, means_t, counts, *tally)
    return codes_t.T.copy(), means_t.T.copy()


def _advance_by_batch(x, weight, decays, smoothing, state: EMAState, counts, tally: Tally):
    """Codes and means after T updates, each batch assigned by products; one array where the means are the codes."""
    codes = state.codes.copy()
    same = smoothing == 0 and (state.means is state.codes or np.array_equal(state.means, state.codes))
    means = codes if same else state.means.copy()
    mass, chain = np.zeros(len(codes), x.dtype), new_chain(len(codes), x.shape[1])
    for t in range(len(x)):
        tally.assignment[:], squared = find_all(x[t], codes)
        tally.distortion[t] = _move(x[t], weight[t], tally.assignment, squared, decays[t], chain, mass, codes, means, counts)
        np.add.at(tally.hits, tally.assignment, 1)
        tally.last_hit[tally.assignment] = state.step + t
        if smoothing > 0 or means is not codes:
            smooth(smoothing, counts, means.T, codes.T)
    return codes, means


@kernel
def _advance(x, weight, decays, smoothing, step, codes_t, means_t, counts, hits, last_hit, assignment, distortion):
    """IN x, weight, decays [T], smoothing, step; IN/OUT codes_t, means_t [D, K], counts [K]; OUT the tally."""
    steps, batch_size, dim = x.shape
    num_codes = codes_t.shape[1]
    distances, mass = np.empty(num_codes, x.dtype), np.empty(num_codes, x.dtype)
    pull = np.empty((num_codes, dim), x.dtype)
    for t in range(steps):
        mass[:] = 0
        pull[:] = 0
        distortion[t] = sum_cells(x[t], weight[t], codes_t, distances, pull, hits, assignment)
        for b in range(batch_size):
            mass[assignment[b]] += weight[t, b]
            last_hit[assignment[b]] = step + t
        gain = 1 - decays[t]
        for k in range(num_codes):
            counts[k] = decays[t] * counts[k] + gain * mass[k]
            if mass[k] > 0:
                for d in range(dim):  # the pull is on the code, which is the mean only without smoothing
                    sum_of_offsets = pull[k, d] + mass[k] * (codes_t[d, k] - means_t[d, k])
                    means_t[d, k] += gain / counts[k] * sum_of_offsets
        smooth(smoothing, counts, means_t, codes_t)


@kernel
def _move(x, weight, assignment, squared, decay, chain, mass, codes, means, counts):
    """One batch that has been assigned: IN x [B, D], codes [K, D]; IN/OUT means, which may be the codes, and counts; returns
    the distortion. chain and mass [K] are work. A code's samples are summed in the order of the batch."""
    pull, gain, error = np.empty(x.shape[1], x.dtype), 1 - decay, codes.dtype.type(0)
    link(assignment, chain)
    mass[:] = 0
    for b in range(len(x)):
        error += weight[b] * squared[b]
        mass[assignment[b]] += weight[b]
    for k in range(len(counts)):
        counts[k] = decay * counts[k] + gain * mass[k]
    for first in range(len(x)):
        k, b = assignment[first], first
        if chain.first[k] != first:
            continue
        pull[:] = 0
        while b >= 0:
            for d in range(x.shape[1]):
                pull[d] += weight[b] * (x[b, d] - codes[k, d])
            b = chain.next[b]
        for d in range(x.shape[1]):
            if mass[k] > 0:
                means[k, d] += gain / counts[k] * (pull[d] + mass[k] * (codes[k, d] - means[k, d]))
        chain.first[k] = -1
    return error


@kernel
def smooth(smoothing, counts, means_t, codes_t):
    """c_k = mu_k N_k / N~_k with N~_k = (N_k + eps) / (S + K eps) S and S the sum of the counts."""
    if smoothing == 0:
        codes_t[:] = means_t
        return
    total = codes_t.dtype.type(0)
    for k in range(len(counts)):
        total += counts[k]
    scale = (total + len(counts) * smoothing) / total
    for k in range(len(counts)):
        for d in range(len(codes_t)):
            codes_t[d, k] = means_t[d, k] * (counts[k] * scale / (counts[k] + smoothing))
