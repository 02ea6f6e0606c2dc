"""What a row was made by: a digest of a function's code and of every setting and helper that the code names.

A row of other code or settings must not be taken for a row of these. A difference that does not matter, such as one in a
docstring, may count as one: the row is made again. Code outside of the experiments is known by the versions of packages,
and `vqtheory` by all of its source.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import re
import types
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vqtheory._base.config import text

_OF_PYTHON = {"__dict__", "__weakref__", "__doc__", "__annotations__", "__dataclass_fields__", "__dataclass_params__"}
_OF_PYTHON |= {"_abc_impl"}
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def digest(value: Any) -> str:
    """Equal for values that are equal in content, through all that functions among them name."""
    return hashlib.sha256(repr(_content(value, [])).encode()).hexdigest()[:24]


@dataclasses.dataclass(frozen=True)
class Unchanged:
    """A function that refuses to run where its code or settings are others than here: settings that a program has changed do
    not travel to other processes, and a worker may have an older file."""

    function: Callable[..., Any]
    code: str

    def __call__(self, **arguments: Any) -> Any:
        if digest(self.function) != self.code:
            raise RuntimeError("the process that runs it has other code or settings: change them in the file itself")
        return self.function(**arguments)


def _content(value: Any, within: list[Any]) -> Any:
    """Texts, nested; `within` are the functions and classes that are being read, which may name each other."""
    match value:
        case None | bool() | int() | float() | complex() | str() | bytes() | Path():
            return type(value).__name__, repr(value)
        case np.ndarray() | np.generic():
            return text(np.asarray(value))
        case Mapping():
            return "mapping", [(_content(key, within), _content(one, within)) for key, one in value.items()]
        case list() | tuple():
            return type(value).__qualname__, [_content(one, within) for one in value]
        case set() | frozenset():
            return "set", sorted(repr(_content(one, within)) for one in value)
        case types.ModuleType():
            return _of_module(value)
        case functools.partial():
            return "partial", _content([value.func, value.args, value.keywords], within)
        case types.MethodType():
            return "method", _content([value.__func__, value.__self__], within)
        case property():
            return "property", _content([value.fget, value.fset], within)
        case functools.cached_property():
            return "property", _content(value.func, within)
        case types.FunctionType() | type():
            return _of_code(value, within)
    if hasattr(value, "__wrapped__"):  # of a cache
        return _content(value.__wrapped__, within)
    return _of_object(value, within)


def _of_module(module: types.ModuleType) -> Any:
    return module.__name__, inspect.getsource(module) if _is_ours(module.__name__) else ""


def _of_code(value: Any, within: list[Any]) -> Any:
    """A function or a class: its name where it is of a package, else all that it does."""
    name = f"{value.__module__}.{value.__qualname__}"
    if not _is_ours(value.__module__) or any(value is one for one in within):
        return name
    within = [*within, value]
    if isinstance(value, type):
        members = {key: one for key, one in vars(value).items() if key not in _OF_PYTHON}
        return name, _content([value.__bases__, members], within)
    also = [value.__defaults__, value.__kwdefaults__, [cell.cell_contents for cell in value.__closure__ or ()]]
    return name, _of_function(value.__code__, value.__globals__, within), _content(also, within)


def _of_function(code: types.CodeType, names: Mapping[str, Any], within: list[Any]) -> Any:
    """Instructions and constants, and what the global names stand for at present."""
    constants = [
        _of_function(one, names, within) if isinstance(one, types.CodeType) else _content(one, within)
        for one in code.co_consts
    ]
    globals_ = {name: _content(names[name], within) for name in code.co_names if name in names}
    return code.co_code.hex(), code.co_names, code.co_varnames, constants, globals_


def _of_object(value: Any, within: list[Any]) -> Any:
    kind = _content(type(value), within)
    if dataclasses.is_dataclass(value):
        return kind, [_content(getattr(value, field.name), within) for field in dataclasses.fields(value)]
    written = repr(value)
    return kind, f"{written} {uuid.uuid4()}" if _ADDRESS.search(written) else written  # like no other, not even itself


def _is_ours(module: str) -> bool:
    """Whether code is of the experiments, or of a program that runs them, and not of a package with a version."""
    first = module.partition(".")[0]
    return first in ("simulations", "__main__") or first.startswith(("test", "conftest"))
