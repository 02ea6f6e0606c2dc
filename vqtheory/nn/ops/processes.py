"""Sums over all processes of a data-parallel run, where there is nothing to do without one; and each one's device."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

_PATIENCE = timedelta(hours=2)


class LostProcess(ConnectionError, RuntimeError):
    """A process that the others wait for has ended, or does not answer."""


@contextmanager
def noticed() -> Iterator[None]:
    """Say in a sentence that another process is gone, where torch says that a connection is."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:  # of this process
        raise
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise LostProcess(
            f"Another process of the training has ended or does not answer; what it has said itself tells why. ({reason})"
        ) from error


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
        with noticed():
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
        with noticed():
            distributed.all_reduce(tensor, op=distributed.ReduceOp.MAX)
    return tensor


def share(tensor: Tensor, source: int) -> None:
    """Replace a tensor by its value in one of the processes."""
    if running():
        with noticed():
            distributed.broadcast(tensor, src=source)


def share_model(model: nn.Module) -> None:
    """Give every process the weights and buffers of the first: CPUs of two types differ in the last bits of a start."""
    for tensor in model.state_dict().values():
        if isinstance(tensor, Tensor):
            share(tensor, 0)


def wait() -> None:
    """Until all processes are here, however long one of them has been reading or saving."""
    if not running():
        return
    with noticed():
        if distributed.get_backend() == "gloo":
            distributed.monitored_barrier(timeout=_PATIENCE)
        else:
            distributed.barrier()


def alike(text: str) -> bool:
    """Whether all processes have the same text."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])  # which int64 holds
    extremes = largest(torch.tensor([number, -number], device=device()))
    return int(extremes[0]) == -int(extremes[1])


def fullest(count: int, device: torch.device) -> int | None:
    """The first of the processes with the largest count; None where all have 0."""
    counts = torch.zeros(world_size(), dtype=torch.int64, device=device)
    counts[rank()] = count
    add_up(counts)
    return int(counts.argmax()) if bool(counts.any()) else None


def device() -> torch.device:
    """The GPU of this process, or the CPU."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
