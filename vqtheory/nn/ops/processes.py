"""Sums over all processes of a data-parallel run, where there is nothing to do without one; and each one's device."""

from __future__ import annotations

import os

import torch
from torch import Tensor, distributed, nn


def running() -> bool:
    """Whether there are several processes."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def world_size() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if running() else 1


def rank() -> int:
    """This process's number."""
    return distributed.get_rank() if running() else 0


def add_up(*tensors: Tensor) -> None:
    """Replace each tensor by its sum over the processes."""
    if running():
        for tensor in tensors:
            distributed.all_reduce(tensor)


def average_gradients(model: nn.Module) -> None:
    """Over the processes, whose shares of the batch are of one size: what one process has for the whole batch."""
    if not running():
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    flat = torch.cat([gradient.ravel() for gradient in gradients]) / distributed.get_world_size()
    add_up(flat)
    for gradient, mean in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def largest(tensor: Tensor) -> Tensor:
    """The tensor, its values replaced by the largest of all processes."""
    if running():
        distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX)
    return tensor


def share(tensor: Tensor, source: int) -> None:
    """Replace a tensor by its value in one of the processes."""
    if running():
        distributed.broadcast(tensor, src=source)


def fullest(count: int, device: torch.device) -> int | None:
    """The first of the processes with the largest count; None where all have 0."""
    counts = torch.zeros(world_size(), dtype=torch.int64, device=device)
    counts[rank()] = count
    add_up(counts)
    return int(counts.argmax()) if bool(counts.any()) else None


def device() -> torch.device:
    """The GPU of this process, or the CPU."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
