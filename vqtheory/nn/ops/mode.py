"""In which mode a model is, and what runs it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

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


@contextmanager
def undisturbed(models: Iterable[nn.Module], device: torch.device) -> Iterator[None]:
    """In evaluation mode, and by the same random numbers every time, none of which is the training's."""
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(evaluating(model))
        stack.enter_context(torch.random.fork_rng([device] if device.type == "cuda" else []))
        torch.manual_seed(0)
        yield


def modules_of(function: Any) -> list[nn.Module]:
    """The modules that a function may call: itself, its owner, and what it refers to by name."""
    modules: dict[int, nn.Module] = {}
    _collect(function, modules, set())
    return list(modules.values())


def _collect(value: Any, modules: dict[int, nn.Module], seen: set[int]) -> None:
    if isinstance(value, nn.Module):
        modules[id(value)] = value
    if isinstance(value, (nn.Module, type)) or inspect.ismodule(value) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, partial):
        parts = [value.func, *value.args, *value.keywords.values()]
    elif inspect.ismethod(value):
        parts = [value.__self__, value.__func__]
    elif inspect.isfunction(value):
        variables = inspect.getclosurevars(value)
        parts = [*variables.nonlocals.values(), *variables.globals.values()]
    else:  # an object, such as a trainer, that has modules
        parts = [part for part in getattr(value, "__dict__", {}).values() if isinstance(part, nn.Module)]
    for part in parts:
        _collect(part, modules, seen)


def repeated() -> bool:
    """Whether a backward pass runs this forward pass once more, as activation checkpointing does."""
    return not torch.compiler.is_compiling() and torch._C._current_graph_task_id() != -1


def transformed() -> bool:
    """Whether a transform of `torch.func` takes the module for a pure function."""
    return not torch.compiler.is_compiling() and torch._C._functorch.peek_interpreter_stack() is not None
