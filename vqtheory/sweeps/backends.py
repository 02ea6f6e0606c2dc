"""Where the points of a sweep run: in this process, or spread over others by joblib."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from joblib import Parallel, delayed


class Backend(Protocol):
    """Calls a function on tasks, wherever that is done."""

    @property
    def compiles_apart(self) -> bool:
        """Whether the calls are made in processes that would each compile for themselves what is not in the cache."""

    def map(self, function: Callable[..., Any], tasks: Iterable[tuple]) -> Iterator[Any]:
        """The results of ``function(*task)``, in any order, as they come in."""


@dataclass(frozen=True)
class ThisProcess:
    """One call after the other, here.

    >>> list(ThisProcess().map(pow, [(2, 3), (3, 2)]))
    [8, 9]
    """

    compiles_apart = False

    def map(self, function: Callable[..., Any], tasks: Iterable[tuple]) -> Iterator[Any]:
        """The results, in order."""
        return (function(*task) for task in tasks)


@dataclass(frozen=True)
class Joblib:
    """Processes of this machine, or whatever `joblib.parallel_config` says.

    Parameters
    ----------
    jobs : int, default -1
        How many; -1 for as many as there are cores.
    """

    jobs: int = -1
    compiles_apart = True

    def map(self, function: Callable[..., Any], tasks: Iterable[tuple]) -> Iterator[Any]:
        """The results, as they come in."""
        calls = (delayed(function)(*task) for task in tasks)
        # arrays are copied to the processes: joblib's shared ones are read-only, which numba compiles for anew
        return Parallel(n_jobs=self.jobs, return_as="generator_unordered", max_nbytes=None)(calls)
