"""The collapse law on the line: how many codes survive a steady drift, by samples.

Survivors are the codes that win something in the last tenth of a run of at least 1.5 widths of the
cloud and K^3 / eta updates. Batches keep the noise of samples small against the law: its effect on
a threshold grows as (eta / B)^(2/3).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vqtheory.claims._claim import Claim, Effort, Exact, Range
from vqtheory.claims._runs import follow
from vqtheory.rules import VQ
from vqtheory.streams import Stream, Translation, Uniform
from vqtheory.theory import critical_speed, surviving_codes

LAW = "collapse"
DERIVED = "derived here"
STEP_SIZE, BATCH = 0.25, 128
LAWS: dict[str, tuple[Any, float, int]] = {  # source, width that a run goes over 1.5 times, direction
    "uniform": (Uniform(dim=1), 1.0, 1),
}


def threshold_of_two(effort: Effort, seed: int) -> float:
    """36 v_c(2) / (eta sqrt 3)."""
    return critical_speed(2, 0.05) * 36 / (0.05 * math.sqrt(3))


def threshold_of_many(effort: Effort, seed: int) -> list[float]:
    """v_c(K) over (9/32) eta K^-3 (1 + 0.624 K^-1.5), K = 32 to 512."""
    return [critical_speed(k, 1.0) * k**3 * 32 / 9 / (1 + 0.624 * k**-1.5) for k in (32, 64, 128, 256, 512)]


def excess(name: str, effort: Effort, seed: int) -> list[float]:
    """(simulated - predicted survivors) over one code or 3 %, whichever is more, at several speeds."""
    source, width, direction = LAWS[name]
    density = None if name == "uniform" else source
    num_codes, factors = (24, (8.0, 50.0)) if effort == "quick" else (64, (2.0, 4.0, 8.0, 20.0, 50.0))
    slowest = critical_speed(num_codes, STEP_SIZE, density=density, direction=direction)
    found = []
    for factor in factors:
        speed = factor * slowest
        law = surviving_codes(speed, STEP_SIZE, density=density, direction=direction)
        stream = Stream(source, Translation(direction * speed))
        steps = math.ceil(max(1.5 * width / speed, num_codes**3 / STEP_SIZE))
        end = follow(VQ(STEP_SIZE), stream, stream.at(0, seed).sample(num_codes), steps, seed, BATCH)
        found.append(float((np.sum(end.hits > 0) - law) / max(1.0, 0.03 * law)))
    return found


def survivors(name: str) -> Claim:
    """The claim for one law."""
    return Claim(
        f"survivors-{name.replace(', ', '-')}",
        f"Survivors of a steady drift, {name} law: simulated less predicted, over one code or 3 %, up to 50 times v_c",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(-1.0, 1.0),
        lambda effort, seed: excess(name, effort, seed),
        resolution=2.0,
    )


CLAIMS = [
    Claim(
        "threshold-of-two",
        "Two codes on a uniform law live up to eta sqrt(3) / 36 (ratio)",
        DERIVED,
        LAW,
        Exact(error=1e-12),
        lambda: 1.0,
        threshold_of_two,
        resolution=1e-11,
    ),
    Claim(
        "threshold-of-many",
        "Many codes on a uniform law live up to (9/32) eta K^-3 (1 + 0.624 K^-1.5) (ratio, K = 32 to 512)",
        DERIVED,
        LAW,
        Exact(worst=True),
        lambda: Range(0.9999, 1.0001),
        threshold_of_many,
        resolution=2e-4,
    ),
    *map(survivors, LAWS),
]
