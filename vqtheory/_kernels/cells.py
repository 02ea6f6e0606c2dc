"""Which code each sample is given, and what the samples of a cell add up to: what rules are made of."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vqtheory._kernels import product
from vqtheory._kernels.jit import inlined_kernel, kernel
from vqtheory._kernels.threads import spread

_PART = 256  # samples that are worth a thread of their own
_MANY = 48  # codes of which few are nearer than all before: a jump for each is faster than to wait for each comparison


def find_all(latents: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`nearest` of arrays that are in order, on as many `threads` as are allowed."""
    assignment, squared = np.empty(len(latents), np.int64), np.empty(len(latents), codes.dtype)
    find, layout = (product.find_all, codes) if by_batch(len(latents), codes) else (_nearest_all, codes.T.copy())
    spread(lambda part: find(latents[part], layout, assignment[part], squared[part]), len(latents), _PART)
    return assignment, squared


def by_batch(batch_size: int, codes: np.ndarray) -> bool:
    """Whether a product is worth its preparation for this many samples at once."""
    return batch_size >= product.BLOCK and product.worthwhile(codes, least=256)


class Tally(NamedTuple):
    """What a call of `advance` counts; becomes its `info`."""

    hits: np.ndarray  # OUT int64 [K], samples won by each code
    last_hit: np.ndarray  # OUT int64 [K], step of the last win in this call, -1 where there was none
    assignment: np.ndarray  # OUT int64 [B], of the last batch
    distortion: np.ndarray  # OUT float [T], sum of w |x - c_q(x)|^2 over each batch before its update


def new_tally(x: np.ndarray, codes: np.ndarray) -> Tally:
    """An empty tally for batches x [T, B, D] and codes [K, D]."""
    steps, batch_size, _ = x.shape
    return Tally(
        np.zeros(len(codes), np.int64), np.full(len(codes), -1), np.zeros(batch_size, np.int64), np.zeros(steps, x.dtype)
    )


def info(tally: Tally, weight: np.ndarray) -> dict[str, np.ndarray]:
    """The `info` of `advance`: the tally, with the distortion as each batch's mean by the weights [T, B]."""
    total = weight.sum(axis=1)
    return tally._asdict() | {"distortion": tally.distortion / np.where(total == 0, 1, total).astype(tally.distortion.dtype)}


class Chain(NamedTuple):
    """The samples of each cell, in their order, without sorting."""

    first: np.ndarray  # int64 [K], the cell's first sample; -1 between batches
    next: np.ndarray  # int64 [B], the next sample of the same cell, -1 after the last


def new_chain(num_codes: int, batch_size: int) -> Chain:
    """A chain for batches of this size."""
    return Chain(np.full(num_codes, -1), np.empty(batch_size, np.int64))


@kernel
def link(assignment, chain):
    """IN assignment [B]; OUT chain."""
    for b in range(len(assignment) - 1, -1, -1):
        chain.next[b] = chain.first[assignment[b]]
        chain.first[assignment[b]] = b


@inlined_kernel
def find_nearest(x, codes_t, distances):
    """Index of the code nearest to x [D]; fills the squared distances [K] to all codes [D, K]."""
    dim, num_codes = codes_t.shape
    for k in range(num_codes):
        difference = x[0] - codes_t[0, k]
        distances[k] = difference * difference
    for d in range(1, dim):
        for k in range(num_codes):
            difference = x[d] - codes_t[d, k]
            distances[k] += difference * difference
    if num_codes >= _MANY:
        return least_of_many(distances)
    best, closest = 0, distances[0]
    for k in range(1, num_codes):
        if distances[k] < closest:
            best, closest = k, distances[k]
    return best


@kernel
def least_of_many(distances):
    """The index of the least of many distances [K]; compiled apart, since few codes are found faster without it."""
    best = 0
    for k in range(1, len(distances)):
        if distances[k] < distances[best]:
            best = k
    return best


@kernel
def find_each(x, codes, by_product, assignment, squared):
    """`find_all` within a kernel: IN x [B, D], codes [K, D], whether by products; OUT assignment and squared [B]."""
    if by_product:
        product.find_all(x, codes, assignment, squared)
        return
    for b in range(len(x)):
        assignment[b], squared[b] = product.search(x, b, codes)


@kernel
def _nearest_all(latents, codes_t, assignment, squared):
    distances = np.empty(codes_t.shape[1], codes_t.dtype)
    for n in range(len(latents)):
        assignment[n] = find_nearest(latents[n], codes_t, distances)
        squared[n] = distances[assignment[n]]


@inlined_kernel
def sum_cells(x, weight, codes_t, distances, pull, hits, assignment):
    """Assign one batch x [B, D], sum over its cells, return the sum of w |x - c_q(x)|^2.

    IN x, weight [B], codes_t [D, K]; added to: pull [K, D], the sum of w (x - c_k) in a cell,
    and hits [K]; OUT assignment [B]; distances [K] is workspace.
    """
    error = codes_t.dtype.type(0)
    for b in range(len(x)):
        k = find_nearest(x[b], codes_t, distances)
        for d in range(x.shape[1]):
            pull[k, d] += weight[b] * (x[b, d] - codes_t[d, k])
        error += weight[b] * distances[k]
        hits[k] += 1
        assignment[b] = k
    return error


@inlined_kernel
def add_cells(x, weight, codes, assignment, squared, pull, hits):
    """`sum_cells` of a batch x [B, D] that has been assigned to codes [K, D], at squared distances [B]."""
    error = codes.dtype.type(0)
    for b in range(len(x)):
        k = assignment[b]
        for d in range(x.shape[1]):
            pull[k, d] += weight[b] * (x[b, d] - codes[k, d])
        error += weight[b] * squared[b]
        hits[k] += 1
    return error


@kernel
def sum_cells_by_product(x, weight, codes, pull, hits, assignment):
    """`sum_cells` of codes [K, D], found by products."""
    squared = np.empty(len(x), codes.dtype)
    product.find_all(x, codes, assignment, squared)
    return add_cells(x, weight, codes, assignment, squared, pull, hits)
