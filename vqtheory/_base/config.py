"""A configuration is the text of its call: `repr` writes it, one small parser reads it.

The same text stands in a run's `config.toml` and on the command line:
``NSVQ(step_size=0.05, bandwidth=exponential(2.0, half_life=600))``.
Nothing is evaluated but calls of known names, numbers, strings, lists and sums.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory._base import check
from vqtheory._base.check import short

LONGEST = 10_000  # characters of a configuration


class Configured:
    """Gives a dataclass the `repr` that `parse` reads: arguments at their default are left out."""

    _positional: ClassVar[int] = 0  # how many leading arguments are written without their name

    @property
    def _implied(self) -> set[str]:
        """Names of arguments that follow from the others, and are left out of the text."""
        return set()

    def _keep(self, **checked: Any) -> None:
        """Arguments as they were checked, in place of what was given: plain numbers, whose type does not overflow."""
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        arguments = []
        for position, field in enumerate(dataclasses.fields(self)):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if field.name in self._implied or not _differs(value, field):
                continue
            arguments.append(text(value) if position < self._positional else f"{field.name}={text(value)}")
        return f"{type(self).__name__}({', '.join(arguments)})"


def _differs(value: Any, field: dataclasses.Field) -> bool:
    if isinstance(value, np.ndarray) or field.default is dataclasses.MISSING:
        return True
    return type(value) is not type(field.default) or value != field.default


def text(value: Any) -> str:
    """`value` as a configuration writes it; an array by its name, see `array_name`."""
    if isinstance(value, np.ndarray):
        return f"array({array_name(value)!r})"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(text(item) for item in value) + "]"
    if isinstance(value, np.generic):
        return repr(value.item())
    return repr(value)


def array_name(array: np.ndarray) -> str:
    """A name for an array by its content: shape, dtype and the first digits of its SHA-256."""
    digest = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()[:16]
    return f"{'x'.join(map(str, array.shape))}-{array.dtype}-{digest}"


def arrays_of(value: Any) -> dict[str, np.ndarray]:
    """All arrays that the text of `value` names."""
    if isinstance(value, np.ndarray):
        return {array_name(value): value}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, (list, tuple)):
        return {name: array for item in value for name, array in arrays_of(item).items()}
    return {}


class _Known(NamedTuple):
    """What a text may name."""

    arrays: Mapping[str, np.ndarray]
    names: Mapping[str, Any]


def parse(source: str, arrays: Mapping[str, np.ndarray] | None = None, more: Mapping[str, Any] | None = None) -> Any:
    """The object that the text describes; `more` are names that may be called beside the public ones.

    Raises `ValueError` for text that is not a call of known names, with the
    known ones and the nearest.
    """
    if len(source) > LONGEST:
        raise ValueError(f"Cannot read a configuration of {len(source):,} characters: at most {LONGEST:,} are read.")
    try:
        return _build(
            ast.parse(source.strip(), mode="eval").body, source, _Known(arrays or {}, known_names() | dict(more or {}))
        )
    except SyntaxError as error:
        raise ValueError(f"Cannot read {short(source)} as a configuration: {error.msg}.") from None
    except (TypeError, OverflowError, UnicodeEncodeError) as error:  # a sign before a text, a sum of things that do not add
        raise ValueError(f"Cannot read {short(source)} as a configuration: {error}.") from None
    except (RecursionError, MemoryError):
        raise ValueError(f"Cannot read {short(source)} as a configuration: it is nested too deep.") from None


@cache
def known_names() -> dict[str, Any]:
    """Every name that a configuration may call: the public rules, streams and schedules."""
    modules = [import_module(f"vqtheory.{name}") for name in ("rules", "streams", "schedules")]
    public = {name: getattr(module, name) for module in modules for name in module.__all__}
    return {
        name: thing
        for name, thing in public.items()
        if issubclass(thing, Configured) and "__dataclass_fields__" in vars(thing)
    }


def _build(node: ast.expr, source: str, known: _Known) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_build(operand, source, known)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [_build(item, source, known) for item in items]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _build(left, source, known) + _build(right, source, known)
        case ast.Name(id=called):  # a rule or a drift with its defaults, in any case
            return _call({name.lower(): name for name in known.names}.get(called.lower(), called), [], {}, known)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
            positional = [_build(arg, source, known) for arg in args]
            named = {str(keyword.arg): _build(keyword.value, source, known) for keyword in keywords}
            return _call(name, positional, named, known)
        case _:
            raise ValueError(
                f"Cannot read {short(ast.unparse(node))} in {short(source)}: only calls of known names, numbers, text and "
                "lists."
            )


def _call(name: str, positional: list, named: dict[str, Any], known: _Known) -> Any:
    if name == "array":
        if len(positional) != 1 or positional[0] not in known.arrays:
            raise ValueError(f"The array {', '.join(map(repr, positional))} is not stored beside this configuration.")
        return known.arrays[positional[0]]
    if name not in known.names:
        raise ValueError(f"Unknown name {name!r} in a configuration ({check.nearest(name, known.names)}).")
    target = known.names[name]
    parameters = inspect.signature(target).parameters
    for keyword in named:
        if keyword not in parameters:
            raise ValueError(f"{name} has no parameter {keyword!r} ({check.nearest(keyword, parameters)}).")
    try:
        return target(*positional, **named)
    except TypeError as error:
        raise ValueError(f"Cannot make {name}: {error}.") from None
