"""Many runs: a grid of configurations and seeds over all cores, each point kept as it is finished."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from vqtheory._base import check
from vqtheory._base.config import text
from vqtheory._base.folder import write_whole

_ADDRESS = re.compile(r" at 0x[0-9a-f]+>")


class Point(NamedTuple):
    """One call of the function."""

    arguments: dict[str, Any]  # the seed among them, unless there are no seeds
    named: dict[str, Any]  # the same as columns hold them
    path: Path | None  # of what is kept


class Outcome(NamedTuple):
    """What became of a point: its rows, or the error."""

    rows: list[dict[str, Any]]
    error: str | None
    cpu: str | None = None  # the type of CPU that it was run on, where that is known


def points_of(function: Callable[..., Any], grid: Any, seeds: Any, folder: Path | None) -> list[Point]:
    """All points, in order."""
    configurations = _configurations(grid)
    if seeds is not None:
        numbers = _numbers(seeds)
        configurations = [one | {"seed": seed} for one in configurations for seed in numbers]
    for one in configurations:
        _check_arguments(function, one)
    return [Point(one, named, _path(folder, named)) for one in configurations for named in [_named(one)]]


def _configurations(grid: Any) -> list[dict[str, Any]]:
    """All combinations of a mapping's values, or the mappings of a list."""
    if isinstance(grid, Mapping):
        for name, values in grid.items():
            if isinstance(values, str) or not isinstance(values, Iterable):
                raise check.fail("sweep", "grid", f"a mapping of names to sequences, {name!r} too", values)
        return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    configurations = list(grid) if isinstance(grid, Iterable) else [grid]
    for one in configurations:
        if not isinstance(one, Mapping):
            raise check.fail("sweep", "grid", "a mapping of names to sequences, or a list of mappings", one)
    return [dict(one) for one in configurations]


def _numbers(seeds: Any) -> list[int]:
    """The seeds, of which there are so many, or these."""
    if isinstance(seeds, (int, np.integer)):
        return list(range(check.integer("sweep", "seeds", seeds)))
    if isinstance(seeds, str) or not isinstance(seeds, Iterable):
        raise check.fail("sweep", "seeds", "an int, a sequence of ints, or None", seeds)
    return [check.integer("sweep", "seeds", seed, 0) for seed in seeds]


def _check_arguments(function: Callable[..., Any], call: dict[str, Any]) -> None:
    try:
        inspect.signature(function).bind(**call)
    except TypeError as error:
        raise ValueError(f"The 'grid' parameter of sweep does not fit {name_of(function)}: {error}.") from None


def _named(call: dict[str, Any]) -> dict[str, Any]:
    """A configuration as columns hold it: numbers and names as they are, all else as its text."""
    return {name: plain(value) if _is_plain(value) else text(value) for name, value in call.items()}


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str, np.generic))


def plain(value: Any) -> Any:
    """What JSON holds in place of a value of NumPy."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if not _is_plain(value):
        raise TypeError(f"a row can hold numbers, names and arrays of them, not {value!r}")
    return value


def _path(folder: Path | None, named: dict[str, Any]) -> Path | None:
    if folder is None:
        return None
    if _ADDRESS.search(content := json.dumps(named)):
        raise ValueError(
            "The 'grid' parameter of sweep must have a text of its own for everything in it, if there is a folder: "
            f"give it a __repr__ that names its parameters. Got {content}."
        )
    return path_of_point(folder, named)


def path_of_point(folder: Path, named: dict[str, Any]) -> Path:
    """Where a point is kept, by its arguments as columns hold them."""
    return folder / f"{hashlib.sha256(json.dumps(named).encode()).hexdigest()[:24]}.json"


def finished(by: dict[str, str], point: Point, quiet: bool = False) -> Outcome | None:
    """The outcome of a point that was finished before; a file that is damaged is named, and its point done again.

    `ValueError` for a point of another function; not if `quiet`, which says nothing.
    """
    if point.path is None or not point.path.is_file():
        return None
    try:
        content = json.loads(point.path.read_bytes())
        digest = content.pop("sha256")
        rows, made_by, named, cpu = content["rows"], content["about"], content["point"], content.get("cpu")
        other = made_by["function"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FileNotFoundError):
        digest, content = "", {}
    if digest != _digest(content):
        if not quiet:
            tqdm.write(f"{point.path} is damaged or of an earlier version: its point is done again.", file=sys.stderr)
        return None
    if other != by["function"] and not quiet:
        raise ValueError(
            f"The 'folder' parameter of sweep must be a folder of {by['function']}. "
            f"{point.path.parent} holds points of {other}."
        )
    return Outcome(rows, None, cpu) if made_by == by and _as_text(named) == _as_text(point.named) else None


def _as_text(content: dict[str, Any]) -> str:
    return json.dumps(content, sort_keys=True)  # in which one NaN is as good as another


def clear(folder: Path) -> None:
    """Remove half-written files of processes of this host that are gone; of other hosts' processes nothing is known."""
    for path in folder.glob("*.json.*.new"):
        host, _, process = path.name.partition(".json.")[2].removesuffix(".new").rpartition(".")
        if host == platform.node() and process.isdigit() and not is_alive(int(process)):
            path.unlink(missing_ok=True)


def is_alive(process: int) -> bool:
    """Whether a process of this host is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of somebody else
        pass
    return True


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(_as_text(content).encode()).hexdigest()


def provenance(function: Callable[..., Any]) -> dict[str, str]:
    """What a kept point is of: the function, the content of its file, the version of this package."""
    try:
        source = Path(inspect.getfile(function)).read_bytes()
    except (TypeError, OSError):  # an object that can be called; a session at a prompt
        source = b""
    return {"function": name_of(function), "file": hashlib.sha256(source).hexdigest()[:16], "vqtheory": version("vqtheory")}


def name_of(function: Callable[..., Any]) -> str:
    """The name of a function with its module."""
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def keep(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all, whoever is killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}.new")
    try:
        write_whole(beside, json.dumps(content | {"sha256": _digest(content)}).encode())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
