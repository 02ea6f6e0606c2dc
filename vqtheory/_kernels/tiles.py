"""Codes in tiles of 64, transposed within a tile: [K, D] -> [tiles, D, 64].

A tile is one block of memory, so that a sweep over the codes reads on and on; within a tile the codes lie side by
side, so that a sum over the dimensions runs for 64 of them at once with its terms in the order of the dimensions.
64 float32 are four of the widest registers: the sums stay there. The number is a constant of the kernels, and the
tiles are aligned, because a compiler makes the best of both; what is missing in the last tile is 0 and infinitely far.
"""

from __future__ import annotations

import math

import numpy as np

from vqtheory._kernels.jit import kernel

TILE = 64


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Zeros that begin where a cache line begins."""
    line, size = 64, math.prod(shape) * dtype.itemsize
    memory = np.zeros(size + line, np.uint8)
    start = -memory.__array_interface__["data"][0] % line
    return memory[start : start + size].view(dtype).reshape(shape)


def lay(codes: np.ndarray) -> np.ndarray:
    """Tiles of codes [K, D]."""
    num_codes, dim = codes.shape
    tiles = aligned((-(-num_codes // TILE), dim, TILE), codes.dtype)
    relay(codes, tiles)
    return tiles


def lift(tiles: np.ndarray, num_codes: int) -> np.ndarray:
    """The codes [K, D] again, in the memory of the tiles."""
    _, dim, _ = tiles.shape
    codes = tiles.reshape(-1, dim)
    _lift(tiles, codes)
    return codes[:num_codes]


@kernel
def relay(codes, tiles):
    """IN codes [K, D]; OUT tiles, whose places beyond K are left."""
    num_codes, dim = codes.shape
    for k in range(num_codes):
        for d in range(dim):
            tiles[k // TILE, d, k % TILE] = codes[k, d]


@kernel
def _lift(tiles, codes):
    """IN/OUT tiles; OUT codes, a view of the same memory, so that each tile is copied aside first."""
    for j in range(len(tiles)):
        tile = tiles[j].copy()
        for k in range(TILE):
            for d in range(len(tile)):
                codes[j * TILE + k, d] = tile[d, k]


@kernel
def measure(x, t, b, tiles, j, distances):
    """OUT distances [64] from x[t, b] to the codes of tile j, summed in the order of the dimensions.

    Nothing else is done in this kernel, so that the sums are kept in registers: four times as fast. It is given
    whole arrays, since a view made for every sample and tile costs as much as the sum.
    """
    for k in range(TILE):
        distances[k] = 0
    for d in range(x.shape[2]):
        coordinate = x[t, b, d]
        for k in range(TILE):
            difference = coordinate - tiles[j, d, k]
            distances[k] += difference * difference


@kernel
def any_below(distances, limit):
    """Whether one of 64 distances is below the limit; counted, because a loop without a way out is vectorized."""
    below = 0
    for k in range(TILE):
        below += distances[k] < limit
    return below > 0


@kernel
def first_least(distances):
    """Where the least of 64 distances is; ties go to the lowest index, and NaN alone to 0.

    Eight at a time, because each comparison waits for the one before it.
    """
    a, b, c, d = distances[0], distances[1], distances[2], distances[3]
    e, f, g, h = distances[4], distances[5], distances[6], distances[7]
    for k in range(8, TILE, 8):
        a, b = min(a, distances[k]), min(b, distances[k + 1])
        c, d = min(c, distances[k + 2]), min(d, distances[k + 3])
        e, f = min(e, distances[k + 4]), min(f, distances[k + 5])
        g, h = min(g, distances[k + 6]), min(h, distances[k + 7])
    least, place = min(min(min(a, b), min(c, d)), min(min(e, f), min(g, h))), TILE
    for k in range(TILE):
        place = min(place, k if distances[k] == least else TILE)
    return place % TILE
