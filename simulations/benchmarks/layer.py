"""The layer in torch, forward and backward: time, and memory beyond the layer and the latents that it is given.

"dense NSVQ" does what "NSVQ softmax" does, with two differences: it keeps [N, K] arrays, and squared distances by the
product alone decide."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import TYPE_CHECKING

from simulations.benchmarks.timing import added_memory, elsewhere
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
    EntropyVQ,
    GraphVQ,
    HyperVQ,
    NeuralGas,
    Reestimate,
    Rule,
    Sinkhorn,
    Wasserstein,
)

if TYPE_CHECKING:
    from torch import Tensor

DIM, THREADS = 64, 2
SIZES = ((16384, 8192), (16384, 65536))  # latents, codes
LARGEST = (1024, 262144)  # of rules whose codes all have a gradient from every latent
DENSE = 2**28  # latents times codes, above which the dense peers do not fit into common machines
Pass = Callable[[], object]


def layer() -> Iterator[dict]:
    """A row for each case and size; each in a process of its own."""
    for case, num_latents, num_codes in tasks():
        call = f"from simulations.benchmarks import layer; print(layer.{{}}({case!r}, {num_latents}, {num_codes}))"
        seconds, memory = elsewhere(call.format("seconds")), elsewhere(call.format("memory"))
        task = {"section": "layer", "codes": num_codes, "dim": DIM, "batch": num_latents}
        yield task | {"case": case, "seconds": seconds, "megabytes": memory / 1e6}


def tasks() -> Iterator[tuple[str, int, int]]:
    """Case, latents and codes: what fits into common machines."""
    for num_latents, num_codes in SIZES:
        for case in CASES:
            if case not in DENSE_CASES or num_latents * num_codes <= DENSE:
                yield case, num_latents, num_codes
    for case in ("VQ", "IBQ", "IBQ by distance"):
        yield case, *LARGEST


def seconds(case: str, num_latents: int, num_codes: int) -> float:
    """Of a pass, the median of several."""
    step = prepared(case, num_latents, num_codes)
    step()
    times: list[float] = []
    while len(times) < 3 or (len(times) < 15 and sum(times) < 5):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return median(times)


def memory(case: str, num_latents: int, num_codes: int) -> float:
    """The most that a pass has beside the layer and the latents, bytes; gradients and what it returns included."""
    prepared(case, 64, 32)()  # loads libraries and starts threads
    return added_memory(prepared(case, num_latents, num_codes))


def prepared(case: str, num_latents: int, num_codes: int) -> Pass:
    """A forward and a backward pass."""
    import torch

    torch.set_num_threads(min(THREADS, os.cpu_count() or 1))
    torch.manual_seed(0)
    return CASES[case](torch.randn(1, num_latents, DIM), num_codes)


def ours(rule: Rule, estimator: str = "straight-through") -> Callable[[Tensor, int], Pass]:
    """`VectorQuantize` in training; the codes start at fresh latents."""

    def prepare(latents: Tensor, num_codes: int) -> Pass:
        import torch

        from vqtheory.nn import VectorQuantize

        layer, z = VectorQuantize(DIM, num_codes, rule, estimator=estimator).to(latents.device), latents.requires_grad_()
        layer.initialize(torch.randn(num_codes, DIM, device=latents.device))
        moved = torch.zeros_like(latents) if rule.needs_displacement else None

        def step() -> None:
            quantized, _, loss, _ = layer(z, displacement=moved)
            (quantized.mean() + loss).backward()

        return step

    return prepare


def dense_nsvq(latents: Tensor, num_codes: int) -> Pass:
    """The loss as published: squares, weights and their products are [N, K], kept for the backward pass."""
    import torch

    z, codes = latents[0].requires_grad_(), torch.nn.Parameter(torch.randn(num_codes, DIM, device=latents.device))

    def step() -> None:
        x = z.detach()
        squared = x.square().sum(dim=1, keepdim=True) + codes.square().sum(dim=1) - 2 * x @ codes.T
        indices = squared.argmin(dim=1)
        soft = torch.softmax(-squared.detach() / WIDTH**2, dim=1)
        w = (0.01 * num_codes * soft).clamp(max=1).scatter(1, indices[:, None], 1.0)
        loss = (w * squared).sum() / x.numel() + 0.25 * (z - codes.detach()[indices]).square().mean()
        (loss + (z + (codes[indices] - z).detach()).mean()).backward()

    return step


def dense_vq(latents: Tensor, num_codes: int) -> Pass:
    """Common code: squares by the product, the chosen codes by a one-hot matrix."""
    import torch

    z, codes = latents[0].requires_grad_(), torch.nn.Parameter(torch.randn(num_codes, DIM, device=latents.device))

    def step() -> None:
        squared = z.square().sum(dim=1, keepdim=True) + codes.square().sum(dim=1) - 2 * z @ codes.T
        hot = torch.zeros(len(z), num_codes, device=z.device).scatter_(1, squared.argmin(dim=1, keepdim=True), 1)
        chosen = hot @ codes
        loss = (chosen - z.detach()).square().mean() + 0.25 * (chosen.detach() - z).square().mean()
        (loss + (z + (chosen - z).detach()).mean()).backward()

    return step


def lucidrains(latents: Tensor, num_codes: int) -> Pass:
    """vector-quantize-pytorch with its defaults: codes by EMA."""
    from vector_quantize_pytorch import VectorQuantize

    layer, z = VectorQuantize(dim=DIM, codebook_size=num_codes).to(latents.device), latents.requires_grad_()

    def step() -> None:
        quantized, _, loss = layer(z)
        (quantized.mean() + loss.sum()).backward()

    return step


WIDTH = 3.0  # of NSVQ's kernel
CASES: dict[str, Callable[[Tensor, int], Pass]] = {
    "VQ": ours(VQ()),
    "EMA": ours(EMA()),
    "NSVQ": ours(NSVQ(bandwidth=WIDTH)),
    "NSVQ softmax": ours(NSVQ(bandwidth=WIDTH, form="softmax")),
    "CVQ": ours(CVQ()),
    "NeuralGas": ours(NeuralGas()),
    "SOM": ours(SOM()),
    "FSCL": ours(FSCL()),
    "Conscience": ours(Conscience()),
    "Sinkhorn": ours(Sinkhorn()),
    "EntropyVQ": ours(EntropyVQ()),
    "VQ in a frame": ours(Affine(VQ())),
    "VQ with Wasserstein's pull": ours(Wasserstein(VQ())),
    "VQ re-estimated": ours(Reestimate(VQ(), reservoir=65_536)),
    "FVQ": ours(FVQ()),
    "GraphVQ": ours(GraphVQ()),
    "IBQ": ours(IBQ()),
    "IBQ by distance": ours(IBQ(similarity="l2")),
    "GRITVQ": ours(GRITVQ()),
    "HyperVQ": ours(HyperVQ()),
    **{f"VQ by {name}": ours(VQ(), name) for name in ("rotation", "diveq", "space-filling-diveq", "gumbel")},
    "dense NSVQ": dense_nsvq,
    "dense VQ": dense_vq,
    "lucidrains EMA": lucidrains,
}
DENSE_CASES = ("dense NSVQ", "dense VQ", "lucidrains EMA")
