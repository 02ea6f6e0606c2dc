"""Rows read block by block in their order, shuffled within each block by a key: one block is in memory, not all rows."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vqtheory._base.randomness import Purpose, generator
from vqtheory._base.shards import Rows

_BLOCK_NUMBERS = 2**21  # 8 MiB in float32
_SCATTERED = 16  # blocks from which scattered samples come


def default_block(dim: int) -> int:
    """Rows in a block: a power of two that depends on the dimension alone."""
    return 1 << max(0, (_BLOCK_NUMBERS // dim).bit_length() - 1)


class Shuffled:
    """An endless sequence of samples: pass after pass over all rows, each row once in a pass.

    Block b of a pass has the rows b * size .. (b + 1) * size - 1 in an order drawn from (seed, pass, b), so that no sample
    depends on what was read before.
    """

    def __init__(self, rows: Rows, size: int) -> None:
        self.rows, self.size = rows, min(size, len(rows))
        self._block = lru_cache(maxsize=2)(self._read_shuffled)

    def part(self, seed: int, number: int, size: int) -> np.ndarray:
        """Samples number * size .. (number + 1) * size - 1 of the sequence, float64 [size, D]."""
        samples, done = np.empty((size, self.rows.dim)), 0
        while done < size:
            cycle, row = divmod(number * size + done, len(self.rows))
            block, first = divmod(row, self.size)
            values = self._block(seed, cycle, block)[first : first + size - done]
            samples[done : done + len(values)] = values
            done += len(values)
        return samples

    def _read_shuffled(self, seed: int, cycle: int, block: int) -> np.ndarray:
        values, blocks = self._read(block), -(-len(self.rows) // self.size)
        return values[generator(seed, Purpose.SOURCE, cycle * blocks + block).permutation(len(values))]

    def _read(self, block: int) -> np.ndarray:
        return self.rows.read(block * self.size, min((block + 1) * self.size, len(self.rows)))

    def scattered(self, random: np.random.Generator, size: int) -> np.ndarray:
        """Samples [size, D] with replacement, of a few blocks at random: each row is as likely as any other."""
        blocks = random.integers(len(self.rows), size=min(size, _SCATTERED)) // self.size  # a longer one is likelier
        chosen = blocks[random.integers(len(blocks), size=size)]
        samples = np.empty((size, self.rows.dim))
        for block in np.unique(chosen).tolist():
            values, places = self._read(block), np.flatnonzero(chosen == block)
            samples[places] = values[random.integers(len(values), size=len(places))]
        return samples
