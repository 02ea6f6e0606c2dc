"""The codebook of each rule as a torch module: where its codes are, and what moves them.

A codebook that is trained has a `loss`, the mean over samples and dimensions of |x - c|^2, so that SGD with the rate lr
moves it as the simulator's rule does with eta = 2 lr / D. One that is not, as EMA's, moves in `update`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vqtheory.nn.ops.search import assign


class Codebook(nn.Module):
    """Codes that are parameters: plain vector quantization."""

    def __init__(self, rule: Any, num_codes: int, dim: int) -> None:
        super().__init__()
        self.rule = rule
        self.weight = nn.Parameter(torch.zeros(num_codes, dim), requires_grad=self.trained)

    trained = True

    def load(self, state: Any) -> None:
        """Take over a start of the simulator's rule."""
        self.weight.data.copy_(_tensor(state.codes))

    def settle(self) -> None:
        """What is put right before a pass in training."""

    def codes(self) -> Tensor:
        """The codes [K, D], with their gradient."""
        return self.weight

    def project(self, latents: Tensor) -> Tensor:
        """Latents [N, D] as they are compared with the codes."""
        return latents

    def assign(self, latents: Tensor, codes: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest codes of latents [N, D], and what is added to the loss for codes that are not chosen."""
        return assign(latents, codes), codes.new_zeros(())

    def loss(self, latents: Tensor, chosen: Tensor) -> Tensor:
        """E |x - c|^2 / D over the latents [N, D], which get no gradient, and their codes."""
        return (latents - chosen).square().mean(dim=1).mean()

    def update(self, latents: Tensor, chosen: Tensor, indices: Tensor, step: Tensor, displacement: Tensor | None) -> None:
        """What moves codes without a gradient."""


def _tensor(values: Any) -> Tensor:
    return (
        torch.from_numpy(np.ascontiguousarray(values))
        if np.ndim(values)
        else torch.tensor(float(values), dtype=torch.float64)
    )
