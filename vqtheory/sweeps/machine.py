"""What decides the bits of a run besides its arguments: the versions of packages, and the type of the CPU."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path

from llvmlite import binding

PACKAGES = ("vqtheory", "numpy", "scipy", "numba")


@cache
def versions() -> dict[str, str]:
    """The versions of this process: Python, the packages, and a digest of the source of this one."""
    python = ".".join(platform.python_version_tuple()[:2])
    return {"python": python} | {name: version(name) for name in PACKAGES} | {"source": source_digest()}


@cache
def source_digest(package: Path = Path(__file__).parents[1]) -> str:
    """SHA-256 of the package's Python files, which tells apart two states of a checkout that bear one version."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@cache
def host_cpu() -> str:
    """LLVM's name of the CPU that this process runs on, and a digest of the instructions that it may use.

    Kernels are compiled for both: between two types the last bits of a result may differ.
    """
    try:
        usable = [name for name, is_usable in binding.get_host_cpu_features().items() if is_usable]
    except RuntimeError:  # where LLVM cannot ask the CPU
        usable = []
    return f"{binding.get_host_cpu_name()}-{hashlib.sha256(' '.join(sorted(usable)).encode()).hexdigest()[:6]}"


def differences(theirs: Mapping[str, str | None], ours: Mapping[str, str]) -> str:
    """What another process has in place of our versions, as words; empty where nothing differs."""
    other = [(name, theirs.get(name)) for name in ours if theirs.get(name) != ours[name]]
    return ", ".join(f"{name} {has} in place of {ours[name]}" if has else f"no {name}" for name, has in other)
