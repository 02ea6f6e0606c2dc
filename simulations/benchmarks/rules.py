"""Every rule by its name in the simulator, one update for each batch, beside plain VQ: what a rule costs, and has to cost.

`products` counts the passes of 2 K D operations for each latent that a rule cannot do without: one for the distances, one
where all codes move along all latents, one where latents are mixed of all codes. Exponentials and sorts come on top and are
not counted. `times` is the rule's time for a latent over plain VQ's, both medians of turns that they took in one process.
"""

from __future__ import annotations

from collections.abc import Iterator

from simulations.benchmarks.simulator import STEP_SIZE, advancing, latents, one_thread
from vqtheory.rules import (
    CVQ,
    EMA,
    FSCL,
    FVQ,
    GRITVQ,
    IBQ,
    NSVQ,
    SOM,
    VQ,
    Affine,
    Conscience,
    CosineVQ,
    EntropyVQ,
    GraphVQ,
    HyperVQ,
    NeuralGas,
    Reestimate,
    Replacement,
    Rule,
    SimVQ,
    Sinkhorn,
    TrainedVQ,
    Transport,
    TransVQ,
    Wasserstein,
)

NUM_CODES, DIM, BATCH, STEPS = 1024, 64, 1024, 4
CASES: dict[str, tuple[Rule, int | None]] = {  # the rule, and its products; None for a map, whose own work is another
    "EMA": (EMA(), 1),
    "VQ with Adam": (TrainedVQ(), 1),
    "CosineVQ": (CosineVQ(STEP_SIZE), 1),
    "CVQ": (CVQ(), 1),
    "FSCL": (FSCL(), 1),
    "Conscience": (Conscience(), 1),
    "SOM": (SOM(), 1),
    "NeuralGas": (NeuralGas(), 2),
    "Sinkhorn": (Sinkhorn(), 1),
    "EntropyVQ": (EntropyVQ(), 2),
    "NSVQ": (NSVQ(), 2),
    "NSVQ gaussian": (NSVQ(STEP_SIZE, bandwidth=1.0), 2),
    "NSVQ softmax": (NSVQ(STEP_SIZE, bandwidth=1.0, form="softmax"), 2),
    "NSVQ propagate": (NSVQ(STEP_SIZE, bandwidth=1.0, form="propagate"), 2),
    "IBQ": (IBQ(), 3),
    "IBQ by distance": (IBQ(similarity="l2"), 3),
    "HyperVQ": (HyperVQ(), 3),
    "GRITVQ": (GRITVQ(), 1),
    "SimVQ": (SimVQ(), 1),
    "VQ with transport": (Transport(VQ(STEP_SIZE)), 2),  # codes to the latents before their move, and latents to codes
    "VQ in a frame": (Affine(VQ(STEP_SIZE)), 1),
    "VQ with Wasserstein's pull": (Wasserstein(VQ(STEP_SIZE)), 1),
    "VQ re-estimated": (Reestimate(VQ(STEP_SIZE)), 1),
    "EMA with replacement": (Replacement(EMA()), 1),
    "FVQ": (FVQ(), None),
    "GraphVQ": (GraphVQ(), None),
    "TransVQ": (TransVQ(), None),
}


def rules() -> Iterator[dict]:
    """A row for each rule."""
    x, codes = latents(NUM_CODES, DIM, BATCH)
    x = x[:STEPS]
    for name, (rule, products) in CASES.items():
        plain, own = one_thread({"plain": advancing(VQ(STEP_SIZE), x, codes), name: advancing(rule, x, codes)}).values()
        task = {"section": "rules", "case": name, "codes": NUM_CODES, "dim": DIM, "batch": BATCH}
        yield task | {"microseconds": 1e6 / own, "times": plain / own, "products": products}
