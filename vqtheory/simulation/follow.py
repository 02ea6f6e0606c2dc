"""Bare runs for experiments: the loop of `simulate` without its record."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from vqtheory.protocols import Rule, Stream
from vqtheory.rules.base import declared


class End(NamedTuple):
    """Where a bare run ended."""

    codes: np.ndarray  # [K, D]
    hits: np.ndarray  # int64 [K], of the last tenth of the updates
    state: Any  # of the rule


def follow(rule: Rule, stream: Stream, codes: np.ndarray, steps: int, seed: int, batch_size: int = 1, start: int = 0) -> End:
    """`steps` updates of codes [K, D] by the latents of steps ``start ..`` of a stream."""
    state, hits = rule.init(np.ascontiguousarray(codes, np.float64), seed), np.zeros(len(codes), np.int64)
    chunk = max(1, 2**16 // (batch_size * stream.dim))
    tail = steps - max(1, steps // 10)
    extra = {"displacement": True} if declared(rule, "needs_displacement") else {}
    done = 0
    with threadpool_limits(1, user_api="blas"):
        while done < steps:
            size = min(chunk, (tail if done < tail else steps) - done)
            state, info = rule.advance(state, stream.draw(start + done, size, batch_size, seed, **extra))
            done += size
            if done > tail:
                hits += info["hits"]
    return End(state.codes, hits, state)
