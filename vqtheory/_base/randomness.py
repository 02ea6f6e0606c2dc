"""Keyed randomness: every draw is a pure function of (seed, purpose, block).

Philox is counter-based: the key is (seed, purpose), the block is the highest
word of the counter, so that blocks are 2**192 draws apart and never overlap.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from vqtheory._base import check


class Purpose(IntEnum):
    """What a generator is used for; streams of one purpose never meet another's."""

    SOURCE = 0  # the latents of a stream
    WALK = 1  # the increments of a random walk
    START = 2  # the codes a run starts from
    RULE = 3  # what a rule draws for itself
    PROBE = 4  # fresh latents that measure a codebook
    LOOP = 5  # the weights of a closed loop


def generator(seed: int, purpose: Purpose, block: int = 0) -> np.random.Generator:
    """The generator of one block."""
    key = np.array([check.integer("generator", "seed", seed, 0, 2**64 - 1), purpose], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=np.array([0, 0, 0, block], np.uint64)))
