"""The codebook of NSVQ's published forms: codes that did not win move too, by a kernel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vqtheory import rules
from vqtheory.nn.codebooks.averaged import AveragedCodebook
from vqtheory.nn.codebooks.base import Batch, Codebook
from vqtheory.nn.ops import processes
from vqtheory.nn.ops.attraction import attract, propagate
from vqtheory.nn.ops.presence import fill, finite, wide


class NSVQCodebook(Codebook, of=rules.NSVQ):
    """Codes that did not win move too, by a kernel."""

    rule: rules.NSVQ

    def __init__(self, rule: rules.NSVQ, num_codes: int, dim: int) -> None:
        super().__init__(rule, num_codes, dim)
        self.moves, self.has_clock = rule.form == "propagate", callable(rule.bandwidth)
        if self.moves:
            self.weight = nn.Parameter(wide(self.weight.data))

    @classmethod
    def suited(cls, rule: rules.Rule) -> type[Codebook]:
        return AveragedCodebook if isinstance(rule, rules.NSVQ) and rule.form == "normalised" else cls

    def assign(self, batch: Batch, codes: Tensor) -> tuple[Tensor, Tensor]:
        if self.rule.form == "propagate":
            return super().assign(batch, codes)
        strength, softmax = self.rule._strength, self.rule.form == "softmax"
        loss, indices, _ = attract(batch.latents, batch.keep, codes, self._scale(batch.step, codes), strength, softmax)
        return indices, loss

    def _scale(self, step: Tensor, codes: Tensor) -> Tensor:
        if callable(self.rule.bandwidth):
            bandwidth = self.rule.bandwidth(step.to(codes.dtype))
        else:
            bandwidth = codes.new_full((), self.rule.bandwidth)  # made on the device: a copy would wait for it
        square = bandwidth.square()
        return -1 / ((1 if self.rule.form == "softmax" else 2) * square).clamp_min(torch.finfo(codes.dtype).tiny)

    @torch.no_grad()
    def update(self, batch: Batch, chosen: Tensor, indices: Tensor, displacement: Tensor | None) -> None:
        """The propagate form: the kernel mean of the samples' own moves."""
        if self.rule.form != "propagate":
            return
        if displacement is None or displacement.shape != batch.latents.shape:
            raise ValueError(
                "The propagate form of NSVQ needs how far the encoder has moved each latent since the update before: "
                "pass forward(latents, displacement=...), of the shape of the latents."
            )
        keep = batch.keep & finite(displacement)
        latents, moved = batch.latents.to(self.weight.dtype), fill(displacement, keep).to(self.weight.dtype)
        passed, mass = propagate(latents, keep, self.weight, moved, self._scale(batch.step, self.weight))
        processes.add_up(passed, mass)
        move = self.rule._strength * passed / mass.clamp_min(torch.finfo(mass.dtype).tiny)[:, None]
        self.weight.data.add_(torch.where(mass[:, None] > 0, move, 0))
