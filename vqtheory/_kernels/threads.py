"""How many cores the search for the nearest code may use; the results are the same bits with any number."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from itertools import pairwise

from vqtheory._base import check

_allowed = ContextVar("_allowed", default=1)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let `advance` and `nearest` spread the samples of large batches over `number` threads.

    Examples
    --------
    >>> with threads(2):
    ...     pass  # rule.advance(state, batches)
    """
    token = _allowed.set(check.integer("threads", "number", number))
    try:
        yield
    finally:
        _allowed.reset(token)


def spread(function: Callable[[slice], object], size: int, block: int) -> None:
    """Call a function that releases the GIL on slices of `size` samples, one for each thread, cut at whole blocks."""
    blocks = -(-size // block)
    number = min(_allowed.get(), blocks)
    cuts = [blocks * i // number * block for i in range(number)] + [size]
    parts = [slice(start, stop) for start, stop in pairwise(cuts)]
    if number == 1:
        function(parts[0])
    else:
        list(_pool(number, os.getpid()).map(function, parts))


@cache
def _pool(number: int, process: int) -> ThreadPoolExecutor:
    """The threads of this process: a fork has the parent's pool without its threads, and would wait for them for ever."""
    return ThreadPoolExecutor(number, thread_name_prefix="vqtheory")
