"""The simulator's rules: one sample per update, many, and what a kernel over all codes costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from threadpoolctl import threadpool_limits

import vqtheory as vq
from simulations.benchmarks import peers
from simulations.benchmarks.timing import product, rates
from vqtheory.protocols import Rule
from vqtheory.rules import EMA, NSVQ, VQ, TransVQ
from vqtheory.rules.base import declared

SHAPES = ((16, 2), (256, 8), (1024, 64), (8192, 64))  # K, D
TRANSFORMERS = ((64, 16, 64, 256), (1024, 64, 256, 4096))  # K, D, width, latents
WORK = 2**32  # operations of a run
STEP_SIZE = 0.05


def latents(num_codes: int, dim: int, batch_size: int = 1, work: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Batches [T, B, D] of a uniform cube in float32, and codes [K, D] in it."""
    random, samples = np.random.default_rng(0), int((work or WORK) / (3 * num_codes * dim))
    steps = max(2, min(samples, 1_000_000) // batch_size)
    return random.random((steps, batch_size, dim), dtype=np.float32), random.random((num_codes, dim), dtype=np.float32)


def advancing(rule: Rule, x: np.ndarray, codes: np.ndarray) -> Callable[[], int]:
    """`advance` alone, latents at hand; a small shift of all for a rule that asks how they have moved."""
    moved = np.full_like(x, 1e-3) if declared(rule, "needs_displacement") else None
    state, batches = rule.init(codes, seed=0), vq.Batches(x, moved)

    def run() -> int:
        rule.advance(state, batches)
        return x.shape[0] * x.shape[1]

    return run


def online() -> Iterator[dict]:
    """One sample per update, each beside its peers and the bound."""
    for num_codes, dim in SHAPES:
        x, codes = latents(num_codes, dim)
        few = max(200, len(x) // 50)
        competitors = {
            "VQ": advancing(VQ(STEP_SIZE), x, codes),
            "compiled loop": peers.compiled_loop(x[:, 0], codes),
            "scikit-learn": peers.mini_batches(latents(num_codes, dim, 1, 4 * WORK)[0][:, 0], codes),
            "NumPy loop": peers.numpy_loop(x[:few, 0], codes),
            "product": product(),
        }
        yield from compared("online", "VQ", num_codes, dim, 1, one_thread(competitors))


def batch() -> Iterator[dict]:
    """max(1024, K) samples per update."""
    for num_codes, dim in SHAPES:
        size = max(1024, num_codes)
        x, codes = latents(num_codes, dim, size, 4 * WORK)
        for name, rule in (("VQ", VQ(STEP_SIZE)), ("EMA", EMA())):
            competitors = {
                name: advancing(rule, x, codes),
                "scikit-learn": peers.mini_batches(x.reshape(-1, dim), codes),
                "product": product(),
            }
            yield from compared("batch", name, num_codes, dim, size, one_thread(competitors))


def kernels() -> Iterator[dict]:
    """NSVQ with a wide kernel and with one narrower than the spacing of the codes, beside the plain loop."""
    for num_codes, dim in SHAPES[1:]:
        x, codes = latents(num_codes, dim)
        spacing = float(np.sqrt(vq.measure.distortion(x[:1000, 0], codes)))
        for kernel, width in (("wide", 10 * np.sqrt(dim)), ("narrow", spacing / 20)):
            name = f"NSVQ, {kernel} kernel"
            rule = NSVQ(STEP_SIZE, bandwidth=float(width))
            competitors = {name: advancing(rule, x, codes), "compiled loop": peers.compiled_loop(x[:, 0], codes)}
            yield from compared("kernels", name, num_codes, dim, 1, one_thread(competitors))
    yield from transformers()


def transformers() -> Iterator[dict]:
    """A step of TransVQ beside one of the layer in torch with the same map: assignment, both passes and Adam in both."""
    for num_codes, dim, width, size in TRANSFORMERS:
        random = np.random.default_rng(0)
        x, codes = random.random((3, size, dim), dtype=np.float32), random.random((num_codes, dim), dtype=np.float32)
        rule = TransVQ(width=width)
        competitors = {"TransVQ": advancing(rule, x, codes), "torch": in_torch(rule, x, codes)}
        yield from compared("kernels", "TransVQ", num_codes, dim, size, one_thread(competitors))


def in_torch(rule: TransVQ, x: np.ndarray, codes: np.ndarray) -> Callable[[], int]:
    """The layer's own codebook, trained by torch's Adam."""
    import torch

    from vqtheory.nn import VectorQuantize

    layer = VectorQuantize(x.shape[2], len(codes), rule)
    layer.initialize(torch.from_numpy(codes))
    optimizer = torch.optim.Adam(layer.codebook_parameters(), lr=5e-4)
    batches = torch.from_numpy(x)[:, None]

    def run() -> int:
        for one in batches:
            optimizer.zero_grad()
            layer(one).loss.backward()
            optimizer.step()
        return x.shape[0] * x.shape[1]

    return run


def one_thread(competitors: dict[str, Callable[[], int]]) -> dict[str, float]:
    """Rates on one thread, torch's own included."""
    threads = _torch_threads(1)
    with threadpool_limits(1):
        measured = rates(competitors)
    _torch_threads(threads)
    return measured


def _torch_threads(number: int) -> int:
    try:
        import torch
    except ImportError:
        return 1
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    return before


def compared(section: str, name: str, num_codes: int, dim: int, size: int, rate_of: dict[str, float]) -> Iterator[dict]:
    """A row for each peer: million samples per second of ours and of the peer's, and the ratio."""
    task = {"section": section, "case": name, "codes": num_codes, "dim": dim, "batch": size}
    operations = rate_of.pop("product", None)
    if operations is not None:
        rate_of["bound"] = operations / (2 * num_codes * dim)
    ours = rate_of.pop(name)
    for peer, rate in rate_of.items():
        yield task | {"peer": peer, "ours": ours / 1e6, "theirs": rate / 1e6, "ratio": ours / rate}
