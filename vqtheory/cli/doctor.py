"""`vqtheory doctor`: where this installation stands, to paste into a report of a bug."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from vqtheory.cli.options import say

PACKAGES = ("vqtheory", "numpy", "scipy", "numba", "llvmlite", "matplotlib", "polars", "scikit-learn", "joblib", "torch")
Finding = tuple[str, str, str]  # what was looked at, what is there, and what will go wrong, or ""
_ROOM = 2**28  # bytes that a run with its pictures and compiled kernels should find on the disk


def doctor() -> None:
    """Print versions, threads, caches, device and data, and the first thing that will go wrong, if any.

    Exit status 0, or 1 where something will go wrong. Paste what it prints into a report of a bug.
    """
    problems = []
    for name, state, problem in findings():
        say(f"{name:<14} {state}")
        problems += [problem] if problem else []
    say(f"\n{problems[0] if problems else 'Nothing is wrong here.'}")
    if problems:
        raise SystemExit(1)


def findings() -> Iterator[Finding]:
    """What was found, one after the other; a part that cannot even be looked at is a finding too."""
    yield "python", f"{platform.python_version()} at {sys.executable}", ""
    yield "machine", f"{platform.platform()}, {os.cpu_count()} cores", ""
    for name in PACKAGES:
        yield name, *_installed(name)
    for name, look in LOOKS.items():
        try:
            yield name, *look()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            yield name, reason, f"{name.capitalize()} cannot be looked at: {reason}"


def _installed(name: str) -> tuple[str, str]:
    try:
        return version(name), ""
    except PackageNotFoundError:
        if name == "torch":
            return "not installed; vqtheory.nn and vqtheory train need it: pip install '.[torch]' in the checkout", ""
        return "not installed", f"The package {name} is missing: pip install {name}."


def _threads() -> tuple[str, str]:
    import numba
    from threadpoolctl import threadpool_info

    from vqtheory import assign  # noqa: F401  loads the BLAS that kernels call

    pools = {f"{pool['internal_api']} {pool['num_threads']}" for pool in threadpool_info()}
    return f"numba {numba.config.NUMBA_NUM_THREADS}, {', '.join(sorted(pools))}", ""


def _kernels() -> tuple[str, str]:
    from vqtheory._kernels.product import find_squares

    cache = getattr(find_squares, "_cache", None)
    place = Path(cache.cache_path) if cache is not None and hasattr(cache, "cache_path") else None
    if place is None:
        return (
            "compiled without a cache",
            "Kernels are compiled anew in every process: set NUMBA_CACHE_DIR to a folder of yours.",
        )
    if not os.access(place if place.exists() else place.parent, os.W_OK):
        return f"cached in {place}, read only", f"{place} cannot be written: set NUMBA_CACHE_DIR to a folder of yours."
    return f"cached in {place}", ""


def _disk() -> tuple[str, str]:
    free = shutil.disk_usage(Path.cwd()).free
    if not os.access(Path.cwd(), os.W_OK):
        return str(Path.cwd()), f"{Path.cwd()} cannot be written: pictures need --picture, and runs --save, elsewhere."
    return f"{free / 2**30:,.1f} GiB free here", "" if free > _ROOM else "The disk is full."


def _device() -> tuple[str, str]:
    if find_spec("torch") is None:
        return "no torch", ""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return f"{device}, {torch.get_num_threads()} threads", ""


def _data() -> tuple[str, str]:
    from vqtheory._base.files import DATA_VARIABLE, num_rows

    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        return f"{DATA_VARIABLE} is not set: windows of a bundled photograph", ""
    path = Path(folder) / "train.parquet"
    if not path.is_file():
        return f"{DATA_VARIABLE}={folder}", f"{DATA_VARIABLE} names a folder without {path}."
    return f"{num_rows(str(path)):,} images in {path}", ""


def _picture() -> tuple[str, str]:
    import matplotlib

    return f"matplotlib writes its settings to {matplotlib.get_configdir()}", ""


LOOKS: dict[str, Callable[[], tuple[str, str]]] = {
    "threads": _threads,
    "kernels": _kernels,
    "disk": _disk,
    "pictures": _picture,
    "device": _device,
    "data": _data,
}
