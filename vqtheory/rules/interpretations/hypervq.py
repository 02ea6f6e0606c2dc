"""What the paper leaves open: of HyperVQ (Goswami et al., arXiv 2403.13015) neither code nor full text could be had, and
start, temperature, curvature and the loss of the codes are chosen here. What is known of it, from its abstract and from
the formulas of hyperbolic networks (Shimizu et al., arXiv 2006.08210): latents go by the exponential map to a Poincare
ball of curvature -c; a multinomial logistic regression in the ball gives each latent to one of K hyperplanes; and what is
decoded is the point of the hyperplane that is nearest to the origin, by the logarithmic map.

A code has a direction a_k of length 1, an offset r_k and a gain g_k. In the coordinates of the tangent space, where z is
the latent and s = 2 sqrt(c), its logit is (derived here from the published one)

    v_k(z) = (4 g_k / s) asinh(sinh(s |z|) cos_k cosh(s r_k) - cosh(s |z|) sinh(s r_k)),      cos_k = <z, a_k> / |z|

and the code that is decoded is c_k = r_k a_k: no table of its own. A latent goes to the code with the largest logit.

On its own code a logit is 0, since cos = 1 there: a code lies on the border of its own half of the ball, and the code j
wins it where tanh(s r_j) < tanh(s r_k) cos(a_j, a_k). So a code that is decoded and encoded again may come back as
another one (`vqtheory.measure.idempotence`), and a code lies on the inner border of what it wins.

Codes descend E sum_k p_nk |z_n - c_k|^2 / 2 with p_n = softmax(v(z_n) / tau), in the simulator and in the layer (chosen
here), where the decoder's gradient also passes through p_n, as in `IBQ`. With e_nk = |z_n - c_k|^2 and f_nk = p_nk (e_nk
- sum_j p_nj e_nj) / 2 tau,

    (g, r, a)_k <- (g, r, a)_k - (eta / B) sum_n [f_nk dv_nk/d(g, r, a)_k + p_nk (c_k - z_n) . dc_k/d(g, r, a)_k],

a step along the sphere for a, by the derivatives dv/dg = v / g and, with w = sinh(s |z|) cos cosh(s r) - cosh(s |z|)
sinh(s r),

    dv/dr = 4 g (sinh(s |z|) cos sinh(s r) - cosh(s |z|) cosh(s r)) / sqrt(1 + w^2),
    dv/da = (4 g / s) sinh(s |z|) cosh(s r) / sqrt(1 + w^2) z / |z|.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._base.randomness import Purpose, generator
from vqtheory._kernels import softmax
from vqtheory._kernels.cells import info, new_tally
from vqtheory._kernels.exponential import exponential, logarithm
from vqtheory._kernels.jit import inlined_kernel, kernel
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import Rule, check_start
from vqtheory.rules.cosine import turn


@dataclass(frozen=True, repr=False)
class HyperVQ(Rule):
    """Codes that are what hyperplanes of a Poincare ball have nearest to its center; an interpretation.

    Parameters
    ----------
    step_size : float or schedule, default 0.05
        eta, of directions, offsets and gains alike.
    curvature : float, default 1
        c, over a length squared; `1 / sqrt(c)` is how far the ball looks flat. Choose it by the lengths of your latents:
        where they are several times longer, the shortest code wins them all.
    temperature : float, default 1
        tau, a length: a gain of 1 makes a logit grow as four times the distance from the code.
    start : {"matched", "published"}, default "matched"
        Directions and offsets of the codes given and gains of 1; or directions and gains of vectors from N(0, I / (D c)), as
        hyperbolic networks start, and offsets from U(0.1, 1) / sqrt(c), since with their offsets of 0 all codes are one.

    Examples
    --------
    The first code is longer than the second one and has almost the same direction, so that the second one wins both:

    >>> import numpy as np
    >>> from vqtheory import Batches, measure
    >>> rule = HyperVQ()
    >>> state = rule.init(np.array([[1.0, 0.1], [0.5, 0.0]]))
    >>> rule.assign(np.array([[1.0, 0.1], [0.5, 0.0]]), state), measure.idempotence(rule, state)
    (array([1, 1]), 0.5)
    """

    step_size: Any = 0.05
    curvature: float = 1.0
    temperature: float = 1.0
    start: str = "matched"

    key: ClassVar[str] = "hypervq"
    memory: ClassVar[str] = "directions, offsets and gains"
    places: ClassVar[tuple[str, ...]] = ()
    assigns_nearest: ClassVar[bool] = False
    equivariances: ClassVar[frozenset[str]] = frozenset({"rotation", "permutation"})

    def __post_init__(self) -> None:
        owner = "HyperVQ"
        self._keep(
            step_size=schedules.validate(owner, "step_size", self.step_size, 0, above=True),
            curvature=check.number(owner, "curvature", self.curvature, 0, above=True),
            temperature=check.temperature(owner, "temperature", self.temperature),
        )
        check_start(owner, self.start)

    def init(self, codes: np.ndarray, seed: int = 0) -> HyperState:
        """The state that starts from codes [K, D], none of which is 0; `ValueError` for one that is."""
        codes = check.matrix("HyperVQ.init", "codes", codes)
        random, dtype = generator(seed, Purpose.RULE), codes.dtype
        if self.start == "published":
            normals = random.normal(0, (codes.shape[1] * self.curvature) ** -0.5, codes.shape)
            gains = np.linalg.norm(normals, axis=1)
            offsets = random.uniform(0.1, 1.0, len(codes)) / np.sqrt(self.curvature)
        else:
            normals, offsets, gains = codes, np.linalg.norm(codes, axis=1), np.ones(len(codes))
        if not normals.any(axis=1).all():
            raise ValueError(
                "HyperVQ needs codes of length > 0: a code at the origin has no direction. With start='published' it draws "
                "directions of its own."
            )
        directions = (normals / np.linalg.norm(normals, axis=1, keepdims=True)).astype(dtype)
        offsets = offsets.astype(dtype)
        return HyperState(offsets[:, None] * directions, np.int64(0), directions, offsets, gains.astype(dtype))

    def assign(self, latents: np.ndarray, state: HyperState) -> np.ndarray:
        """The codes with the largest logits, of latents [N, D]."""
        x, assignment = np.ascontiguousarray(latents, state.codes.dtype), np.empty(len(latents), np.int64)
        work = softmax.workspace(len(x), state.codes, 3)
        _assign(x, x.dtype.type(2 * self.curvature**0.5), Frame(*state[2:]), work, assignment)
        return assignment

    def advance(self, state: HyperState, batches: Batches) -> tuple[HyperState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]."""
        check.instance("HyperVQ.advance", "state", state, HyperState, "a state that HyperVQ.init has made")
        x, weight = checked("HyperVQ.advance", batches, state.codes)
        rates = schedules.values(self.step_size, int(state.step), len(x)) / x.shape[1]
        with np.errstate(over="ignore"):
            s, temperature = x.dtype.type(2 * self.curvature**0.5), x.dtype.type(self.temperature)
        frame, tally = Frame(*(array.copy() for array in state[2:])), new_tally(x, state.codes)
        work = softmax.workspace(x.shape[1], state.codes, 4)
        _advance(x, weight, rates.astype(x.dtype), s, temperature, state.step, frame, work, tally)
        codes = frame.offsets[:, None] * frame.directions
        return HyperState(codes, np.int64(state.step + len(x)), *frame), info(tally, weight)


class HyperState(NamedTuple):
    """Codes, updates done, and what makes the codes: offsets times directions; and the gains of the logits."""

    codes: np.ndarray
    step: np.int64
    directions: np.ndarray  # [K, D], of length 1
    offsets: np.ndarray  # [K]
    gains: np.ndarray  # [K]


class Frame(NamedTuple):
    """What moves, or the steps of it."""

    directions: np.ndarray
    offsets: np.ndarray
    gains: np.ndarray


class Stretched(NamedTuple):
    """What a logit has of lengths r, those of codes [K] or of latents [b]: over exp(s |r|), so that nothing overflows."""

    length: np.ndarray  # |r|
    fall: np.ndarray  # exp(-2 s |r|)
    sinh: np.ndarray  # of s r; of a latent over its length
    cosh: np.ndarray


@kernel
def _advance(x, weight, rates, s, temperature, step, frame, work, tally):
    """IN x, weight, rates [T] (eta / B), s, temperature, step; IN/OUT frame; OUT the tally."""
    hits, last_hit, assignment, distortion = tally
    moves = Frame(np.empty_like(frame.directions), np.empty_like(frame.offsets), np.empty_like(frame.gains))
    for t in range(len(x)):
        moves.directions[:], moves.offsets[:], moves.gains[:] = 0, 0, 0
        depths = _stretch(frame.offsets, s)
        for first in range(0, x.shape[1], len(work.highest)):
            block = x[t, first : first + len(work.highest)]
            winner = assignment[first : first + len(block)]
            lengths = _stretch_latents(block, s)
            _find_logits(block, s, frame, depths, lengths, work, winner)
            _add_moves(block, weight[t, first:], s, temperature, frame, depths, lengths, work, moves)
        for b in range(x.shape[1]):
            k = assignment[b]
            for d in range(x.shape[2]):
                gap = x[t, b, d] - frame.offsets[k] * frame.directions[k, d]
                distortion[t] += weight[t, b] * gap * gap
            hits[k] += 1
            last_hit[k] = step + t
        for k in range(len(frame.gains)):
            turn(frame.directions, k, moves.directions, rates[t])
            frame.offsets[k] += rates[t] * moves.offsets[k]
            frame.gains[k] += rates[t] * moves.gains[k]


@kernel
def _assign(x, s, frame, work, assignment):
    """OUT assignment [N]."""
    depths = _stretch(frame.offsets, s)
    for first in range(0, len(x), len(work.highest)):
        block = x[first : first + len(work.highest)]
        _find_logits(block, s, frame, depths, _stretch_latents(block, s), work, assignment[first : first + len(block)])


@kernel
def _stretch(lengths, s):
    """`Stretched` of lengths, which may be below 0."""
    half, one, fall = lengths.dtype.type(0.5), lengths.dtype.type(1), np.empty_like(lengths)
    for k in range(len(lengths)):
        fall[k] = exponential(-(s + s) * abs(lengths[k]))
    return Stretched(np.abs(lengths), fall, np.copysign(half * (one - fall), lengths), half * (one + fall))


@kernel
def _stretch_latents(x, s):
    one, lengths = x.dtype.type(1), _stretch(np.sqrt((x * x).sum(axis=1)), s)
    for b in range(len(x)):
        lengths.sinh[b] /= lengths.length[b] if lengths.length[b] > 0 else one
    return lengths


@inlined_kernel
def _sine(product, depths, k, lengths, b, tiny):
    """w of a code and a latent with this product <z, a>, and sqrt(1 + w^2), both over exp(s |z| + s |r|)."""
    w = lengths.sinh[b] * product * depths.cosh[k] - lengths.cosh[b] * depths.sinh[k]
    return w, np.sqrt(w * w + max(lengths.fall[b] * depths.fall[k], tiny))


@kernel
def _find_logits(x, s, frame, depths, lengths, work, winner):
    """OUT in work the products <z, a> [K, b], the angles asinh(w), and the logits; the first code with the largest."""
    shape, tiny = (len(frame.gains), len(x)), np.finfo(x.dtype).tiny
    products, angles, logits = softmax.pairs(work, 0, *shape), softmax.pairs(work, 1, *shape), softmax.pairs(work, 2, *shape)
    scale = x.dtype.type(4) / s
    softmax.multiply(x, frame.directions, work, products)
    for k in range(len(products)):
        gain = scale * frame.gains[k]
        for b in range(len(x)):
            w, root = _sine(products[k, b], depths, k, lengths, b, tiny)
            size = s * (lengths.length[b] + depths.length[k])
            angles[k, b] = np.copysign(size + logarithm(abs(w) + root), w)
            logits[k, b] = gain * angles[k, b]
    softmax.find_winners(logits, work, winner)


@kernel
def _add_moves(x, weight, s, temperature, frame, depths, lengths, work, moves):
    """Added to moves: what a block of latents adds to the steps."""
    shape, tiny, half = (len(frame.gains), len(x)), np.finfo(x.dtype).tiny, x.dtype.type(0.5)
    products, angles, logits = softmax.pairs(work, 0, *shape), softmax.pairs(work, 1, *shape), softmax.pairs(work, 2, *shape)
    power, squared, four = softmax.pairs(work, 3, *shape), logits, x.dtype.type(4)
    softmax.soften(logits, temperature, work, power)
    for k in range(len(products)):  # squared distances, up to |z|^2
        for b in range(len(x)):
            squared[k, b] = frame.offsets[k] * (frame.offsets[k] - (products[k, b] + products[k, b]))
    softmax.find_mean(squared, work, power)
    for k in range(len(products)):
        offset, gain = frame.offsets[k], frame.gains[k]
        for b in range(len(x)):
            share = weight[b] * power[k, b] / work.total[b]
            force = -half * share * (squared[k, b] - work.mean[b]) / temperature
            _, root = _sine(products[k, b], depths, k, lengths, b, tiny)
            radial = four * (lengths.sinh[b] * products[k, b] * depths.sinh[k] - lengths.cosh[b] * depths.cosh[k]) / root
            tangent = four / s * lengths.sinh[b] * depths.cosh[k] / root
            angles[k, b] *= force * four / s
            products[k, b] = force * gain * radial + share * (products[k, b] - offset)
            power[k, b] = offset * share + force * gain * tangent
    np.dot(power, x, work.sums)
    work.factor[:] = 1
    moves.directions[:] += work.sums
    moves.offsets[:] += np.dot(products, work.factor[: len(x)])
    moves.gains[:] += np.dot(angles, work.factor[: len(x)])
