"""Compiled functions: one decorator, and a disk cache that notices every edit.

numba's own cache looks at the file of the function that it compiles and not at
the files of the functions that this one calls. Here the cache key is a digest
of every file of the package that holds a kernel, so that an edit anywhere
among them compiles anew.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import IndexDataCacheFile

OPTIONS = {"nogil": True, "error_model": "numpy"}  # of every kernel


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
    try:
        compiled = numba.njit(cache=True, inline=inline, **OPTIONS)(function)
    except RuntimeError:  # there is no place that can be written to
        return numba.njit(inline=inline, **OPTIONS)(function)
    if isinstance(compiled, numba.core.dispatcher.Dispatcher):  # plain Python under NUMBA_DISABLE_JIT
        kept = compiled._cache
        index = kept._cache_file
        name, stamp = index._index_name.removesuffix(".nbi"), (*index._source_stamp, kernel_digest())
        kept._cache_file = _Index(index._cache_path, name, stamp)
        kept._guard_against_spurious_io_errors = lambda: suppress(OSError)  # a full disk, say, stops no run
    return compiled


class _Index(IndexDataCacheFile):
    """numba's index of the compiled versions of one kernel, under our stamp; each file begins with its SHA-256.

    A file that cannot be read, or is not as it was written, counts as missing: the kernel is compiled anew and the file
    is written over.
    """

    def _load_index(self) -> dict:
        try:
            version, stamp, overloads = self._read(self._index_path)
        except Exception:  # also one that names a class which the package no longer has
            return {}
        return overloads if (version, stamp) == (self._version, self._source_stamp) else {}

    def _save_index(self, overloads: dict) -> None:
        self._write(self._index_path, (self._version, self._source_stamp, overloads))

    def _load_data(self, name: str) -> Any:
        return self._read(self._data_path(name))

    def _save_data(self, name: str, data: Any) -> None:
        self._write(self._data_path(name), data)

    def _read(self, path: str) -> Any:
        content = Path(path).read_bytes()
        digest, payload = content[:32], content[32:]
        if hashlib.sha256(payload).digest() != digest:
            raise OSError(f"{path} is damaged")
        return pickle.loads(payload)

    def _write(self, path: str, value: Any) -> None:
        payload = self._dump(value)
        with self._open_for_write(path) as file:
            file.write(hashlib.sha256(payload).digest() + payload)


@cache
def kernel_digest(package: Path = Path(__file__).parents[1]) -> str:
    """SHA-256 of all files of the package that define kernels."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        source = path.read_bytes()
        if b"kernel\ndef " in source:
            digest.update(path.name.encode() + source)
    return digest.hexdigest()
