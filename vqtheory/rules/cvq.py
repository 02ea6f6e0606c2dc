"""CVQ, clustering vector quantization: codes that win little move to anchors among the latents of the batch.

Zheng & Vedaldi, arXiv 2307.15139, section 3.2. With f_k the share of the batch that code k wins, and a_k its anchor,

    P_k <- gamma P_k + (1 - gamma) f_k,                     P_k = 0 at the start
    alpha_k = exp(-10 K P_k / (1 - gamma) - 0.001)
    c_k <- (1 - alpha_k) (c_k + eta (n_k / B) (mean_k - c_k)) + alpha_k a_k

y_k = K P_k / (1 - gamma) = K (f_k(t) + gamma f_k(t - 1) + ...) is what the code has won of late in units of a fair share of
one batch, and alpha_k = exp(-10 y_k - 0.001). One fair share protects a code for ln(10 / ln 2) / ln(1 / gamma) updates, 266
at the published gamma = 0.99, until alpha_k is 1/2; gamma is the length of this memory and little else. Anchors are taken
at the codes before the update:

    closest         the latent nearest to the code
    probabilistic   a latent drawn with the probability softmax_i(s(x_i, c_k) / tau)
    random          a latent drawn from the batch

with s(x, c) = -|x - c|^2, or the cosine. Anchors are drawn independently, so that two codes may get the same one. With the
cosine, codes and latents lie on the unit sphere and codes are put back to it, as in `CosineVQ`.

The published code differs: it moves the codes to their anchors before it takes the gradient's step, which is the one of
the code that was; it keeps the length of latents and codes in the loss where it chooses by the cosine; in place of random
latents it has a pool that is filled in turn; and it moves codes in evaluation too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._base.randomness import Purpose, generator
from vqtheory._kernels.cells import by_batch, find_each, info, new_tally
from vqtheory._kernels.draws import draw
from vqtheory._kernels.exponential import exponential
from vqtheory._kernels.jit import kernel
from vqtheory._kernels.product import BLOCK, find_squares
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import Rule, check_start, uniform_start, with_rows
from vqtheory.rules.cosine import CosineVQ, turn

ANCHORS = ("closest", "probabilistic", "random")
SHARPNESS, EPSILON = 10, 1e-3  # of alpha, as published


@dataclass(frozen=True, repr=False)
class CVQ(Rule):
    """Online k-means whose codes of low usage are carried to latents of the batch.

    Parameters
    ----------
    step_size : float or schedule, default 0.05
        eta, in the units of `VQ`.
    decay : float, default 0.99
        gamma in [0, 1), per update, of the running shares.
    anchors : {"closest", "probabilistic", "random"}, default "closest"
        Which latent a code moves to.
    similarity : {"euclidean", "cosine"}, default "euclidean"
        s. The published runs have the cosine, which needs D of at least 2.
    temperature : float, default 1
        tau of the probabilistic anchors, a squared length in the units of the latents; with the cosine a number.
    contrastive : float, default 0
        Weight of the paper's contrastive loss, in the layer alone (`vqtheory.nn.ops.contrast`); published as 1.
    start : {"matched", "published"}, default "matched"
        The codes given, or U(-1/K, 1/K).

    Notes
    -----
    On a stationary encoder codes rest within alpha_k of k-means, so within 1e-6 of it where K f_k exceeds
    1.4 (1 - gamma). A code that can win less than that follows the latents nearest to it.

    Under drift a code outlives its cloud by its memory: a rigid translation is followed in steps, not at once, and so
    `tracks_translation` is False.

    Examples
    --------
    The second code wins nothing, and goes to the latent nearest to it:

    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = CVQ(step_size=0.5)
    >>> state = rule.init(np.array([[0.0], [9.0]]))
    >>> rule.advance(state, Batches(np.array([[[0.2], [0.4]]])))[0].codes.ravel().round(3)
    array([0.15 , 0.409])
    """

    step_size: Any = 0.05
    decay: float = 0.99
    anchors: str = "closest"
    similarity: str = "euclidean"
    temperature: float = 1.0
    contrastive: float = 0.0
    start: str = "matched"

    key: ClassVar[str] = "cvq"
    memory: ClassVar[str] = "its running shares"

    def __post_init__(self) -> None:
        self._keep(step_size=schedules.validate("CVQ", "step_size", self.step_size, 0, above=True))
        self._keep(decay=check.number("CVQ", "decay", self.decay, 0))
        if self.decay >= 1:
            raise check.fail("CVQ", "decay", "a number >= 0 and < 1", self.decay)
        check.choice("CVQ", "anchors", self.anchors, ANCHORS)
        check.choice("CVQ", "similarity", self.similarity, ["euclidean", "cosine"])
        self._keep(temperature=check.temperature("CVQ", "temperature", self.temperature))
        self._keep(contrastive=check.number("CVQ", "contrastive", self.contrastive, 0))
        check_start("CVQ", self.start)

    @property
    def on_sphere(self) -> bool:
        """Whether codes and latents are directions."""
        return self.similarity == "cosine"

    @property
    def equivariances(self) -> frozenset[str]:
        """Draws go by the code's number; a temperature is in the units of the latents."""
        known = {"rotation"} if self.on_sphere else {"rotation", "translation", "scaling"}
        if self.anchors == "probabilistic":
            known.discard("scaling")
        return frozenset(known | ({"permutation"} if self.anchors == "closest" else set()))

    @property
    def scale(self) -> float:
        """The factor of |x - c|^2 in the logarithm of an anchor's probability: 0 where all are alike."""
        if self.anchors != "probabilistic":
            return 0.0
        limits = np.finfo(np.float32)
        return -1 / float(np.clip((1 + self.on_sphere) * self.temperature, limits.tiny, limits.max / 1024))

    @property
    def project(self) -> Callable[[np.ndarray], np.ndarray]:
        """What takes latents [..., D] to where the rule compares them with its codes: with the cosine, the unit sphere."""
        return CosineVQ().project if self.on_sphere else super().project

    def init(self, codes: np.ndarray, seed: int = 0) -> CVQState:
        """The state that starts from codes [K, D], or from their directions; `seed` is of the draws too."""
        codes = check.matrix("CVQ.init", "codes", codes).copy()
        if self.start == "published":
            codes = uniform_start(codes, seed, bound=1 / len(codes))
        if self.on_sphere:
            codes = CosineVQ().init(codes).codes
        key = generator(seed, Purpose.RULE, block=1).integers(2**32)
        return CVQState(codes, np.int64(0), np.zeros(len(codes), codes.dtype), np.int64(key))

    def place(self, state: CVQState, rows: np.ndarray, codes: np.ndarray) -> CVQState:
        """With the share of a start: what wins nothing in the next batch goes to its anchor."""
        state = super().place(state, rows, codes)
        return state._replace(shares=with_rows(state.shares, rows, 0))

    def advance(self, state: CVQState, batches: Batches) -> tuple[CVQState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        check.instance("CVQ.advance", "state", state, CVQState, "a state that CVQ.init has made")
        if self.contrastive > 0:
            raise check.fail(
                "CVQ", "contrastive", "0 in the simulator: the contrastive loss is in the layer", self.contrastive
            )
        x, weight = checked("CVQ.advance", batches, state.codes)
        steps, batch_size, dim = x.shape
        rates = (schedules.values(self.step_size, int(state.step), steps) / batch_size).astype(x.dtype)
        codes, shares, tally = state.codes.copy(), state.shares.copy(), new_tally(x, state.codes)
        products = by_batch(batch_size, codes), by_batch(max(len(codes), BLOCK), x.reshape(-1, dim)[:batch_size])
        decay, scale = x.dtype.type(self.decay), x.dtype.type(self.scale)
        settings = Settings(decay, self.anchors == "closest", scale, self.on_sphere)
        _advance(self.project(x), weight, rates, settings, products, state.key, state.step, codes, shares, tally)
        return CVQState(codes, state.step + steps, shares, state.key), info(tally, weight)


class CVQState(NamedTuple):
    """Codes, updates done, running shares P, and the key of the draws."""

    codes: np.ndarray
    step: np.int64
    shares: np.ndarray
    key: np.int64


class Settings(NamedTuple):
    """Hyperparameters, as numbers."""

    decay: Any
    closest: bool
    scale: Any
    on_sphere: bool


@kernel
def _advance(x, weight, rates, settings, products, key, step, codes, shares, tally):
    """IN x, weight, rates [T] (eta / B), settings, whether codes and anchors are found by products, key, step;
    IN/OUT codes [K, D], shares [K]; OUT the tally."""
    decay, closest, scale, on_sphere = settings
    hits, last_hit, assignment, distortion = tally
    pull, squared = np.zeros_like(codes), np.empty(x.shape[1], x.dtype)
    alpha, anchors = np.empty(len(codes), x.dtype), np.empty(len(codes), np.int64)
    for t in range(len(x)):
        find_each(x[t], codes, products[0], assignment, squared)
        _share(weight[t], assignment, decay, shares, alpha)
        if closest:
            _find_closest(x[t], weight[t], codes, alpha, products[1], anchors)
        else:
            _draw_anchors(x[t], weight[t], codes, alpha, scale, key, step + t, anchors)
        for b in range(x.shape[1]):
            k = assignment[b]
            hits[k] += 1
            last_hit[k] = step + t
            distortion[t] += weight[t, b] * squared[b]
            for d in range(x.shape[2]):
                pull[k, d] += weight[t, b] * (x[t, b, d] - codes[k, d])
        for b in range(x.shape[1]):
            k = assignment[b]  # a code that won twice is met again with nothing left to add
            if on_sphere:
                turn(codes, k, pull, rates[t])
            for d in range(x.shape[2]):
                codes[k, d] += 0 if on_sphere else rates[t] * pull[k, d]
                pull[k, d] = 0
        for k in range(len(codes)):
            if alpha[k] > 0:
                _blend(codes[k], x[t, anchors[k]], alpha[k], on_sphere)


@kernel
def _share(weight, assignment, decay, shares, alpha):
    """IN/OUT shares [K]; OUT alpha [K], 0 below the rounding of 1 and where no latent has a weight."""
    total, zero, one = weight.dtype.type(0), weight.dtype.type(0), weight.dtype.type(1)
    for b in range(len(weight)):
        total += weight[b]
    alpha[:] = 0
    if total == 0:
        return
    for b in range(len(weight)):
        alpha[assignment[b]] += weight[b] / total
    factor, least = shares.dtype.type(-SHARPNESS * len(shares) / (one - decay)), np.finfo(shares.dtype).eps
    for k in range(len(shares)):
        shares[k] = decay * shares[k] + (one - decay) * alpha[k]
        alpha[k] = exponential(factor * shares[k] - shares.dtype.type(EPSILON))
        alpha[k] = alpha[k] if alpha[k] >= least else zero


@kernel
def _find_closest(x, weight, codes, alpha, by_product, anchors):
    """OUT anchors [K]: the nearest latent of those with a weight, for codes whose alpha is not 0."""
    rows, present = np.flatnonzero(alpha > 0), np.flatnonzero(weight > 0)
    if len(rows) == 0:
        return
    nearest, squared = np.empty(len(rows), np.int64), np.empty(len(rows), x.dtype)
    latents = x if len(present) == len(x) else x[present]
    find_each(codes[rows], latents, by_product and len(rows) >= BLOCK, nearest, squared)
    for i in range(len(rows)):
        anchors[rows[i]] = present[nearest[i]]


@kernel
def _draw_anchors(x, weight, codes, alpha, scale, key, step, anchors):
    """OUT anchors [K]: latents drawn with probabilities w exp(scale |x - c|^2), by the inverse of their running sum."""
    squared, running = np.zeros(len(x), x.dtype), np.empty(len(x), x.dtype)
    for k in range(len(codes)):
        if alpha[k] == 0:
            continue
        if scale != 0:
            find_squares(codes, k, x, squared)
        least, total = x.dtype.type(np.inf), x.dtype.type(0)
        for b in range(len(x)):
            least = min(least, squared[b] if weight[b] > 0 else least)
        for b in range(len(x)):
            total += weight[b] * exponential(scale * max(squared[b] - least, x.dtype.type(0)))
            running[b] = total
        anchors[k] = np.searchsorted(running, x.dtype.type(draw(key, step, k)) * total, side="right")


@kernel
def _blend(code, anchor, alpha, on_sphere):
    """IN/OUT code [D]: by alpha of the way to the anchor, and back to unit length on the sphere."""
    square = code.dtype.type(0)
    for d in range(len(code)):
        code[d] += alpha * (anchor[d] - code[d])
        square += code[d] * code[d]
    if on_sphere and square > 0:
        for d in range(len(code)):
            code[d] /= np.sqrt(square)
