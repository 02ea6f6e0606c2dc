"""Batches of anyone's loop: tensors in tuples, dicts, dataclasses and whatever else holds them."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from torch import Tensor, nn

Value = TypeVar("Value")


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists, dicts and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    else:
        for part in _parts(value):
            yield from tensors(part)


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, (tuple, list, deque, set)):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in fields(value)]
    return ()


def copied(value: Value, owner: str = "Monitor") -> Value:
    """A batch that shares nothing with the loop's, which may fill its buffers anew or take things out of its dicts.

    Modules stay the loop's own.
    """
    memo: dict[int, Any] = {}
    _remember(value, memo, set())
    try:
        return copy.deepcopy(value, memo)
    except Exception as error:  # each kind of object has its own reasons not to be copied
        reason = str(error).split(". ")[0].rstrip(".")
        raise ValueError(f"The inputs of {owner} must be values that can be copied, such as tensors: {reason}.") from None


def _remember(value: Any, memo: dict[int, Any], seen: set[int]) -> None:
    """What `deepcopy` takes for each tensor and module in a value: it refuses tensors that have a history."""
    if isinstance(value, Tensor):
        memo[id(value)] = value.detach().clone()
    elif isinstance(value, nn.Module):
        memo[id(value)] = value
    elif id(value) not in seen:
        seen.add(id(value))
        own = vars(value).values() if hasattr(value, "__dict__") and not isinstance(value, type) else ()
        for part in (*_parts(value), *own):
            _remember(part, memo, seen)
