"""Noise as a function of (seed, passes, place): the same in a pass and in one that repeats it, on any device."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from vqtheory._kernels.draws import uniform
from vqtheory.nn.ops import processes

_BITS = 0xFFFFFFFF  # of an index; beyond so many numbers a pass repeats its noise


def rows(like: Tensor, step: Tensor, seed: int) -> Tensor:
    """Normal numbers in the shape of latents [N, D]; each process has its own."""
    count = like.numel()
    places = processes.rank() * count + torch.arange(count, device=like.device)
    first, second = (_open(seed, step, 2 * places + part, like.dtype) for part in (0, 1))
    return (torch.sqrt(-2 * first.log()) * torch.cos(2 * math.pi * second)).view_as(like)


def shares(like: Tensor, step: Tensor, seed: int) -> Tensor:
    """Uniform numbers in (0, 1) in the shape of some codes [K, 1], the same in all processes."""
    places = torch.arange(like.numel(), device=like.device)
    return _open(seed ^ 1, step, places, like.dtype).view_as(like)


def gumbel(places: Tensor, step: Tensor, seed: int, dtype: torch.dtype) -> Tensor:
    """Numbers of the standard Gumbel distribution, one for each place."""
    return -torch.log(-torch.log(_open(seed, step, places, dtype)))


def _open(seed: int, step: Tensor, places: Tensor, dtype: torch.dtype) -> Tensor:
    """Uniform numbers in the open interval, in steps of 2^-23."""
    return uniform(seed & _BITS, step, places & _BITS).to(dtype) + 2.0**-24
