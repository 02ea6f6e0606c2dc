"""NSVQ's normalised form, compiled; equations in `vqtheory.rules.nsvq`.

An update sweeps three times over the codes: who wins, and tau; the sums of the softmax; the sums of the kernel.

The weights of a code are taken over exp(-e_j / tau), with e_j the least of |x_i - c_j|^2 - |x_i - c_q(i)|^2 in the batch, so
that the kernel's mean is known however far the code is from all latents. Their sum W_j is at least the smallest normal
number over the spacing of numbers at 1: beyond that, N_j comes to it and the code moves at the full rate 1 - gamma.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vqtheory._kernels.exponential import exponential
from vqtheory._kernels.jit import inlined_kernel, kernel
from vqtheory._kernels.tiles import TILE, aligned, any_below, first_least, measure
from vqtheory.rules._attraction import add_total, keep_gap, total_of

MEMORY = 10  # times W_j is the most that N_j remembers of a code that wins nothing


class Work(NamedTuple):
    """Workspace of the kernels: one tile, values of each sample, and values of each code."""

    distances: np.ndarray  # [64]
    weights: np.ndarray  # [64]
    mass: np.ndarray  # [64], a code's sum of weights over its largest
    pull: np.ndarray  # [D, 64], and of weights times x - c
    total: np.ndarray  # [B, 64], a sample's sum of exp, place by place
    closest: np.ndarray  # [B], squared distance to the winner
    share: np.ndarray  # [B], the sample's weight over its sum of exp
    gap: np.ndarray  # [B, D], x - c of the winner
    slot: np.ndarray  # [K], where in the batch the gaps of a winner are added up
    won: np.ndarray  # [K], the weights of what a code wins
    excess: np.ndarray  # [tiles, 64], e_j


def workspace(x: np.ndarray, num_codes: int) -> Work:
    """Work for batches x [T, B, D]."""
    _, size, dim = x.shape
    lanes, samples = aligned((3 + dim + size, TILE), x.dtype), np.zeros((2, size), x.dtype)
    tile = (lanes[0], lanes[1], lanes[2], lanes[3 : 3 + dim], lanes[3 + dim :])
    codes = (np.empty(num_codes, np.int64), np.empty(num_codes, x.dtype), aligned((-(-num_codes // TILE), TILE), x.dtype))
    return Work._make([*tile, *samples, np.empty((size, dim), x.dtype), *codes])


@kernel
def average(x, weight, gain, strength, step, num_codes, tiles, counts, work, tally):
    """IN x, weight, gain 1 - gamma, strength kappa, step; IN/OUT tiles, counts [K]; OUT the tally."""
    winner = tally[2]
    for t in range(len(x)):
        _assign(x, t, num_codes, tiles, winner, work)
        scale = _count(weight, step, t, tally, work)
        _normalize(x, weight, t, scale, num_codes, tiles, work)
        for j in range(len(tiles)):
            _add_kernel(x, t, scale, num_codes, tiles, j, winner, work)
            _follow(gain, strength, scale, num_codes, tiles, j, counts, work)
        _settle(weight, gain, t, tiles, counts, winner, work)


@kernel
def _assign(x, t, num_codes, tiles, winner, work):
    """OUT winner [B], and in work the squared distances to it and the gaps."""
    distances, closest, gap = work.distances, work.closest, work.gap
    for j in range(len(tiles)):
        for b in range(x.shape[1]):
            _distances(x, t, b, num_codes, tiles, j, distances)
            if j == 0 or any_below(distances, closest[b]):
                place = first_least(distances)
                winner[b], closest[b] = j * TILE + place, distances[place]
                keep_gap(x, t, b, tiles, j, place, gap)


@inlined_kernel
def _distances(x, t, b, num_codes, tiles, j, distances):
    """OUT distances [64], infinite where there is no code."""
    measure(x, t, b, tiles, j, distances)
    for k in range(num_codes - j * TILE, TILE):
        distances[k] = np.inf


@kernel
def _count(weight, step, t, tally, work):
    """OUT the tally, and in work the weights that codes have won; returns -1 / tau, finite for latents that lie on codes."""
    hits, last_hit, winner, distortion = tally
    won, total = work.won, weight.dtype.type(0)
    won[:] = 0
    for b in range(len(winner)):
        k = winner[b]
        hits[k] += 1
        last_hit[k] = step + t
        won[k] += weight[t, b]
        total += weight[t, b]
        distortion[t] += weight[t, b] * work.closest[b]
    limits = np.finfo(weight.dtype)
    tau = distortion[t] / total if total > 0 else 0
    return weight.dtype.type(-1 / min(max(tau, limits.tiny), limits.max / 1024))


@kernel
def _normalize(x, weight, t, scale, num_codes, tiles, work):
    """OUT in work the samples' shares, and e_j of the codes, over samples that have a weight."""
    distances, total, closest, excess = work.distances, work.total, work.closest, work.excess
    excess[:] = np.finfo(x.dtype).max
    for j in range(len(tiles)):
        for b in range(x.shape[1]):
            _distances(x, t, b, num_codes, tiles, j, distances)
            if weight[t, b] > 0:
                for k in range(TILE):
                    excess[j, k] = min(excess[j, k], distances[k] - closest[b])
            add_total(distances, scale, closest[b], x.dtype.type(1), total, b)
    for b in range(x.shape[1]):
        work.share[b] = weight[t, b] / total_of(total, b)
        total[b] = 0


@kernel
def _add_kernel(x, t, scale, num_codes, tiles, j, winner, work):
    """Added to mass and pull: the weights of tile j over the largest of each code, and times x - c; not the winner's."""
    distances, weights, mass, pull, excess = work.distances, work.weights, work.mass, work.pull, work.excess
    for b in range(x.shape[1]):
        closest, share = work.closest[b], work.share[b]
        if share == 0:  # it is not in e_j either
            continue
        _distances(x, t, b, num_codes, tiles, j, distances)
        for k in range(TILE):
            weights[k] = share * exponential(scale * ((distances[k] - closest) - excess[j, k]))
        if winner[b] // TILE == j:
            weights[winner[b] % TILE] = 0
        for k in range(TILE):
            mass[k] += weights[k]
        for d in range(x.shape[2]):
            coordinate = x[t, b, d]
            for k in range(TILE):
                pull[d, k] += weights[k] * (coordinate - tiles[j, d, k])


@kernel
def _follow(gain, strength, scale, num_codes, tiles, j, counts, work):
    """IN/OUT counts, and tile j: c_k += gain W_k / N_k (kernel's mean - c_k); mass and pull are 0 afterwards."""
    mass, pull, won, excess = work.mass, work.pull, work.won, work.excess
    limits = np.finfo(mass.dtype)
    floor, memory, one = limits.tiny / limits.eps, mass.dtype.type(MEMORY), mass.dtype.type(1)
    for k in range(min(TILE, num_codes - j * TILE)):
        code, kernel_weight = j * TILE + k, mass.dtype.type(0)
        if mass[k] > 0:
            kernel_weight = max(strength * exponential(scale * excess[j, k]) * mass[k], floor)
        if won[code] == 0 and kernel_weight == 0:  # as where no sample has a weight
            continue
        if won[code] == 0:
            counts[code] = min(counts[code], memory * kernel_weight)
        counts[code] = (one - gain) * counts[code] + gain * (won[code] + kernel_weight)
        mass[k] = gain * kernel_weight / counts[code] / mass[k] if mass[k] > 0 else 0
    for d in range(len(pull)):
        for k in range(TILE):
            tiles[j, d, k] += mass[k] * pull[d, k]
            pull[d, k] = 0
    mass[:] = 0


@kernel
def _settle(weight, gain, t, tiles, counts, winner, work):
    """IN/OUT tiles: c_k += gain / N_k sum of w (x - c_k) over what it wins, added up where its first gap is."""
    gap, slot = work.gap, work.slot
    slot[:] = -1
    for b in range(len(winner)):
        k = winner[b]
        for d in range(gap.shape[1]):
            gap[b, d] *= weight[t, b]
        if slot[k] < 0:
            slot[k] = b
        else:
            for d in range(gap.shape[1]):
                gap[slot[k], d] += gap[b, d]
    for b in range(len(winner)):
        k = winner[b]
        if slot[k] == b:
            for d in range(gap.shape[1]):
                tiles[k // TILE, d, k % TILE] += gain / counts[k] * gap[b, d]
