"""How a run begins: the codes that it starts from, and the law that it follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from vqtheory._base.randomness import Purpose, generator

if TYPE_CHECKING:
    from vqtheory.run import Config

_POOL = 2**29  # numbers in the latents among which codes are chosen, 4 GiB; of more, little more than the codes are drawn


def begin(config: Config) -> tuple[Any, Any]:
    """The states of rule and closed loop (if the stream is one) at step 0."""
    with threadpool_limits(1, user_api="blas"):  # the last bits of a matrix product depend on the threads
        return _begin(config)


def _begin(config: Config) -> tuple[Any, Any]:
    loop = config.stream.init(config.seed) if hasattr(config.stream, "respond") else None
    codes = config.codes
    if not isinstance(codes, np.ndarray):
        codes = _draw_codes(law_at(config, loop, 0), codes, config.stream.dim, config.seed, config.init)
    elif codes.shape[1] != config.stream.dim:
        raise ValueError(
            f"The 'codes' parameter of simulate has shape {codes.shape}, "
            f"the latents of the stream have shape [N, {config.stream.dim}]."
        )
    return config.rule.init(np.ascontiguousarray(codes, config.dtype), config.seed), loop


def _draw_codes(law: Any, num_codes: int, dim: int, seed: int, init: str) -> np.ndarray:
    """`num_codes` distinct latents of a law, at random or by k-means++."""
    random, support = generator(seed, Purpose.START), getattr(law, "support", None)
    most = max(20 * num_codes, 1000)
    size = most if most * dim <= _POOL else num_codes + num_codes // 20
    pool = law.sample(size) if support is None else random.permutation(support)
    distinct = np.unique(pool[:size], axis=0)
    if len(distinct) < num_codes:  # many latents twice: look at all of them
        distinct = np.unique(pool if support is not None or size == most else law.sample(most), axis=0)
    if len(distinct) < num_codes:
        raise ValueError(
            "The 'codes' parameter of simulate must be at most the number of distinct latents, "
            f"{len(distinct)}. Got {num_codes}."
        )
    if init == "kmeans++":
        from sklearn.cluster import kmeans_plusplus

        return kmeans_plusplus(distinct, num_codes, random_state=int(random.integers(2**31)))[0]
    return distinct[random.choice(len(distinct), num_codes, replace=False)]


def law_at(config: Config, loop: Any, step: int) -> Any:
    """The law of the latents at a step, or None if the stream does not tell."""
    if loop is not None:
        return config.stream.at(loop)
    return config.stream.at(step, config.seed) if hasattr(config.stream, "at") else None
