"""A step of the codebook's optimizer inside the forward pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vqtheory.nn.ops import processes


@torch.compiler.disable
def step(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], loss: Tensor) -> None:
    """Down the gradient of the loss by these parameters alone, the mean over all processes. Other gradients stay."""
    gradients, accumulated = torch.autograd.grad(loss, parameters), [parameter.grad for parameter in parameters]
    processes.add_up(*gradients)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient / processes.world_size()
    optimizer.step()
    for parameter, before in zip(parameters, accumulated, strict=True):
        parameter.grad = before
