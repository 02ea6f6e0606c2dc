"""When a codebook collapses: usage over the number of codes and the speed of the drift, rule by rule.

A uniform cloud in one dimension moves by three of its widths, the codes starting where they are best for it at rest. A
code is alive at the end if its cell has at least the mass of one in 200 K latents. NSVQ's kernels carry codes behind
the cloud that win nothing: they are counted after the drift has ended, and the gaussian one once its bandwidth has
shrunk. Below the law's own speed a run is no longer than at it. Batches are so large that their noise hardly moves the
boundary. The map rules are Adam's, which is quick about shared shifts; there is no law for them here. Transport and
NSVQ by its name have no boundary to draw. `vqtheory.phase` makes the same diagram of any rule.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

import numpy as np
import polars as pl

from simulations.lineup import in_order
from simulations.tables import run_all
from vqtheory.protocols import Rule
from vqtheory.rules import (
    CVQ,
    EMA,
    FSCL,
    FVQ,
    GRITVQ,
    NSVQ,
    SOM,
    VQ,
    Affine,
    Conscience,
    EntropyVQ,
    GraphVQ,
    NeuralGas,
    Reestimate,
    Replacement,
    SimVQ,
    Sinkhorn,
    TrainedVQ,
    Transport,
    TransVQ,
    Wasserstein,
)
from vqtheory.schedules import exponential
from vqtheory.sweeps.phases import Boundary, alive_after, drift_length, law_of

WIDTHS = 3.0
RATE, DECAY, ADAM_RATE, ADAM_BATCH, BANDWIDTH, MAP_RATE = 0.1, 0.9, 4e-5, 256, 0.3, 1e-3
CODES, CODES_FAST = (2, 3, 4, 6, 8, 11, 16, 23, 32), (2, 4, 8)
POINTS, POINTS_FAST = 19, 4
RECOVERY = 60_000  # updates in which NSVQ's bandwidth falls to 1/1000 and the codes come back


class Case(NamedTuple):
    """A rule, and how it is run."""

    rule: Callable[[int], Rule]  # for a drift of so many updates
    speeds: tuple[float, float]  # exponents of ten, from and to
    batch_size: Callable[[int], int] = lambda num_codes: 32
    recovery: int = 0  # updates after the drift


def narrowing(drifting: int) -> NSVQ:
    """NSVQ with a bandwidth that shrinks after the drift."""
    return NSVQ(RATE, bandwidth=exponential(BANDWIDTH, half_life=RECOVERY / 10, begin=drifting))


def shrinking(start: float, drifting: int) -> exponential:
    """A neighbourhood or a bias that shrinks after the drift."""
    return exponential(start, half_life=RECOVERY / 10, begin=drifting)


CASES = {
    "VQ": Case(lambda _: VQ(RATE), (-6.0, -1.5), lambda num_codes: 8),
    "EMA": Case(lambda _: EMA(DECAY), (-5.0, -1.5), lambda num_codes: 16 * num_codes),
    "EMA with expiry": Case(lambda _: Replacement(EMA(DECAY)), (-4.5, -1.5), lambda num_codes: 16 * num_codes),
    "VQ with Adam": Case(lambda _: TrainedVQ(ADAM_RATE), (-6.0, -4.25), lambda num_codes: ADAM_BATCH),
    "VQ with transport": Case(lambda _: Transport(VQ(RATE)), (-4.5, -1.5)),
    "NSVQ": Case(lambda _: NSVQ(), (-4.5, -1.5), lambda num_codes: 16 * num_codes, recovery=1000),
    "NSVQ gaussian": Case(narrowing, (-4.5, -1.5), recovery=RECOVERY),
    "TransVQ": Case(lambda _: TransVQ(MAP_RATE, width=16), (-4.5, -1.5)),
    "FVQ": Case(lambda _: FVQ(MAP_RATE, patch=2, width=16, depth=1), (-4.5, -1.5)),
    "FVQ residual": Case(lambda _: FVQ(MAP_RATE, patch=2, width=16, depth=1, residual=True), (-4.5, -1.5)),
    "GraphVQ": Case(lambda _: GraphVQ(MAP_RATE, width=16), (-4.5, -1.5)),
    "SimVQ": Case(lambda _: SimVQ(MAP_RATE, optimizer="adam"), (-4.5, -1.5)),
    "GRITVQ": Case(lambda _: GRITVQ(MAP_RATE, optimizer="adam"), (-4.5, -1.5)),
    "CVQ": Case(lambda _: CVQ(RATE), (-4.5, -1.5)),
    "NeuralGas": Case(lambda drifting: NeuralGas(RATE, shrinking(4.0, drifting)), (-4.5, -1.5), recovery=RECOVERY),
    "SOM": Case(lambda drifting: SOM(RATE, shrinking(2.0, drifting)), (-4.5, -1.5), recovery=RECOVERY),
    "FSCL": Case(lambda _: FSCL(RATE, decay=0.99), (-4.5, -1.5)),
    "Conscience": Case(lambda _: Conscience(RATE, bias=0.3), (-4.5, -1.5)),
    "Sinkhorn": Case(lambda _: Sinkhorn(RATE), (-4.5, -1.5)),
    "EntropyVQ": Case(lambda _: EntropyVQ(RATE), (-4.5, -1.5)),
    "VQ in a frame": Case(lambda _: Affine(VQ(RATE)), (-4.5, -1.5)),
    "VQ with Wasserstein's pull": Case(lambda _: Wasserstein(VQ(RATE)), (-4.5, -1.5)),
    "VQ re-estimated": Case(lambda drifting: Reestimate(VQ(RATE), max(1, drifting // 10), drifting), (-4.5, -1.5)),
}


def run(fast: bool = False) -> pl.DataFrame:
    """One row per rule, number of codes and speed."""
    codes, points = (CODES_FAST, POINTS_FAST) if fast else (CODES, POINTS)
    tasks = [
        (rule, num_codes, float(10**exponent), CASES[rule])
        for rule, num_codes in product(in_order(CASES), codes)
        for exponent in np.linspace(*CASES[rule].speeds, points)
    ]
    return run_all(simulate, tasks, "phase")


def simulate(rule: str, num_codes: int, speed: float, case: Case) -> list[dict]:
    """The end of one run."""
    size, law = case.batch_size(num_codes), law_of_case(case)
    drifting = drift_length(speed, WIDTHS, np.nan if law is None else law(num_codes))
    alive = alive_after(case.rule(drifting), num_codes, speed, drifting, case.recovery, size)
    return [{"rule": rule, "codes": num_codes, "speed": speed, "alive": alive}]


def law_of_case(case: Case) -> Boundary | None:
    """The predicted speed up to which all codes stay alive; None where there is no law."""
    return law_of(case.rule(1), batch_size=case.batch_size)
