"""What the last passes in training have used, for activation checkpointing, which runs a pass once more.

By then EMA has moved its codes. A pass is found again by some of its latents, which are the same the second time.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

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
