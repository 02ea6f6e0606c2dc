"""Compiled functions: one decorator, and a disk cache that notices every edit.

numba's own cache looks at the file of the function that it compiles and not at
the files of the functions that this one calls. Here the cache key is a digest
of every file of the package that holds a kernel, so that an edit anywhere
among them compiles anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import IndexDataCacheFile


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `function`; it releases the GIL and keeps IEEE arithmetic as written.

    There is no fast-math: sums are taken in the order in which they are
    written, which is what makes a run reproduce to the bit.
    """
    return _compiled(function, inline="never")


def inlined_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kernel that is written into its callers: a call that counts references to ten arrays
    costs more than one sample's update of a small codebook."""
    return _compiled(function, inline="always")


def _compiled(function: Callable[..., Any], inline: str) -> Callable[..., Any]:
    compiled = numba.njit(nogil=True, cache=True, error_model="numpy", inline=inline)(function)
    if isinstance(compiled, numba.core.dispatcher.Dispatcher):  # plain Python under NUMBA_DISABLE_JIT
        index = compiled._cache._cache_file
        name, stamp = index._index_name.removesuffix(".nbi"), (*index._source_stamp, kernel_digest())
        compiled._cache._cache_file = _Index(index._cache_path, name, stamp)
    return compiled


class _Index(IndexDataCacheFile):
    """numba's index of the compiled versions of one kernel, under our stamp."""

    def _load_index(self) -> dict:
        try:
            return super()._load_index()
        except (AttributeError, ImportError):  # names a class that the package no longer has
            return {}


@cache
def kernel_digest(package: Path = Path(__file__).parents[1]) -> str:
    """SHA-256 of all files of the package that define kernels."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        source = path.read_bytes()
        if b"kernel\ndef " in source:
            digest.update(path.name.encode() + source)
    return digest.hexdigest()
