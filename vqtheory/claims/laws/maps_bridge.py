"""FVQ's bridge: which codes its start leaves at one place, what wakes them, and what its head alone can move.

With the head at 0, its published start, every code is at the origin, and no parameter but the head has a gradient: a step
moves the codes of those slots whose codes have won something. A slot whose codes have won nothing stays at the origin, to
the bit; of all codes there the first in number wins, so that one slot wakes at most in an update, and none while the origin
is the nearest code of no latent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from vqtheory.claims.laws.provenance import DERIVED, OBSERVED, SEEN
from vqtheory.claims.statement import Effort, Exact, Range, claim
from vqtheory.protocols import Batches
from vqtheory.rules import FVQ
from vqtheory.theory import tangent_kernel

LAW = "map rules"


def bridge(**options: Any) -> FVQ:
    """A small one from its published start."""
    usual: dict[str, Any] = {"patch": 4, "width": 16, "depth": 1, "heads": 2, "start": "published"}
    return FVQ(**usual | options)


def batches(seed: int, updates: int, dim: int = 2, distance: float = 0.0) -> Batches:
    """Of 256 latents from a normal distribution, so many deviations from the origin."""
    x = np.random.default_rng(seed).normal(size=(updates, 256, dim))
    x[..., 0] += distance
    return Batches(x)


def seeds(effort: Effort, seed: int, quick: int, full: int) -> list[int]:
    """So many of them."""
    return [seed * 1000 + i for i in range(quick if effort == "quick" else full)]


@claim(
    key="bridge-starts-as-one-code",
    statement="From its published start FVQ uses one code at update 0, whatever the latents (codes used)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=1.0,
)
def used_at_the_start(effort: Effort, seed: int) -> list[float]:
    """With and without blocks, K = 256."""
    used = []
    for one in seeds(effort, seed, 2, 10):
        for depth in (0, 1):
            rule = bridge(depth=depth)
            _, info = rule.advance(rule.init(np.zeros((256, 2)), one), batches(one, 1, distance=one % 5))
            used.append(float((info["hits"] > 0).sum()))
    return used


@claim(
    key="bridge-first-step",
    statement="The first update leaves K / p^2 + 1 distinct codes: one slot leaves the origin, a code for each patch "
    "(difference)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=0.0,
)
def distinct_after_one(effort: Effort, seed: int) -> list[float]:
    """By SGD; K = 256, 64 and 250, the last patch of which is filled up."""
    differences = []
    for one in seeds(effort, seed, 2, 10):
        for num_codes, patch in ((256, 4), (64, 2), (250, 4)):
            rule = bridge(step_size=0.1, optimizer="sgd", patch=patch)
            state, _ = rule.advance(rule.init(np.zeros((num_codes, 2)), one), batches(one, 1))
            differences.append(float(len(np.unique(state.codes, axis=0)) - -(-num_codes // patch**2) - 1))
    return differences


def slots_awake(distance: float, updates: int, seed: int, optimizer: str = "adam", rate: float = 1e-2) -> Iterator[int]:
    """Of 16 slots, 256 codes and the head alone: how many have left the origin, after each update."""
    rule = bridge(step_size=rate, optimizer=optimizer, depth=0)
    state = rule.init(np.zeros((256, 2)), seed)
    grid = rule.grid(256)
    for x in batches(seed, updates, distance=distance).x:
        state, _ = rule.advance(state, Batches(x[None]))
        yield int(state.codes[grid].any(axis=(0, 2)).sum())


@claim(
    key="bridge-one-slot-at-a-time",
    statement="One slot at most leaves the origin in an update (the most that do)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=1.0,
)
def most_at_once(effort: Effort, seed: int) -> list[float]:
    """Under Adam and SGD, from latents about the origin and beside it."""
    most = []
    for one in seeds(effort, seed, 1, 6):
        for distance in (0.0, 2.0):
            for optimizer, rate in (("adam", 1e-2), ("sgd", 0.05)):
                awake = list(slots_awake(distance, 100, one, optimizer, rate))
                most.append(float(np.diff([0, *awake]).max()))
    return most


def waking_time(distance: float, seed: int, updates: int = 4000) -> float:
    """Updates of Adam at the rate 0.01 until half of 16 slots have left the origin."""
    return float(next((t for t, awake in enumerate(slots_awake(distance, updates, seed), 1) if awake >= 8), updates))


@claim(
    key="bridge-wakes-near-the-origin",
    statement="A slot wakes once the origin is the nearest code of a latent: five deviations from it half of the slots take "
    "longer to wake (time over the time at the origin, Adam)",
    source=OBSERVED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(3.0, 100.0),
    seen=SEEN,
)
def waking_ratios(effort: Effort, seed: int) -> list[float]:
    """Of pairs of runs with like latents."""
    return [waking_time(5.0, one) / waking_time(0.0, one) for one in seeds(effort, seed, 2, 12)]


@claim(
    key="bridge-waking-time",
    statement="About the origin half of the 16 slots are awake after about 30 updates of Adam at a rate of 0.01 (updates)",
    source=OBSERVED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(10.0, 70.0),
    seen=SEEN,
)
def waking_times(effort: Effort, seed: int) -> list[float]:
    """At the origin."""
    return [waking_time(0.0, one) for one in seeds(effort, seed, 3, 24)]


def spread_within_slots(positions: bool, eps: float, seed: int) -> float:
    """Of a whole bridge's 16,384 codes after 40 updates of Adam: the spread of the codes of a slot over that of all."""
    rule = bridge(step_size=1e-3, positions=positions, eps=eps, patch=16, width=32)
    x = np.random.default_rng(seed).normal(size=(40, 64, 2))
    state, _ = rule.advance(rule.init(np.zeros((16384, 2)), seed), Batches(x))
    by_slot = state.codes[rule.grid(16384)]  # [T, S, D]
    return float((by_slot - by_slot.mean(axis=0)).std() / by_slot.std())


@claim(
    key="bridge-epsilon-hides-the-patches",
    statement="With 16,384 codes of U(-1/K, 1/K) an epsilon of 1e-6 makes all patches alike to the bridge: a slot is one "
    "code, p^2 in all, after 40 updates (spread of a slot's codes over the spread of all)",
    source=OBSERVED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(0.0, 1e-3),
    seen=SEEN,
)
def hidden_patches(effort: Effort, seed: int) -> list[float]:
    """Without positions."""
    return [spread_within_slots(False, 1e-6, one) for one in seeds(effort, seed, 1, 6)]


@claim(
    key="bridge-positions-tell-the-patches-apart",
    statement="Fixed positions, or an epsilon of 1e-14, tell the patches apart (the same ratio)",
    source=OBSERVED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(0.05, 1.0),
    seen=SEEN,
)
def shown_patches(effort: Effort, seed: int) -> list[float]:
    """With positions, and with a small epsilon."""
    cases = ((True, 1e-6), (False, 1e-14))
    return [spread_within_slots(*case, one) for one in seeds(effort, seed, 1, 6) for case in cases]


@claim(
    key="bridge-head-rank",
    statement="At its published start only the head moves the codes: rank D p^2 min(K / p^2, width) of the tangent kernel "
    "(difference)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=0.0,
)
def head_ranks(effort: Effort, seed: int) -> list[float]:
    """Of whole bridges: the norm makes a row of width numbers with a mean of 0, and the bias adds one direction."""
    differences = []
    for num_codes, dim, patch, width in ((64, 2, 2, 8), (64, 2, 2, 32), (48, 1, 4, 4), (40, 2, 1, 12)):
        rule = bridge(patch=patch, width=width)
        rank = tangent_kernel(rule, rule.init(np.zeros((num_codes, dim)), seed)).rank
        assert rank is not None
        differences.append(float(rank - dim * patch**2 * min(num_codes // patch**2, width)))
    return differences


@claim(
    key="bridge-residual-kernel",
    statement="With a residual head and a trained base FVQ starts as plain VQ and more: its tangent kernel is the identity "
    "plus the head's (lambda_min)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(1 - 1e-9, np.inf),
)
def residual_minima(effort: Effort, seed: int) -> list[float]:
    """Of a matched start."""
    minima = []
    for one in seeds(effort, seed, 2, 8):
        rule = bridge(residual=True, patch=2, start="matched")
        codes = np.random.default_rng(one).normal(size=(64, 2))
        minima.append(tangent_kernel(rule, rule.init(codes, one)).lambda_min)
    return minima


CLAIMS = [
    used_at_the_start,
    distinct_after_one,
    most_at_once,
    waking_times,
    waking_ratios,
    hidden_patches,
    shown_patches,
    head_ranks,
    residual_minima,
]
