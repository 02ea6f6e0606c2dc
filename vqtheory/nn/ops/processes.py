"""Sums over all processes of a data-parallel run; without one, nothing to do."""

from __future__ import annotations

from torch import Tensor, distributed


def running() -> bool:
    """Whether there are several processes."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def world_size() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if running() else 1


def add_up(*tensors: Tensor) -> None:
    """Replace each tensor by its sum over the processes."""
    if running():
        for tensor in tensors:
            distributed.all_reduce(tensor)


def share_first(*tensors: Tensor) -> None:
    """Replace each tensor by that of the first process."""
    if running():
        for tensor in tensors:
            distributed.broadcast(tensor, src=0)
