"""The layer on a GPU by every rule, beside the dense formulas, vector-quantize-pytorch and flash-kmeans' assignment.

`fraction` is what a pass reaches of the device's own product: 2 N K D operations, those of one assignment, over its seconds,
at the rate of a product of square matrices in float32. `agreement` is the share of latents with the code of our assignment.
A case that cannot be measured has the reason as its `note`. The section ends within eight minutes, whatever the device: a
case that would begin later is left out. Without a GPU it runs at a small size, to show that it would."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import TYPE_CHECKING, Any

from simulations.benchmarks.layer import CASES, DIM

if TYPE_CHECKING:
    from torch import Tensor

SIZES = ((65536, 16384), (65536, 262144))  # latents, codes
SMALL = ((1024, 256), (1024, 1024))  # on a CPU
LAYERS = (tuple(CASES), ("VQ", "EMA", "NSVQ", "NSVQ softmax", "dense VQ", "dense NSVQ", "lucidrains EMA"))  # at each size
SIDE = {"cuda": 8192, "cpu": 1024}  # of the matrices whose product is the device's own rate
SECONDS, LAST_BEGIN = 4.0, 400.0  # of a case's passes; of the section, after which none is begun


def gpu() -> Iterator[dict]:
    """A row for each size and case: seconds and memory of a pass, of the layers forward and backward."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    began, rate = time.monotonic(), product_rate(device)
    sizes = SIZES if device.type == "cuda" else SMALL
    for (num_latents, num_codes), layers in zip(sizes, LAYERS, strict=True):
        task = {"section": "gpu", "codes": num_codes, "dim": DIM, "batch": num_latents, "device": name}
        operations = 2 * num_latents * num_codes * DIM
        for case in (*layers, *ASSIGNMENTS):
            if time.monotonic() - began > LAST_BEGIN:
                result: dict[str, Any] = {"note": f"left out, since {LAST_BEGIN:.0f} seconds had passed"}
            else:
                result = measured(case, num_latents, num_codes, device)
            fraction = operations / result["seconds"] / rate if "seconds" in result else None
            yield task | {"case": case, "fraction": fraction} | result


def measured(case: str, num_latents: int, num_codes: int, device: Any) -> dict[str, Any]:
    """Seconds and megabytes of a pass; or a note that says why there are none."""
    import torch

    torch.manual_seed(0)
    try:
        latents = torch.randn(1, num_latents, DIM, device=device)
        if case in CASES:
            return timed(CASES[case](latents, num_codes), device)
        codes = torch.randn(num_codes, DIM, device=device)
        assign = ASSIGNMENTS[case]
        alike = (assign(latents[0], codes) == ours(latents[0], codes)).double().mean()
        return timed(lambda: assign(latents[0], codes), device) | {"agreement": float(alike)}
    except ImportError as error:
        return {"note": f"{error.name} is not installed"}
    except torch.cuda.OutOfMemoryError:
        return {"note": "needs more memory than the device has"}
    except RuntimeError as error:  # of a peer, which is not to end the script
        return {"note": str(error).strip().splitlines()[0]}
    finally:
        torch.cuda.empty_cache()


def timed(step: Callable[[], object], device: Any) -> dict[str, float]:
    """The median of several passes after a first, and the most that a GPU holds in one beside what it held before."""
    import torch

    on_gpu = device.type == "cuda"
    wait: Callable[[], object] = torch.cuda.synchronize if on_gpu else bool
    step()
    wait()
    held = torch.cuda.memory_allocated() if on_gpu else 0
    torch.cuda.reset_peak_memory_stats() if on_gpu else None
    times: list[float] = []
    while len(times) < 3 or (len(times) < 25 and sum(times) < SECONDS):
        began = time.perf_counter()
        step()
        wait()
        times.append(time.perf_counter() - began)
    memory = {"megabytes": (torch.cuda.max_memory_allocated() - held) / 1e6} if on_gpu else {}
    return {"seconds": median(times), **memory}


def product_rate(device: Any) -> float:
    """Operations per second of a product of square matrices in float32, by default without TF32."""
    import torch

    side = SIDE[device.type]
    left, right = torch.randn(2, side, side, device=device)
    return 2 * side**3 / timed(lambda: left @ right, device)["seconds"]


def ours(latents: Tensor, codes: Tensor) -> Tensor:
    """The layer's own assignment."""
    from vqtheory.nn.ops.search import assign

    return assign(latents, codes)


def dense(latents: Tensor, codes: Tensor) -> Tensor:
    """Common code: all squared distances by a product, and the place of the least in each row."""
    squared = latents.square().sum(dim=1, keepdim=True) + codes.square().sum(dim=1) - 2 * latents @ codes.T
    return squared.argmin(dim=1)


def flash_kmeans(latents: Tensor, codes: Tensor) -> Tensor:
    """flash-kmeans' kernel in Triton, which never has all distances at a time."""
    from flash_kmeans.assign_euclid_triton import euclid_assign_triton

    return euclid_assign_triton(latents[None], codes[None], latents.square().sum(dim=1)[None])[0]


ASSIGNMENTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "assignment": ours,
    "dense assignment": dense,
    "flash-kmeans assignment": flash_kmeans,
}
