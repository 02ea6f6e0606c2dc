"""What an optimizer remembers of codes that are put elsewhere: the tensors of its state in the shape of the codebook."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.weak import WeakIdKeyDictionary

_PLACED = WeakIdKeyDictionary()  # codes that an optimizer remembers from where they were


@torch.no_grad()
def clear(optimizer: torch.optim.Optimizer, weight: Tensor, rows: Tensor | slice) -> None:
    """Set to zero what the optimizer remembers of these rows of codes [K, D]; Adam's count of steps goes on."""
    for moment in optimizer.state.get(weight, {}).values():
        if isinstance(moment, Tensor) and moment.shape == weight.shape:
            moment[..., rows, :] = 0


def clear_before_step(weight: nn.Parameter) -> None:
    """Do so for all codes, before the next step of whichever torch optimizer has them.

    A codebook does not know its optimizer; torch lets anyone see the beginning of every step.
    """
    _watch()
    _PLACED[weight] = True


@cache
def _watch() -> None:
    register_optimizer_step_pre_hook(_before_step)


def _before_step(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    if not _PLACED:
        return
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if _PLACED.pop(weight, False):
                clear(optimizer, weight, slice(None))
