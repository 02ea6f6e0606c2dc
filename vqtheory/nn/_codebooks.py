"""The codebook of each rule as a torch module: where its codes are, and what moves them.

A codebook that is trained has a `loss`, the mean over samples and dimensions of |x - c|^2, so that SGD with the rate lr
moves it as the simulator's rule does with eta = 2 lr / D. One that is not, as EMA's, moves in `update`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vqtheory import rules
from vqtheory.nn import _distributed
from vqtheory.nn._assign import assign
from vqtheory.nn._attraction import attract, propagate
from vqtheory.nn._maps import AffineMap, Transformer


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


class EMACodebook(Codebook):
    """Running counts and running means of what each code wins."""

    trained = False

    def __init__(self, rule: rules.EMA, num_codes: int, dim: int) -> None:
        super().__init__(rule, num_codes, dim)
        self.register_buffer("counts", torch.ones(num_codes))
        self.register_buffer("means", torch.zeros(num_codes, dim))

    counts: Tensor
    means: Tensor

    def load(self, state: Any) -> None:
        super().load(state)
        self.counts.copy_(_tensor(state.counts))
        self.means.copy_(_tensor(state.means))

    def loss(self, latents: Tensor, chosen: Tensor) -> Tensor:
        return chosen.new_zeros(())

    @torch.no_grad()
    def update(self, latents: Tensor, chosen: Tensor, indices: Tensor, step: Tensor, displacement: Tensor | None) -> None:
        """N and mu, from the batches of all processes."""
        hits = torch.zeros_like(self.counts).index_add_(0, indices, torch.ones_like(indices, dtype=self.counts.dtype))
        pull = torch.zeros_like(self.means).index_add_(0, indices, latents - chosen)
        _distributed.add_up(hits, pull)
        decay = self.rule.decay(step.to(self.counts.dtype)) if callable(self.rule.decay) else self.rule.decay
        self.counts.mul_(decay).add_((1 - decay) * hits)
        offset = pull + hits[:, None] * (self.weight - self.means)  # sum of x - mu over the cell
        gain = (1 - decay) / self.counts.clamp_min(torch.finfo(self.counts.dtype).tiny)
        self.means.add_(torch.where(hits[:, None] > 0, gain[:, None] * offset, 0))
        self.weight.data.copy_(self._smoothed())

    def _smoothed(self) -> Tensor:
        if self.rule.smoothing == 0:
            return self.means
        total, epsilon = self.counts.sum(), self.rule.smoothing
        smoothed = (self.counts + epsilon) / (total + len(self.counts) * epsilon) * total
        return self.means * (self.counts / smoothed)[:, None]


class NSVQCodebook(Codebook):
    """Codes that did not win move too, by a kernel."""

    def assign(self, latents: Tensor, codes: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        if self.rule.form == "propagate":
            return super().assign(latents, codes, step)
        strength, softmax = self.rule._strength, self.rule.form == "softmax"
        loss, indices, _ = attract(latents, codes, self._scale(step, codes), strength, softmax)
        return indices, loss

    def _scale(self, step: Tensor, codes: Tensor) -> Tensor:
        bandwidth = self.rule.bandwidth(step.to(codes.dtype)) if callable(self.rule.bandwidth) else self.rule.bandwidth
        square = torch.as_tensor(bandwidth, dtype=codes.dtype, device=codes.device).square()
        return -1 / ((1 if self.rule.form == "softmax" else 2) * square).clamp_min(torch.finfo(codes.dtype).tiny)

    @torch.no_grad()
    def update(self, latents: Tensor, chosen: Tensor, indices: Tensor, step: Tensor, displacement: Tensor | None) -> None:
        """The propagate form: the kernel mean of the samples' own moves."""
        if self.rule.form != "propagate":
            return
        if displacement is None or displacement.shape != latents.shape:
            raise ValueError(
                "The propagate form of NSVQ needs how far the encoder has moved each latent since the update before: "
                "pass forward(latents, displacement=...), of the shape of the latents."
            )
        passed, mass = propagate(latents, self.weight, displacement.to(latents.dtype), self._scale(step, self.weight))
        _distributed.add_up(passed, mass)
        move = self.rule._strength * passed / mass.clamp_min(torch.finfo(mass.dtype).tiny)[:, None]
        self.weight.data.add_(torch.where(mass[:, None] > 0, move, 0))


class MapCodebook(Codebook):
    """C = shift + scale * T_theta(C_0), for a transformer or an affine map."""

    def __init__(self, rule: Any, num_codes: int, dim: int) -> None:
        nn.Module.__init__(self)
        self.rule = rule
        self.map = (Transformer if isinstance(rule, rules.TransVQ) else AffineMap)(rule, num_codes, dim)
        self.register_buffer("base", torch.zeros(num_codes, dim))
        self.register_buffer("shift", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))

    base: Tensor
    shift: Tensor
    scale: Tensor

    def load(self, state: Any) -> None:
        for name in ("base", "shift", "scale"):
            getattr(self, name).copy_(_tensor(getattr(state, name)))
        for name, value in self.rule.parameters(state).items():
            if value.size:
                getattr(self.map, name).data.copy_(_tensor(value))

    def codes(self) -> Tensor:
        """The codes, with a gradient in units of scale^2: what scaling adds to the tangent kernel is taken off again."""
        raw = self.map(self.base)
        return (self.shift + self.scale * raw).detach() + (raw - raw.detach()) / self.scale


class CosineCodebook(Codebook):
    """Codes and latents on the unit sphere."""

    def settle(self) -> None:
        """Undo an optimizer's step off the sphere."""
        self.weight.data.copy_(nn.functional.normalize(self.weight.data, dim=1))

    def codes(self) -> Tensor:
        """The directions of the codes."""
        return nn.functional.normalize(self.weight, dim=1)

    def project(self, latents: Tensor) -> Tensor:
        return nn.functional.normalize(latents, dim=1)


CODEBOOKS: dict[type, type[Codebook]] = {
    rules.VQ: Codebook,
    rules.EMA: EMACodebook,
    rules.NSVQ: NSVQCodebook,
    rules.TransVQ: MapCodebook,
    rules.SimVQ: MapCodebook,
    rules.CosineVQ: CosineCodebook,
}


def _tensor(values: Any) -> Tensor:
    return (
        torch.from_numpy(np.ascontiguousarray(values))
        if np.ndim(values)
        else torch.tensor(float(values), dtype=torch.float64)
    )
