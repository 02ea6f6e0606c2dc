"""How a run begins: the codes that it starts from, and the place of the latents at a step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from vqtheory._base.randomness import Purpose, generator
from vqtheory.protocols import Begins, Located, Loop, Snapshot, State
from vqtheory.simulation.config import Config
from vqtheory.simulation.contract import held_state
from vqtheory.streams.base import reported

_POOL = 2**29  # numbers in the latents among which codes are chosen, 4 GiB; of more, little more than the codes are drawn


def begin(config: Config) -> tuple[State, Any]:
    """The states of rule and closed loop (if the stream is one) at step 0."""
    with threadpool_limits(1, user_api="blas"):  # the last bits of a matrix product depend on the threads
        return _begin(config)


def _begin(config: Config) -> tuple[State, Any]:
    loop = config.stream.init(config.seed) if isinstance(config.stream, Loop) else None
    codes = config.codes
    if not isinstance(codes, np.ndarray):
        first = snapshot_at(config, loop, 0) or _Undescribed(config, codes)
        codes = _draw_codes(first, codes, config.stream.dim, config.seed, config.init)
    elif codes.shape[1] != config.stream.dim:
        raise ValueError(
            f"The 'codes' parameter of simulate has shape {codes.shape}, "
            f"the latents of the stream have shape [N, {config.stream.dim}]."
        )
    codes = np.ascontiguousarray(codes, config.dtype)
    return held_state(f"{type(config.rule).__name__}.init", config.rule.init(codes, config.seed), codes.shape), loop


class _Undescribed(NamedTuple):
    """Step 0 of a stream that does not tell where its latents are: they are drawn as the run draws them."""

    config: Config
    num_codes: int

    def sample(self, size: int) -> np.ndarray:
        """Latents [size, D] of step 0, or those that the stream begins with."""
        stream: Any = self.config.stream
        if isinstance(stream, Begins):
            return stream.first(self.num_codes)
        return stream.draw(0, 1, size, self.config.seed).x[0]


def _draw_codes(snapshot: Snapshot, num_codes: int, dim: int, seed: int, init: str) -> np.ndarray:
    """`num_codes` distinct latents of a snapshot, at random or by k-means++."""
    random, support = generator(seed, Purpose.START), reported(snapshot, "support")
    most = max(20 * num_codes, 1000)
    size = most if most * dim <= _POOL else num_codes + num_codes // 20
    pool = snapshot.sample(size) if support is None else random.permutation(support)
    distinct = np.unique(pool[:size], axis=0)
    if len(distinct) < num_codes:  # many latents twice: look at all of them
        distinct = np.unique(pool if support is not None or size == most else snapshot.sample(most), axis=0)
    if len(distinct) < num_codes:
        raise ValueError(
            "The 'codes' parameter of simulate must be at most the number of distinct latents, "
            f"{len(distinct)}. Got {num_codes}."
        )
    if init == "kmeans++":
        from sklearn.cluster import kmeans_plusplus

        return kmeans_plusplus(distinct, num_codes, random_state=int(random.integers(2**31)))[0]
    return distinct[random.choice(len(distinct), num_codes, replace=False)]


def snapshot_at(config: Config, loop: Any, step: int) -> Snapshot | None:
    """Where the latents are at a step, or None if the stream does not tell."""
    stream = config.stream
    if isinstance(stream, Loop):
        return stream.at(loop)
    return stream.at(step, config.seed) if isinstance(stream, Located) else None
