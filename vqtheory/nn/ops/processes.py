"""Sums over all processes of a data-parallel run; without one, nothing to do."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


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
