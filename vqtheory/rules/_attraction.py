"""How NSVQ's published forms attract, compiled: gaussian, softmax and propagate; equations in `vqtheory.rules.nsvq`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vqtheory._kernels.exponential import exponential
from vqtheory._kernels.jit import inlined_kernel, kernel
from vqtheory._kernels.tiles import TILE, aligned, any_below, first_least, measure


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


def workspace(x: np.ndarray, num_codes: int) -> Work:
    """Work for batches x [T, B, D]."""
    _, size, dim = x.shape
    lanes, samples = aligned((2 + dim + size, TILE), x.dtype), np.zeros((5, size), x.dtype)
    tile = (lanes[0], lanes[1], lanes[2 : 2 + dim], lanes[2 + dim :])
    return Work._make([*tile, *samples, np.empty((size, dim), x.dtype), np.empty(num_codes, np.int64)])


@kernel
def attract(x, weight, rates, scales, reaches, strength, softmax, step, num_codes, tiles, work, tally):
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
                    keep_gap(x, t, b, tiles, j, place, gap)
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
def propagate(x, weight, moves, rates, scales, reaches, strength, step, num_codes, tiles, work, tally):
    """As `attract`, with the samples' own moves [T, B, D]."""
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
                    keep_gap(x, t, b, tiles, j, place, gap)
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
            add_total(distances, scale, origin[b], shrink, total, b)
    for b in range(x.shape[1]):
        mass = total_of(total, b)
        factor[b] *= num_codes / mass
        reach[b] += origin[b] + np.log(mass) / scale


@inlined_kernel
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
def keep_gap(x, t, b, tiles, j, place, gap):
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
def add_total(distances, scale, origin, shrink, total, b):
    """IN/OUT total [B, 64]: sample b's times `shrink`, and exp(scale (distances - origin)) added."""
    for k in range(TILE):
        total[b, k] = shrink * total[b, k] + exponential(scale * (distances[k] - origin))


@kernel
def total_of(total, b):
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
