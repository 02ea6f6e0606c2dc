"""A code that is not chosen does not move: dead for as long as the lemma holds, and not a step longer."""

from __future__ import annotations

import numpy as np

from vqtheory.claims.laws.provenance import DERIVED, PAPER
from vqtheory.claims.statement import Effort, Exact, claim
from vqtheory.rules import VQ
from vqtheory.simulation.follow import follow
from vqtheory.streams import Distribution, Ring, Stream, Translation
from vqtheory.theory import never_chosen

LAW = "dead codes"


@claim(
    key="out-of-reach-stays-dead",
    statement="A code out of reach by the lemma stays, to the bit, and wins nothing while the cloud moves away (hits and "
    "moves)",
    source=f"{PAPER}, made exact here",
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=0.0,
)
def hits_while_out_of_reach(effort: Effort, seed: int) -> list[float]:
    """Hits and moves, in 2-D, of codes from which a bounded cloud drifts away, after the lemma begins to hold.

    The cloud is a ring of outer radius 1.05 and moves away, so that |c_j - mu|^2 - |c_i - mu|^2 > 2R |c_i - c_j|,
    once true of a code j that stands still and a code i that follows, stays true.
    """
    stream, radius, counts = Stream(Ring(), Translation(speed=2e-3)), 1.05, []
    for i in range(4 if effort == "quick" else 40):
        one = seed * 1000 + i
        codes = follow(VQ(0.1), stream, stream.at(0, one).sample(16), 2500, one).codes
        out = never_chosen(codes, stream.at(2500, one).mean, radius)
        later = follow(VQ(0.1), stream, codes, 2500, one, start=2500)
        if out.any():
            counts.append(float((later.codes[out] != codes[out]).sum() + later.hits[out].sum()))
    return counts


@claim(
    key="dead-now-is-not-dead-for-ever",
    statement="In a stationary cloud a code that no latent chooses can be revived (share of runs; uniform on [0.2, 1])",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=1.0,
)
def revivals(effort: Effort, seed: int) -> list[float]:
    """Share of runs in which a code that is dead at the start comes to win: uniform on [0.2, 1], codes .05, .34, .5."""
    stream = Stream(Distribution("uniform", loc=0.2, scale=0.8))
    codes = np.array([[0.05], [0.34], [0.5]])
    return [
        float(follow(VQ(0.02), stream, codes, 5000, seed * 1000 + i).hits[0] > 0)
        for i in range(4 if effort == "quick" else 40)
    ]


CLAIMS = [hits_while_out_of_reach, revivals]
