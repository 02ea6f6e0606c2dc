"""In which mode a model is, and what runs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, and back to whatever mode each part was in."""
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def repeated() -> bool:
    """Whether a backward pass runs this forward pass once more, as activation checkpointing does."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def transformed() -> bool:
    """Whether a transform of `torch.func` takes the module for a pure function."""
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None
