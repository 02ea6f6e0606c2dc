"""The protocol of the face study: which trainings there are, and how settings are chosen.

Of the training photographs the last 1,000 are left out of every training that compares methods, for validation. A method
that has a rate is tried at four values of it, in 500 updates of one seed, and the one with the highest PSNR on validation
images is its *tuned* setting. For codes under an optimizer the rate is Adam's, for running means it is 1 - decay. What a
user gets who types the method's name is its setting *by name*. The test images are looked at once, after 2,000 updates.

=========  ================================================================================  =====
group      what                                                                              seeds
=========  ================================================================================  =====
search     the four values of the rate, on validation images                                 1
named      every method by its name                                                          3 or 1
tuned      every method that has a rate, at the one that was chosen                          3 or 1
sizes      transport and NSVQ by name: 4,096 and 16,384 codes, and 8 dimensions              1
ablation   transport over its neighbours, how often, and its images; with NSVQ's kernel too  1
published  rules by name, from the start of their own papers                                 1
models     DQ-VAE over gate and budget beside grids of 64 and 256 codes an image, and VQCT   1
staged     NSVQ alone, and with replacement and an encoder that stops, at two sizes          1
sgd        plain VQ with its codes under SGD, as in the laws, over codes and rate            1
size       plain VQ over the dimensions of the latents, and over the number of codes         1
=========  ================================================================================  =====

Three seeds are for VQ, EMA, plain VQ with transport, NSVQ and TransVQ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from vqtheory.protocols import Rule
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
    SimVQ,
    Sinkhorn,
    TransVQ,
    Wasserstein,
)
from vqtheory.rules.replacement import POLICIES
from vqtheory.schedules import exponential

if TYPE_CHECKING:
    from vqtheory.nn.training.config import TrainingConfig

STEPS, SEARCH_STEPS, STEPS_FAST, RECORDS = 2000, 500, 8, 40
VALIDATION, SEEDS = 1000, 3
RATE, RATES = 5e-4, (5e-4, 2e-3, 1e-2, 4e-2)  # of Adam for the codes: by name, and to choose from
DECAYS = (0.99, 0.95, 0.8, 0.5)  # of running means
NARROWING = exponential(2.0, half_life=200)  # the bandwidth of NSVQ's published forms
REPLACED, LATE = 100, 200  # updates from one replacement or re-estimation to the next, and before codes are used
FROZEN = 1500  # the update from which the encoder of a staged training stays as it is
GATES, BUDGETS = ("entropy", "learned"), (0.25, 0.5)  # of DQ-VAE
DIMS, SIZES = (4, 8, 16, 32, 64), (2048,)  # of 512 codes; 512 codes in 64 dimensions are among the first
SGD_CODES, SGD_RATES = (64, 256, 1024), (0.5, 2.0, 8.0, 32.0)  # eta = rate / 32 at 64 dimensions

Options = dict[str, Any]  # of TrainingConfig


class Method(NamedTuple):
    """What is compared: its setting by name, and the settings to choose from; none where there is no rate."""

    options: Options
    grid: Mapping[float, Options] = MappingProxyType({})


class Point(NamedTuple):
    """One training."""

    group: str
    label: str
    seed: int
    options: Options

    @property
    def name(self) -> str:
        """Of its folder."""
        return re.sub(r"[^\w.]+", "-", f"{self.group}-{self.label}-{self.seed}")

    def training(self, fast: bool) -> TrainingConfig:
        """Its configuration; a fast one is of a few updates on small images."""
        from vqtheory.nn.training.config import TrainingConfig

        options: Options = {"steps": STEPS, "records": RECORDS, "seed": self.seed} | self.options
        if fast:
            options |= {"steps": STEPS_FAST, "records": 2, "probe_every": 4, "size": 16, "batch_size": 4}
            options |= {"validation": 16} if "validation" in options else {}
        return TrainingConfig(**options)

    def key(self, fast: bool) -> tuple[str, str, str]:
        """What a row is known by."""
        return self.group, self.label, repr(self.training(fast))


def by_rate(rule: Rule, **options: Any) -> Method:
    """A method whose codes, or their map, an optimizer moves."""
    return Method({"rule": rule, **options}, {rate: {} if rate == RATE else {"codebook_lr": rate} for rate in RATES})


def by_decay(rule: Any, own: float, **options: Any) -> Method:
    """A method whose codes are running means, with a decay of its own by name."""
    return Method({"rule": rule, **options}, {decay: {} if decay == own else _decaying(rule, decay) for decay in DECAYS})


def _decaying(rule: Any, decay: float) -> Options:
    """A rule, or the text of another package's quantizer, with this decay."""
    return {"rule": f"{rule[:-1]}decay={decay})" if isinstance(rule, str) else replace(rule, decay=decay)}


def _replaced(policy: str) -> Options:
    return {"replace_every": REPLACED, "replace_policy": policy}


COMPARED: dict[str, Method] = {
    "VQ": by_rate(VQ()),
    "EMA": by_decay(EMA(), 0.99),
    "VQ with transport": by_rate(VQ(), transport=1),
    "NSVQ": Method({"rule": NSVQ()}),
    "TransVQ": by_rate(TransVQ()),
    "NSVQ with transport": Method({"rule": NSVQ(), "transport": 1}),
    "EMA with transport": by_decay(EMA(), 0.99, transport=1),
    "EMA with expiry": by_decay("ExpiringEMA()", 0.8),
    "SimVQ": by_rate(SimVQ()),
    "SimVQ without bias": by_rate(SimVQ(bias=False)),
    "CosineVQ": by_rate(CosineVQ()),
    "NSVQ gaussian": by_rate(NSVQ(form="gaussian", bandwidth=NARROWING)),
    "NSVQ softmax": by_rate(NSVQ(form="softmax", bandwidth=NARROWING)),
    "NSVQ propagate": by_rate(NSVQ(form="propagate", bandwidth=NARROWING)),
    "FSQ": Method({"rule": "FSQ()", "codes": 1000}),
    "LFQ": Method({"rule": "LFQ()"}),
}
MOVING: dict[str, Method] = {  # stored codes in other ways, or what becomes of dead ones
    "CVQ": by_rate(CVQ()),
    "NeuralGas": by_rate(NeuralGas()),
    "SOM": by_rate(SOM()),
    "FSCL": by_rate(FSCL()),
    "Conscience": by_rate(Conscience()),
    "Sinkhorn": by_rate(Sinkhorn()),
    "EntropyVQ": by_rate(EntropyVQ()),
    "VQ in a scalar frame": by_rate(Affine(VQ(), per="scalar")),
    "VQ in a frame": by_rate(Affine(VQ())),
    "VQ in a frame of covariance": by_rate(Affine(VQ(), per="covariance")),
    "VQ with Wasserstein's pull": by_rate(Wasserstein(VQ())),
    "VQ re-estimated": by_rate(Reestimate(VQ(), every=REPLACED, until=1500)),
    "VQ, quantized late": by_rate(VQ(), quantize_from=LATE),
    **{f"EMA with replacement: {policy}": by_decay(EMA(), 0.99, **_replaced(policy)) for policy in POLICIES},
}
PASSING: dict[str, Method] = {  # gradients through maps, softmaxes and estimators
    "FVQ": by_rate(FVQ()),
    "FVQ residual": by_rate(FVQ(residual=True)),
    "GraphVQ": by_rate(GraphVQ()),
    "IBQ": by_rate(IBQ()),
    "IBQ by distance": by_rate(IBQ(similarity="l2")),
    "GRITVQ": by_rate(GRITVQ()),
    "HyperVQ": by_rate(HyperVQ()),
    "BSQ": Method({"rule": "BSQ()"}),
    "VQ by rotation": by_rate(VQ(), estimator="rotation"),
    "VQ by rotation about the mean": by_rate(VQ(), estimator="rotation-centred"),
    "VQ by reflection": by_rate(VQ(), estimator="reflection"),
    "EMA by rotation": by_decay(EMA(), 0.99, estimator="rotation"),
    "VQ by DiVeQ": by_rate(VQ(), estimator="diveq", codebook_weight=0.0, beta=0.0),  # as published
    "VQ by space-filling DiVeQ": by_rate(VQ(), estimator="space-filling-diveq", codebook_weight=0.0, beta=0.0),
    "VQ by Gumbel-softmax": by_rate(VQ(), estimator="gumbel"),
    "VQ synchronised": by_rate(VQ(), estimator="synchronised"),
    "VQ alternating": by_rate(VQ(), alternate=True),
}
METHODS = COMPARED | MOVING | PASSING
MAIN = ("VQ", "EMA", "VQ with transport", "NSVQ", "TransVQ")  # of three seeds
STARTS = ("VQ", "EMA", "NSVQ", "TransVQ", "SimVQ", "CosineVQ")
ABLATED = {"VQ with transport": VQ(), "NSVQ with transport": NSVQ()}
ABLATIONS = {"transport_neighbours": (4, 8, 32), "transport": (5, 20, 100), "transport_images": (4, 64)}
ABLATION_NAMES = {"transport_neighbours": "neighbours", "transport": "every", "transport_images": "images"}
LARGE: dict[str, Options] = {
    "4,096 codes": {"codes": 4096, "transport_images": 64},
    "16,384 codes": {"codes": 16384, "transport_images": 64},
    "8 dimensions": {"dim": 8},
}

_GRAINS: Options = {"model": "dq-vae", "rule": EMA(), "replace_every": REPLACED}
MODELS: dict[str, Options] = {
    "grid of 64": _GRAINS | {"gate": "entropy", "budget": 0},
    "grid of 256": _GRAINS | {"gate": "entropy", "budget": 1},
    **{f"{gate} gate, {budget}": _GRAINS | {"gate": gate, "budget": budget} for gate, budget in product(GATES, BUDGETS)},
    "VQCT": {"model": "vqct"},
}
_STAGES: Options = {"rule": NSVQ(), "replace_every": REPLACED, "freeze_encoder_at": FROZEN}
STAGED: dict[str, Options] = {
    "NSVQ, staged": _STAGES,
    "NSVQ, 8,192 codes": {"rule": NSVQ(), "codes": 8192},
    "NSVQ, staged, 8,192 codes": _STAGES | {"codes": 8192},
}


def points(table: pl.DataFrame) -> list[Point]:
    """All trainings that can be named by now, in the order in which they are run: tuned ones follow the search."""
    held_out = {"validation": VALIDATION}
    compared = [*_search(), *_named(), *_models(), *_tuned(table), *_sizes(), *_ablations(), *_published()]
    return [point._replace(options=point.options | held_out) for point in compared] + [*_sgd(), *_plain_sizes()]


def points_of(label: str, method: Method, table: pl.DataFrame) -> list[Point]:
    """The trainings of one method, of yours too, that can be named by now: its search, by name, and tuned, of one seed."""
    several = [*_searched(label, method), Point("named", label, 0, method.options), *_tuned_of(label, method, table)]
    return [point._replace(options=point.options | {"validation": VALIDATION}) for point in several]


def chosen(table: pl.DataFrame, label: str) -> float | None:
    """The rate of a method with the highest PSNR on validation images, once all of its search is done."""
    return _chosen(table, label, METHODS[label])


def _chosen(table: pl.DataFrame, label: str, method: Method) -> float | None:
    wanted = [_at(label, value) for value in method.grid]
    if not wanted or "group" not in table.columns:
        return None
    rows = table.filter(pl.col("group") == "search", pl.col("label").is_in(wanted))
    if len(rows) < len(wanted):
        return None
    best = rows.sort("psnr", descending=True, nulls_last=True, maintain_order=True)["label"][0]
    return next(value for value in method.grid if _at(label, value) == best)


def _at(label: str, value: float) -> str:
    return f"{label} at {value:g}"


def _search() -> Iterator[Point]:
    for label, method in METHODS.items():
        yield from _searched(label, method)


def _searched(label: str, method: Method) -> Iterator[Point]:
    for value, options in method.grid.items():
        yield Point("search", _at(label, value), 0, method.options | options | {"steps": SEARCH_STEPS})


def _named() -> Iterator[Point]:
    for seed in range(SEEDS):
        for label, method in METHODS.items():
            if seed == 0 or label in MAIN:
                yield Point("named", label, seed, method.options)


def _models() -> Iterator[Point]:
    """What is around a codebook, and how its training is staged."""
    for group, trainings in {"models": MODELS, "staged": STAGED}.items():
        for label, options in trainings.items():
            yield Point(group, label, 0, options)


def _tuned(table: pl.DataFrame) -> Iterator[Point]:
    """Of methods whose chosen setting is not the one by name: that is in the table already."""
    for seed in range(SEEDS):
        for label, method in METHODS.items():
            if seed == 0 or label in MAIN:
                yield from _tuned_of(label, method, table, seed)


def _tuned_of(label: str, method: Method, table: pl.DataFrame, seed: int = 0) -> Iterator[Point]:
    value = _chosen(table, label, method)
    if value is not None and method.grid[value]:
        yield Point("tuned", label, seed, method.options | method.grid[value])


def is_named(label: str, value: float) -> bool:
    """Whether a value of the rate is what the method has by name."""
    return not METHODS[label].grid[value]


def _sizes() -> Iterator[Point]:
    for what, label in product(LARGE, ("VQ with transport", "NSVQ", "NSVQ with transport")):
        options = METHODS[label].options | LARGE[what]
        if "transport" not in options:
            options.pop("transport_images", None)
        yield Point("sizes", f"{label}, {what}", 0, options)


def _ablations() -> Iterator[Point]:
    """One thing at a time; the setting that they part from is the one by name."""
    for (label, rule), (field, values) in product(ABLATED.items(), ABLATIONS.items()):
        for value in values:
            yield Point(
                "ablation", f"{label}, {ABLATION_NAMES[field]} {value}", 0, {"rule": rule, "transport": 1, field: value}
            )


def _published() -> Iterator[Point]:
    for label in STARTS:
        yield Point("published", label, 0, {"rule": replace(METHODS[label].options["rule"], start="published")})


def _sgd() -> Iterator[Point]:
    for codes, rate in product(SGD_CODES, SGD_RATES):
        options = {"codes": codes, "codebook_lr": rate, "codebook_optimizer": "sgd"}
        yield Point("sgd", f"{codes} codes at {rate:g}", 0, options)


def _plain_sizes() -> Iterator[Point]:
    for dim in DIMS:
        yield Point("size", f"{dim} dimensions", 0, {"dim": dim, "codes": 512})
    for codes in SIZES:
        yield Point("size", f"{codes} codes", 0, {"codes": codes})
