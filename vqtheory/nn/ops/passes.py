"""What the last passes in training have used, for activation checkpointing, which runs a pass once more.

By then EMA has moved its codes. A pass is found again by some of its latents, which are the same the second time.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from vqtheory.nn.ops.mode import repeated

_MOST = 4  # passes of one layer before their backward passes
_SAMPLES = 8  # latents by which a pass is known


class Passes:
    """The step and, where a forward pass moves them, the codes of the last passes. A copy of a layer has seen none."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, Tensor, Tensor, Tensor | None]] = deque(maxlen=_MOST)

    def keep(self, latents: Tensor, step: Tensor, codes: Tensor | None) -> None:
        """Remember a pass on latents [N, D]; `codes` is None where the pass does not move them."""
        codes = None if codes is None else codes.detach().clone()
        self._seen.append((len(latents), _sample(latents), step.clone(), codes))

    def find(self, latents: Tensor) -> tuple[Tensor, Tensor | None]:
        """The step and the codes of the last pass on these latents."""
        sample = _sample(latents)
        alike = [seen for seen in self._seen if seen[0] == len(latents) and seen[1].shape == sample.shape]
        if alike:
            errors = torch.stack([(seen[1] - sample).abs().sum() for seen in alike]).tolist()
            error, nearest = min((error, -place) for place, error in enumerate(errors))
            if error <= 1e-3 * float(sample.abs().sum()):
                return alike[-nearest][2:]
        raise RuntimeError(
            f"A backward pass repeats a forward pass of VectorQuantize that is not among its last {_MOST}: "
            "run the backward pass sooner, or leave the layer out of activation checkpointing."
        )

    def __deepcopy__(self, memo: dict) -> Passes:
        return Passes()

    def __reduce__(self) -> tuple:
        return Passes, ()


def _sample(latents: Tensor) -> Tensor:
    return latents[:: max(1, len(latents) // _SAMPLES)].clone()


@torch.library.custom_op("vqtheory::advance", mutates_args=("step",), schema="(Tensor(a!) step) -> ()")
def advance(step: Tensor) -> None:
    """Count a pass, in a compiled graph too, which does not know by whom it is run."""
    if not repeated():
        step.add_(1)


@advance.register_fake
def _(step: Tensor) -> None:
    return None


@torch.library.custom_op("vqtheory::unrepeated", mutates_args=(), schema="(Tensor codes) -> Tensor")
def _unrepeated(codes: Tensor) -> Tensor:
    if repeated():
        raise RuntimeError(
            "A compiled VectorQuantize whose codes move in the forward pass, or whose rule has a schedule, cannot be run "
            "again by activation checkpointing: leave it out of either, or compile the rest of the model alone."
        )
    return codes.clone()


@_unrepeated.register_fake
def _(codes: Tensor) -> Tensor:
    return torch.empty_like(codes)


def unrepeated(codes: Tensor) -> Tensor:
    """The codes, in a compiled graph that refuses to be run again by a backward pass."""
    held = codes.detach()
    return _unrepeated(held) + (codes - held)
