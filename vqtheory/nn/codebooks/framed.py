"""The codebooks of `Affine` and of `Wasserstein`: before each pass all codes go with the latents' mean and covariance."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqtheory.nn.codebooks.base import Batch, tensor
from vqtheory.nn.codebooks.wrapped import WrappedCodebook
from vqtheory.nn.ops import processes
from vqtheory.protocols import State
from vqtheory.rules.framed import Framed, Moments
from vqtheory.rules.wrapper import inside


class FramedCodebook(WrappedCodebook, of=Framed):
    """The running moments of the latents of all processes, and the motion that they give to the codes.

    The motion itself, of D numbers and D x D, is found on the CPU. What an optimizer remembers of a code is left as it is.
    """

    framed: Framed
    frame_mean: Tensor
    frame_covariance: Tensor
    frame_batches: Tensor
    frame_weight: Tensor

    def __init__(self, rule: Any, num_codes: int, dim: int) -> None:
        super().__init__(rule.rule, num_codes, dim)
        self.framed = rule
        self.register_buffer("frame_mean", self.weight.data.new_zeros(dim))
        self.register_buffer("frame_covariance", self.weight.data.new_zeros(dim, dim))
        self.register_buffer("frame_batches", torch.zeros((), dtype=torch.int64))
        self.register_buffer("frame_weight", torch.zeros((), dtype=torch.float64))

    def load(self, state: State) -> None:
        super().load(inside(state))
        for name in ("frame_mean", "frame_covariance", "frame_batches", "frame_weight"):
            getattr(self, name).copy_(tensor(getattr(state, name)))

    @torch.compiler.disable  # the motion is the simulator's, in numpy
    @torch.no_grad()
    def prepare(self, batch: Batch) -> None:
        super().prepare(batch)
        if not self.held:
            self._move_frame(batch.latents.to(self.frame_mean.dtype), batch.keep)

    def _move_frame(self, latents: Tensor, keep: Tensor) -> None:
        """The frame by a batch [N, D], and the codes by the frame; nothing where no process has a latent."""
        count, jump = keep.sum(), torch.where(keep[:, None], latents - self.frame_mean, 0).sum(dim=0)
        processes.add_up(count, jump)
        if not bool(count):
            return
        if not bool(self.frame_batches):
            self.framed.warn_of_few(int(count), len(jump))
        jump /= count
        spread = torch.where(keep[:, None], latents - (self.frame_mean + jump), 0)
        own = spread.T @ spread / count
        processes.add_up(own)
        decay = self.framed.decay
        gain = (1 - decay) / (1 - decay ** (int(self.frame_batches) + 1))
        covariance = (1 - gain) * (self.frame_covariance + gain * torch.outer(jump, jump)) + gain * own
        weight = decay * self.frame_weight + count
        after = self.frame_mean + gain * jump, covariance
        if float(torch.minimum(weight, self.frame_weight)) >= self.framed.enough(len(jump)):
            self._carry_along(*after)
        self.frame_mean.copy_(after[0])
        self.frame_covariance.copy_(covariance)
        self.frame_weight.copy_(weight)
        self.frame_batches += 1

    def _carry_along(self, mean: Tensor, covariance: Tensor) -> None:
        """The codes, from the frame of the buffers to this one."""
        codes = self.codes().detach()
        centre = codes.mean(dim=0)
        spread = (codes - centre).T @ (codes - centre) / len(codes)
        pairs = (self.frame_mean, self.frame_covariance), (mean, covariance), (centre, spread)
        motion = self.framed.motion(*(Moments(*map(_array, pair)) for pair in pairs))
        origin, factor, image = (tensor(part).to(codes) for part in motion)
        self.carry(image + (codes - origin) @ factor.T - codes)


def _array(values: Tensor) -> np.ndarray:
    return values.cpu().numpy()
