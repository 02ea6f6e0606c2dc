"""HyperVQ's codebook: directions, offsets and gains, which make the codes and the logits."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from vqtheory import rules
from vqtheory.nn.codebooks.base import Batch, Codebook, Soft, tensor
from vqtheory.nn.ops.hyperbolic import code_mixture, highest_logit, soft_distortion
from vqtheory.nn.ops.presence import wide
from vqtheory.protocols import State
from vqtheory.rules.interpretations.hypervq import HyperState


class HyperVQCodebook(Codebook, of=rules.HyperVQ):
    """The directions are `weight`, put back to unit length before each pass in training.

    The decoder's gradient reaches latents and all codes through the softmax of the logits, and there is no straight-through
    part. The codebook loss is the mean distortion by the softmax, of which the latents get no gradient.
    """

    has_rows = False
    soft = True
    rule: rules.HyperVQ

    def __init__(self, rule: rules.HyperVQ, num_codes: int, dim: int) -> None:
        super().__init__(rule, num_codes, dim)
        self.offsets = nn.Parameter(torch.zeros(num_codes))
        self.gains = nn.Parameter(torch.ones(num_codes))

    def load(self, state: State) -> None:
        state = cast(HyperState, state)
        for part, values in ((self.weight, state.directions), (self.offsets, state.offsets), (self.gains, state.gains)):
            part.data.copy_(tensor(values))

    def settle(self) -> None:
        """Undo an optimizer's step off the sphere."""
        if not self.held:
            self.weight.data.copy_(nn.functional.normalize(self.weight.data, dim=1))

    def codes(self) -> Tensor:
        directions, offsets, _ = self._frame()
        return offsets[:, None] * directions

    def _frame(self) -> tuple[Tensor, Tensor, Tensor]:
        return nn.functional.normalize(wide(self.weight), dim=1), wide(self.offsets), wide(self.gains)

    @property
    def _s(self) -> float:
        return float(2 * self.rule.curvature**0.5)

    def startable(self, latents: Tensor) -> Tensor:
        """All but the origin, as many of which leave a ReLU: it has no direction."""
        return latents[latents.any(dim=1)]

    def assign(self, batch: Batch, codes: Tensor) -> tuple[Tensor, Tensor]:
        frame = [part.to(batch.latents.dtype) for part in self._frame()]
        held = [part.detach() for part in frame]
        indices = highest_logit(batch.latents, *held, self._s)
        if not self.training:
            return indices, codes.new_zeros(())
        loss, *gradients = soft_distortion(batch.latents, *held, self._s, batch.keep, float(self.rule.temperature))
        for part, known, gradient in zip(frame, held, gradients, strict=True):
            loss = loss + ((part - known) * gradient).sum()  # adds 0, and the gradient
        return indices, loss

    def loss(self, batch: Batch, chosen: Tensor) -> Tensor:
        return chosen.new_zeros(())

    def soften(self, batch: Batch, latents: Tensor, codes: Tensor, chosen: Tensor) -> Soft:
        directions, offsets, gains = (part.to(latents.dtype) for part in self._frame())
        mixture = code_mixture(latents, directions, offsets, gains, self._s, float(self.rule.temperature))
        return Soft(chosen + mixture, chosen.new_zeros(()))
