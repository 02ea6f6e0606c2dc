"""The one list of rules: whatever a test asks of every rule it asks of these.

A new rule is a row here, an entry in `twins.py` and a row of docs/rules.md.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

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
from vqtheory.schedules import exponential, harmonic


class Row(NamedTuple):
    """One class of rules, in instances that are quick to test."""

    simulator: Sequence[Rule]  # between them they take every branch; the first is the plain one
    layer: Sequence[Rule] = ()  # for the layer in torch and for trainings; the first is the plain one
    revives: bool = False  # codes come back by themselves, from any distance, within a few updates
    made: bool = False  # codes are made of parameters that are no codes
    maps: Sequence[tuple[int, int, Rule]] = ()  # of a map rule: K, D and instances whose forward and backward have a twin


TABLE = [
    Row(
        [VQ(0.25), VQ(harmonic(1.0), clock="wins"), VQ(0.25, start="published")],
        layer=[VQ()],
    ),
    Row(
        [EMA(decay=0.75), EMA(decay=0.75, smoothing=1e-5)],
        layer=[EMA()],
    ),
    Row(
        [
            NSVQ(decay=0.75),
            NSVQ(0.25, bandwidth=exponential(2.0, half_life=3)),
            NSVQ(0.25, bandwidth=2.0, form="softmax"),
            NSVQ(0.25, bandwidth=2.0, form="propagate"),
        ],
        layer=[NSVQ(), NSVQ(bandwidth=exponential(1.0, half_life=4)), NSVQ(bandwidth=0.5, form="propagate")],
    ),
    Row(
        [SimVQ(0.25), SimVQ(0.25, bias=False), SimVQ(0.01, optimizer="adam", start="published")],
        layer=[SimVQ()],
        maps=[(9, 4, SimVQ()), (3, 2, SimVQ(bias=False)), (1, 3, SimVQ(start="published"))],
    ),
    Row(
        [
            TransVQ(exponential(0.01, half_life=3), width=8),
            TransVQ(0.01, width=8, depth=2, heads=2, positions=False, optimizer="sgd"),
        ],
        layer=[TransVQ(width=8)],
        maps=[
            (5, 2, TransVQ(width=8)),
            (7, 3, TransVQ(width=12, depth=2, heads=3, mlp_ratio=1)),
            (4, 1, TransVQ(width=6, depth=3, heads=2, mlp_ratio=3, positions=False)),
            (6, 2, TransVQ(width=10, heads=10, positions=False, start="published")),
        ],
    ),
    Row(
        [
            FVQ(exponential(0.01, half_life=3), patch=2, width=8, depth=1, heads=2),
            FVQ(0.01, patch=2, width=8, depth=0, residual=True, optimizer="sgd"),
        ],
        layer=[FVQ(patch=2, width=8, depth=1, heads=2, positions=True)],
        maps=[
            (5, 2, FVQ(patch=2, width=8)),
            (9, 3, FVQ(patch=3, width=12, depth=1, heads=3, layout="square", residual=True, start="published")),
            (36, 1, FVQ(patch=2, width=6, heads=2, layout="square", positions=True, train_base=False)),
            (7, 2, FVQ(patch=1, width=9, depth=0, heads=3, eps=0.1, residual=True)),
        ],
    ),
    Row(
        [GraphVQ(exponential(0.01, half_life=3), width=8), GraphVQ(0.25, width=8, optimizer="sgd", start="published")],
        layer=[GraphVQ(width=8)],
        maps=[(9, 2, GraphVQ(width=5)), (3, 4, GraphVQ(features=np.eye(3)[:, :2], edges=[[1, 0], [1, 2]], width=4))],
    ),
    Row(
        [CosineVQ(0.25)],
        layer=[CosineVQ()],
    ),
    Row(
        [Sinkhorn(0.25)],
        layer=[Sinkhorn(rounds=2)],
        revives=True,
    ),
    Row(
        [
            CVQ(0.25, decay=0.5),
            CVQ(0.25, decay=0.5, anchors="probabilistic"),
            CVQ(0.25, decay=0.5, anchors="random", similarity="cosine"),
        ],
        layer=[CVQ(), CVQ(anchors="probabilistic")],
        revives=True,
    ),
    Row(
        [NeuralGas(0.25), NeuralGas(0.25, exponential(2.0, half_life=1))],
        layer=[NeuralGas()],
        revives=True,
    ),
    Row(
        [SOM(0.25), SOM(0.25, exponential(2.0, half_life=1), neighbourhood="bubble")],
        layer=[SOM()],
        revives=True,
    ),
    Row(
        [FSCL(0.25), FSCL(0.25, fairness=2.5, decay=0.5)],
        layer=[FSCL(fairness=0.1)],  # at 1 a model trains, and its commitment loss grows
        revives=True,
    ),
    Row(
        [Conscience(0.25, decay=0.5)],
        layer=[Conscience()],
        revives=True,
    ),
    Row(
        [IBQ(0.25), IBQ(0.25, temperature=0.5, entropy_weight=0.0), IBQ(0.25, "l2", entropy_temperature=0.5)],
        layer=[IBQ(), IBQ(similarity="l2")],
        revives=True,  # by the dot product a far code wins by its length
    ),
    Row(
        [GRITVQ(0.25), GRITVQ(0.25, radius=0, rank=2), GRITVQ(0.01, rank=2, features=False, optimizer="adam")],
        layer=[GRITVQ(rank=2)],
        maps=[(9, 4, GRITVQ(rank=3)), (5, 2, GRITVQ()), (6, 2, GRITVQ(rank=1, features=False, start="published"))],
    ),
    Row(
        [HyperVQ(0.25), HyperVQ(0.25, curvature=0.1, temperature=0.5)],
        layer=[HyperVQ()],
        made=True,
    ),
    Row(
        [
            TrainedVQ(0.01),
            TrainedVQ(0.25, optimizer="sgd", momentum=0.5, start="published"),
            TrainedVQ(0.01, weight_decay=0.1),
        ],
    ),
    Row(
        [Transport(VQ(0.25)), Transport(EMA(decay=0.75, smoothing=1e-5)), Transport(CosineVQ(0.25))],
    ),
    Row(
        [Replacement(VQ(0.25), every=4), Replacement(Transport(VQ(0.25)), every=4, policy="oldest")],
    ),
    Row(
        [Affine(EMA(decay=0.75), "covariance")],
        layer=[Affine(VQ())],
    ),
    Row(
        [EntropyVQ(0.25)],
        layer=[EntropyVQ()],
    ),
    Row(
        [Wasserstein(VQ(0.25))],
        layer=[Wasserstein(EMA())],
    ),
    Row(
        [Reestimate(VQ(0.25), every=4, until=8, reservoir=520)],
        layer=[Reestimate(VQ(), every=4, until=8, reservoir=520)],
        revives=True,
    ),
]

RULES = [rule for row in TABLE for rule in row.simulator]
PLAIN = [row.simulator[0] for row in TABLE]
MAP_RULES = [rule for row in TABLE if row.maps for rule in row.simulator]
MAPS = [case for row in TABLE for case in row.maps]

LAYER = [rule for row in TABLE for rule in row.layer]
PLAIN_LAYER = [row.layer[0] for row in TABLE if row.layer]
UNDER_SGD = [rule for rule in RULES if rule.key and rule.start == "matched" and getattr(rule, "clock", "step") == "step"]
WITH_ROWS = [row.layer[0] for row in TABLE if row.layer and not row.maps and not row.made]  # the codes of a map have no rows
STAY_DEAD = [row.layer[0] for row in TABLE if row.layer and not row.maps and not row.made and not row.revives]
