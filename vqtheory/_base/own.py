"""Python files of your own, named by their path: ``mymodule.py``, and what one defines, ``mymodule.py:MyRule(leak=0.1)``.

Such a file is run, as by ``python mymodule.py``, but for its block under ``__main__``. Files beside it that it imports are
found, behind all that is installed. What it defines travels to other processes by its content, so that these need not find
the file.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle

from vqtheory._base.config import known_names, parse

_CALL = re.compile(r"(.+?\.py):(.+)", re.DOTALL)


def is_own(text: str) -> bool:
    """Whether a text names a file of Python, or something in one."""
    return text.endswith(".py") or _CALL.fullmatch(text) is not None


def load_module(path: str | Path) -> ModuleType:
    """The module in a file, which is run anew. `ValueError` where there is none, and where it raises an error."""
    path = Path(path).expanduser().resolve()
    if not path.is_file():
        raise ValueError(f"There is no file {str(path)!r}.")
    name = f"own_{path.stem}_{zlib.crc32(bytes(path)):08x}"  # two files of one name are two modules
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[name] = module  # where dataclasses and pickle look for it
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # of the files that it imports; last, so that none stands for a package
    try:
        spec.loader.exec_module(module)  # type: ignore[union-attr]
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        reason = f"{type(error).__name__}: {getattr(error, 'msg', error)}".rstrip(".: ")
        raise ValueError(f"{path.name} cannot be loaded: {reason}{_place(error, path)}.") from error
    cloudpickle.register_pickle_by_value(module)
    return module


def _place(error: BaseException, path: Path) -> str:
    """The last line of the file that the error went through."""
    lines, trace = [getattr(error, "lineno", None)], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f", in line {lines[-1]}" if lines[-1] else ""


def build(text: str) -> Any:
    """What ``mymodule.py:MyRule(leak=0.1)`` describes: a call of something that the file defines, read and not evaluated."""
    call = _CALL.fullmatch(text)
    if call is None:
        raise ValueError(f"Cannot read {text!r}: what a file defines is written mymodule.py:MyRule(leak=0.1).")
    module = load_module(call[1])
    defined = {name: value for name, value in vars(module).items() if _is_defined(value, module)}
    name = call[2].partition("(")[0].strip()
    if name.isidentifier() and name not in defined | known_names():
        raise ValueError(f"{Path(call[1]).name} defines no {name}, but {', '.join(defined) or 'no class at all'}.")
    return parse(call[2], more=defined)


def _is_defined(value: Any, module: ModuleType) -> bool:
    """Whether a value is a class or a function of the module itself."""
    return isinstance(value, (type, Callable)) and getattr(value, "__module__", None) == module.__name__  # type: ignore[arg-type]
