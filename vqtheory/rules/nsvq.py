"""NSVQ, non-stationary vector quantization: drift reaches the codes that were not chosen.

Lu et al., arXiv 2602.18896. (Not noise substitution in vector quantization, 2022, of the same
name.) The winner moves as in plain VQ; every other code j moves with it by a kernel weight of
bandwidth sigma_t, which shrinks over training, after the drift:

    gaussian   c_j <- c_j + (eta / B) sum_i w_ij (x_i - c_j),
               w_ij = kappa exp(-|x_i - c_j|^2 / 2 sigma^2), the winner's 1   (the paper's figure: kappa = 1/2)
    softmax    the same with w_ij = min(1, kappa K softmax_j(-|x_i - c_j|^2 / tau)), tau = sigma^2
               (the published code: kappa = 0.01)
    propagate  c_j <- c_j + (eta / B) sum_(i won by j) (x_i - c_j) + kappa sum_i w_ij d_i / sum_i w_ij,
               w_ij = exp(-|x_i - c_j|^2 / 2 sigma^2), with d_i the encoder's own move of sample i
               (after the paper's supplement, normalised so that a rigid translation is passed on
               whole at kappa = 1; a code that no sample reaches stays)

All sums are taken at the codes before the update. As sigma -> 0 online k-means is left.

A weight w_ij below half a unit in the last place of the winner's 1, u = 2^-53 and in float32 2^-24, is 0: what it
would add is lost in the rounding of the winner's own move. In the gaussian form that is from the distance
sigma sqrt(2 ln(kappa / u)) on, 8.5 bandwidths and in float32 5.6, so that codes out of reach cost no more than their
distance. In the propagate form, where the weights are divided by their sum, w_ij is 0 below the smallest normal number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._kernels.cells import info, new_tally
from vqtheory._kernels.exponential import exponential
from vqtheory._kernels.jit import kernel
from vqtheory._kernels.tiles import TILE, aligned, any_below, first_least, lay, lift, measure
from vqtheory.protocols import Batches, checked
from vqtheory.rules.base import Rule, check_start, uniform_start

_STRENGTH = {"gaussian": 0.5, "softmax": 0.01, "propagate": 1.0}


@dataclass(frozen=True, repr=False)
class NSVQ(Rule):
    """Plain VQ with a kernel that moves the codes that did not win.

    Parameters
    ----------
    step_size : float or schedule, default 0.05
        eta, in the units of `VQ`. A gain eta * (mean weight) of 2 or more diverges.
    bandwidth : float or schedule, default 1.0
        sigma, a length in the units of the latents; tau = sigma^2 in the softmax form. It has to
        reach over the cloud while the encoder drifts, of the order of spread * sqrt(D), and fall
        below the spacing of the codes afterwards: one that never shrinks contracts the codebook.
    strength : float, optional
        kappa; by default 0.5 (gaussian), 0.01 (softmax), 1 (propagate).
    form : {"gaussian", "softmax", "propagate"}, default "gaussian"
    start : {"matched", "published"}, default "matched"
        The codes given, or U(-1/K, 1/K) as in the published code.

    Examples
    --------
    A code that wins nothing follows by half the winner's weight where the kernel is wide:

    >>> import numpy as np
    >>> from vqtheory import Batches
    >>> rule = NSVQ(step_size=0.5, bandwidth=1e6)
    >>> state = rule.init(np.array([[0.0], [-1.0]]))
    >>> rule.advance(state, Batches(np.array([[[1.0]]])))[0].codes.ravel().round(9)
    array([ 0.5, -0.5])
    """

    step_size: Any = 0.05
    bandwidth: Any = 1.0
    strength: float | None = None
    form: str = "gaussian"
    start: str = "matched"

    key: ClassVar[str] = "nsvq"
    fixed_point: ClassVar[str | None] = "k-means as bandwidth -> 0"
    equivariances: ClassVar[frozenset[str]] = frozenset({"translation", "rotation", "scaling", "permutation"})
    lengths: ClassVar[tuple[str, ...]] = ("bandwidth",)

    def __post_init__(self) -> None:
        self._keep(step_size=schedules.validate("NSVQ", "step_size", self.step_size, 0, above=True))
        self._keep(bandwidth=schedules.validate("NSVQ", "bandwidth", self.bandwidth, 0, above=True))
        if self.strength is not None:
            self._keep(strength=check.number("NSVQ", "strength", self.strength, 0))
        check.choice("NSVQ", "form", self.form, _STRENGTH)
        check_start("NSVQ", self.start)

    @classmethod
    def named(cls, steps: int) -> NSVQ:
        """The published form, its bandwidth halved with every tenth of the run: one that does not shrink contracts."""
        return cls(form="softmax", bandwidth=schedules.exponential(2.0, half_life=steps / 10))

    @property
    def needs_displacement(self) -> bool:
        """Only the propagate form needs to know how far the encoder moved each sample."""
        return self.form == "propagate"

    @property
    def tracks_translation(self) -> bool:
        """A rigid translation is passed on whole, while a step of it stays within reach, 37 bandwidths, in float32 13."""
        return self.form == "propagate" and self._strength == 1

    @property
    def _strength(self) -> float:
        return _STRENGTH[self.form] if self.strength is None else self.strength

    def init(self, codes: np.ndarray, seed: int = 0) -> NSVQState:
        """The state that starts from codes [K, D]."""
        codes = check.matrix("NSVQ.init", "codes", codes).copy()
        if self.start == "published":
            codes = uniform_start(codes, seed, bound=1 / len(codes))
        return NSVQState(codes, np.int64(0))

    def advance(self, state: NSVQState, batches: Batches) -> tuple[NSVQState, dict[str, np.ndarray]]:
        """T updates from batches.x [T, B, D]; `ValueError` if the propagate form gets no displacement."""
        check.instance("NSVQ.advance", "state", state, NSVQState, "a state that NSVQ.init has made")
        x, weight = checked("NSVQ.advance", batches, state.codes)
        steps, batch_size, _ = x.shape
        rates = (schedules.values(self.step_size, int(state.step), steps) / batch_size).astype(x.dtype)
        kernel = self._kernel(int(state.step), steps, len(state.codes), x.dtype)
        tiles, tally, work = lay(state.codes), new_tally(x, state.codes), _workspace(x, len(state.codes))
        arrays = (state.step, len(state.codes), tiles, work, tally)
        strength = x.dtype.type(self._strength)
        if self.form == "propagate":
            _propagate(x, weight, _displacement(batches), rates, *kernel, strength, *arrays)
        else:
            _attract(x, weight, rates, *kernel, strength, self.form == "softmax", *arrays)
        return NSVQState(lift(tiles, len(state.codes)), state.step + steps), info(tally, weight)

    def _kernel(self, start: int, steps: int, num_codes: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """The factor of squared distances, -1 / 2 sigma^2 or -1 / tau, and from which squares on weights are 0, [T] each.

        Finite however narrow or wide the kernel, so that the winner's distance of 0 keeps its weight.
        """
        limits, softmax = np.finfo(dtype), self.form == "softmax"
        with np.errstate(over="ignore", under="ignore"):  # of a bandwidth beyond all measure, cut off below
            squares = (1.0 if softmax else 2.0) * schedules.values(self.bandwidth, start, steps) ** 2
        squares = np.clip(squares, float(limits.tiny), float(limits.max) / 1024)
        peak = {"gaussian": self._strength, "softmax": self._strength * num_codes, "propagate": 1.0}[self.form]
        least = limits.tiny if self.form == "propagate" else limits.eps / 2
        with np.errstate(
            divide="ignore", over="ignore"
        ):  # a strength of 0 reaches nowhere, one beyond all measure everywhere
            reach = min(np.log(np.float64(peak) / float(least)), 1024.0)
        return (-1 / squares).astype(dtype), (reach * squares).astype(dtype)


class NSVQState(NamedTuple):
    """Codes and updates done."""

    codes: np.ndarray
    step: np.int64


def _displacement(batches: Batches) -> np.ndarray:
    """The samples' own moves [T, B, D]."""
    if batches.displacement is None or batches.displacement.shape != batches.x.shape:
        raise ValueError("NSVQ(form='propagate') needs batches with a displacement [T, B, D] of the shape of the latents.")
    moved = np.ascontiguousarray(batches.displacement, batches.x.dtype)
    return check.finite("NSVQ.advance", "displacement", moved)


class Work(NamedTuple):
    """Workspace of the kernels: one tile, and values of each sample until its winner is known."""

    distances: np.ndarray  # [64]
    weights: np.ndarray  # [64]: min(cap, factor exp(scale (distance - origin))), 0 from the reach on
    pull: np.ndarray  # [D, 64]
    total: np.ndarray  # [B, 64], a sample's sum of exp, place by place; in the propagate form its first row is a code's
    closest: np.ndarray  # [B], squared distance to the winner so far
    own: np.ndarray  # [B], the weight that the kernel would give it
    origin: np.ndarray  # [B]
    factor: np.ndarray  # [B]
    reach: np.ndarray  # [B]
    gap: np.ndarray  # [B, D], x - c of the winner so far
    slot: np.ndarray  # [K], where in the batch the gaps of a winner are added up


def _workspace(x: np.ndarray, num_codes: int) -> Work:
    """Work for batches x [T, B, D]."""
    _, size, dim = x.shape
    lanes, samples = aligned((2 + dim + size, TILE), x.dtype), np.zeros((5, size), x.dtype)
    tile = (lanes[0], lanes[1], lanes[2 : 2 + dim], lanes[2 + dim :])
    return Work._make([*tile, *samples, np.empty((size, dim), x.dtype), np.empty(num_codes, np.int64)])


@kernel
def _attract(x, weight, rates, scales, reaches, strength, softmax, step, num_codes, tiles, work, tally):
    """IN x, weight, rates [T] (eta / B), scales and reaches [T], step; IN/OUT tiles; OUT the tally.

    An update is one sweep over the codes, two in the softmax form: a tile stays in the cache for the whole batch.
    A code that is a sample's winner so far is left out of its kernel, and is given its weight when another is nearer.
    """
    distances, weights, pull, total, closest, own, origin, factor, reach, gap, slot = work
    hits, last_hit, winner, distortion = tally
    batch_size, cap = x.shape[1], x.dtype.type(1 if softmax else np.inf)
    for t in range(len(x)):
        for b in range(batch_size):
            factor[b], reach[b] = strength, reaches[t]
        if softmax:
            _normalize(x, t, scales[t], num_codes, tiles, distances, total, origin, factor, reach)
        for j in range(len(tiles)):
            pulled = False
            for b in range(batch_size):
                measure(x, t, b, tiles, j, distances)
                for k in range(num_codes - j * TILE, TILE):
                    distances[k] = np.inf
                won, place = j == 0 or any_below(distances, closest[b]), 0
                if won:
                    if j > 0 and own[b] > 0:
                        _move_one(rates[t], weight[t, b] * own[b], gap, b, tiles, winner[b])
                    place = first_least(distances)
                    winner[b], closest[b], own[b] = j * TILE + place, distances[place], 0
                    _keep_gap(x, t, b, tiles, j, place, gap)
                if any_below(distances, reach[b]):
                    _weigh(distances, scales[t], origin[b], factor[b], cap, reach[b], weights)
                    if won:
                        own[b], weights[place] = weights[place], 0
                    if batch_size == 1:
                        _move(x, t, b, rates[t], weight[t, b], weights, tiles, j)
                    else:
                        _add_pull(x, t, b, weight[t, b], weights, tiles, j, pull)
                        pulled = True
            if pulled:
                _follow(rates[t], pull, tiles, j)
        _settle(weight, rates[t], step, t, tiles, closest, gap, slot, hits, last_hit, winner, distortion)


@kernel
def _propagate(x, weight, moves, rates, scales, reaches, strength, step, num_codes, tiles, work, tally):
    """As `_attract`, with the samples' own moves [T, B, D]."""
    distances, weights, pull, totals, closest, _, _, _, _, gap, slot = work
    hits, last_hit, winner, distortion = tally
    total, cap, zero = totals[0], x.dtype.type(np.inf), x.dtype.type(0)
    for t in range(len(x)):
        for j in range(len(tiles)):
            reached = False
            for b in range(x.shape[1]):
                measure(x, t, b, tiles, j, distances)
                for k in range(num_codes - j * TILE, TILE):
                    distances[k] = np.inf
                if j == 0 or any_below(distances, closest[b]):
                    place = first_least(distances)
                    winner[b], closest[b] = j * TILE + place, distances[place]
                    _keep_gap(x, t, b, tiles, j, place, gap)
                if any_below(distances, reaches[t]):
                    _weigh(distances, scales[t], zero, weight[t, b], cap, reaches[t], weights)
                    _add_moves(moves, t, b, weights, total, pull)
                    reached = True
            if reached:
                _follow_mean(strength, total, pull, tiles, j)
        _settle(weight, rates[t], step, t, tiles, closest, gap, slot, hits, last_hit, winner, distortion)


@kernel
def _normalize(x, t, scale, num_codes, tiles, distances, total, origin, factor, reach):
    """OUT origin; IN/OUT factor and reach: from kappa exp to kappa K softmax, for each sample.

    A sample's sum of exp(scale (distance - the least so far)) is scaled whenever a nearer code is found.
    """
    origin[:] = np.inf
    for b in range(x.shape[1]):
        origin[b] = np.inf
    for j in range(len(tiles)):
        for b in range(x.shape[1]):
            measure(x, t, b, tiles, j, distances)
            for k in range(num_codes - j * TILE, TILE):
                distances[k] = np.inf
            before = origin[b]
            origin[b] = min(before, distances[first_least(distances)])
            shrink = exponential(scale * (before - origin[b]))
            _add_total(distances, scale, origin[b], shrink, total, b)
    for b in range(x.shape[1]):
        mass = _sum(total, b)
        factor[b] *= num_codes / mass
        reach[b] += origin[b] + np.log(mass) / scale


@kernel
def _settle(weight, rate, step, t, tiles, closest, gap, slot, hits, last_hit, winner, distortion):
    """The step of plain VQ. IN/OUT tiles; OUT the tally. The gaps of one winner are added up where its first one is."""
    size, dim = gap.shape
    for b in range(size):
        k = winner[b]
        for d in range(dim):
            gap[b, d] *= weight[t, b]
        if last_hit[k] < step + t:
            slot[k] = b
        else:
            for d in range(dim):
                gap[slot[k], d] += gap[b, d]
        distortion[t] += weight[t, b] * closest[b]
        hits[k] += 1
        last_hit[k] = step + t
    for b in range(size):
        k = winner[b]
        if slot[k] == b:
            for d in range(dim):
                tiles[k // TILE, d, k % TILE] += rate * gap[b, d]


@kernel
def _move_one(rate, weight, gap, b, tiles, k):
    """IN/OUT tiles: c_k += rate weight gap[b]."""
    for d in range(gap.shape[1]):
        tiles[k // TILE, d, k % TILE] += rate * (weight * gap[b, d])


@kernel
def _keep_gap(x, t, b, tiles, j, place, gap):
    """OUT gap [B, D] of sample b: x - c for the code at a place in tile j."""
    for d in range(x.shape[2]):
        gap[b, d] = x[t, b, d] - tiles[j, d, place]


@kernel
def _weigh(distances, scale, origin, factor, cap, reach, weights):
    """OUT weights [64]: min(cap, factor exp(scale (distances - origin))), and 0 from the reach on."""
    for k in range(TILE):
        weight = min(cap, factor * exponential(scale * (distances[k] - origin)))
        weights[k] = weight * (distances[k] < reach)


@kernel
def _add_total(distances, scale, origin, shrink, total, b):
    """IN/OUT total [B, 64]: sample b's times `shrink`, and exp(scale (distances - origin)) added."""
    for k in range(TILE):
        total[b, k] = shrink * total[b, k] + exponential(scale * (distances[k] - origin))


@kernel
def _sum(total, b):
    """The sum of total[b], in four parts, because each addition waits for the one before it."""
    one, two, three, four = total[b, 0], total[b, 1], total[b, 2], total[b, 3]
    for k in range(4, TILE, 4):
        one, two = one + total[b, k], two + total[b, k + 1]
        three, four = three + total[b, k + 2], four + total[b, k + 3]
    return (one + two) + (three + four)


@kernel
def _move(x, t, b, rate, weight, weights, tiles, j):
    """IN/OUT tile j: c_k += rate weight w_k (x - c_k)."""
    for k in range(TILE):
        weights[k] *= weight
    for d in range(x.shape[2]):
        coordinate = x[t, b, d]
        for k in range(TILE):
            tiles[j, d, k] += rate * (weights[k] * (coordinate - tiles[j, d, k]))


@kernel
def _add_pull(x, t, b, weight, weights, tiles, j, pull):
    """Added to pull [D, 64]: weight w_k (x - c_k)."""
    for k in range(TILE):
        weights[k] *= weight
    for d in range(x.shape[2]):
        coordinate = x[t, b, d]
        for k in range(TILE):
            pull[d, k] += weights[k] * (coordinate - tiles[j, d, k])


@kernel
def _follow(rate, pull, tiles, j):
    """IN/OUT tile j: c_k += rate pull_k; pull [D, 64] is 0 afterwards."""
    for d in range(len(pull)):
        for k in range(TILE):
            tiles[j, d, k] += rate * pull[d, k]
            pull[d, k] = 0


@kernel
def _add_moves(moves, t, b, weights, total, pull):
    """Added to total [64] and to pull [D, 64]: w_k, and w_k times a sample's move [D]."""
    for k in range(TILE):
        total[k] += weights[k]
    for d in range(moves.shape[2]):
        coordinate = moves[t, b, d]
        for k in range(TILE):
            pull[d, k] += weights[k] * coordinate


@kernel
def _follow_mean(strength, total, pull, tiles, j):
    """IN/OUT tile j: c_k += strength pull_k / total_k where a sample reaches; total and pull are 0 afterwards."""
    least, one = np.finfo(total.dtype).tiny, total.dtype.type(1)
    for k in range(TILE):
        total[k] = one / total[k] if total[k] >= least else 0
    for d in range(len(pull)):
        for k in range(TILE):
            tiles[j, d, k] += strength * (pull[d, k] * total[k])
            pull[d, k] = 0
    total[:] = 0
