"""Where the points of a sweep run: in this process, or spread over others by joblib."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn, Protocol, runtime_checkable

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import get_active_backend


@runtime_checkable
class Backend(Protocol):
    """Calls a function on tasks, wherever that is done."""

    @property
    def compiles_apart(self) -> bool:
        """Whether the calls are made in processes that would each compile for themselves what is not in the cache."""

    def map(
        self, function: Callable[..., Any], tasks: Iterable[tuple], killed: Callable[..., Any] | None = None
    ) -> Iterator[Any]:
        """The results of ``function(*task)``, in any order, as they come in.

        The result of a task whose process is killed is ``killed(*task)``. A task is taken from the iterable only when it
        can be queued: from then on other sweeps leave its point to this one.
        """


@dataclass(frozen=True)
class ThisProcess:
    """One call after the other, here.

    Examples
    --------
    >>> list(ThisProcess().map(pow, [(2, 3), (3, 2)]))
    [8, 9]
    """

    compiles_apart = False

    def map(
        self, function: Callable[..., Any], tasks: Iterable[tuple], killed: Callable[..., Any] | None = None
    ) -> Iterator[Any]:
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

    def map(
        self, function: Callable[..., Any], tasks: Iterable[tuple], killed: Callable[..., Any] | None = None
    ) -> Iterator[Any]:
        """The results, as they come in. Where a process is killed, the tasks that had begun are tried again, each alone."""
        numbered, begun = enumerate(tasks), dict[int, tuple]()
        ended = False
        while not ended:
            try:
                for index, result in self._run(function, _noted(numbered, begun)):
                    del begun[index]
                    yield result
                ended = True
            except TerminatedWorkerError:
                pass
            for index in list(begun):
                yield self._alone(function, begun.pop(index), killed)

    @property
    def sends(self) -> bool:
        """Whether functions and arguments are pickled on their way, as they are not to threads."""
        return not getattr(get_active_backend()[0], "uses_threads", False)  # as joblib asks, too

    def _alone(self, function: Callable[..., Any], task: tuple, killed: Callable[..., Any] | None) -> Any:
        try:
            [(_, result)] = self._run(function, [(0, task)])
        except TerminatedWorkerError:
            if killed is None:
                raise
            return killed(*task)
        return result

    def _run(self, function: Callable[..., Any], tasks: Iterable[tuple[int, tuple]]) -> Iterable[tuple[int, Any]]:
        calls = (delayed(_watched)(os.getpid(), function, index, task) for index, task in tasks)
        # arrays are copied to the processes: joblib's shared ones are read-only, which numba compiles for anew
        return Parallel(n_jobs=self.jobs, return_as="generator_unordered", max_nbytes=None)(calls)


def _noted(tasks: Iterable[tuple[int, tuple]], begun: dict[int, tuple]) -> Iterator[tuple[int, tuple]]:
    """The tasks, each noted as begun when it is taken."""
    for index, task in tasks:
        begun[index] = task
        yield index, task


def _watched(parent: int, function: Callable[..., Any], index: int, task: tuple) -> tuple[int, Any]:
    """Run a task; a process whose parent is gone ends itself, rather than work through the rest of the queue."""
    if os.getppid() == parent:
        _watch(parent)
    return index, function(*task)


@cache
def _watch(parent: int) -> None:
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def stoppable() -> Iterator[None]:
    """Let TERM and HUP end what runs as Ctrl-C does, so that no process is left behind.

    A signal that is ignored stays ignored, as HUP is under nohup; so does one that code outside of Python handles.
    """

    def stop(number: int, frame: Any) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    heard = [number for number in numbers if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
