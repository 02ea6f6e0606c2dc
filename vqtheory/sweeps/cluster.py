"""Points on the workers of a Dask cluster. Needs the extra "cluster", dask and distributed.

Tasks travel to the workers and results travel back: no file system is shared. Only a window of tasks is with the scheduler
at a time, and each is forgotten there once its result is here.
"""

from __future__ import annotations

import hashlib
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import cloudpickle
from tqdm import tqdm

from vqtheory._base.extras import missing
from vqtheory.sweeps.machine import PACKAGES, differences, versions

if TYPE_CHECKING:
    from distributed import Client

SECONDS_TO_ANSWER = 5.0  # of a scheduler
LEAST_WINDOW, TASKS_PER_THREAD = 32, 4  # that are with the scheduler
RETRIES = 2  # of a task that a worker cannot even begin; a point that fails is not tried again
_NAMED = 3  # workers in a message


@dataclass(frozen=True)
class Cluster:
    """The workers of a Dask cluster.

    A task whose worker dies is given to another. After more deaths than Dask's setting
    `distributed.scheduler.allowed-failures`, three by default, it is tried once more, alone, and then counts as killed.
    Workers that join later take part.

    Parameters
    ----------
    client : dask.distributed.Client
        Connected to the cluster's scheduler.
    """

    client: Client
    compiles_apart = False  # a worker compiles with its first point, and numba's lock makes its other threads wait

    @property
    def num_workers(self) -> int:
        """How many workers there are now."""
        return len(self.client.nthreads())

    def check(self, owner: str, name: str, function: Callable[..., Any]) -> None:
        """Refuse workers of other versions, and a function that they cannot import: `ValueError` names the workers.

        `name` is the parameter of the owner that the function is from.
        """
        if self.client.asynchronous:
            raise ValueError(f"The 'backend' parameter of {owner} must be a Client that is not asynchronous.")
        self._check_connection()
        self._refuse(self._of_other_versions())
        loaded = self.client.run(_loads, cloudpickle.dumps(function), on_error="return")
        errors = {worker: str(answer) for worker, answer in loaded.items() if answer is not None}
        if errors:
            raise ValueError(
                f"The {name!r} parameter of {owner} must be a function that the workers can import. {_listed(errors)}. "
                "A file of yours is sent to them by Client.upload_file."
            )
        if not loaded:
            tqdm.write(f"{self._address} has no workers yet: the points wait for the first.", file=sys.stderr)

    def send(self, package: Path) -> None:
        """Give the workers, also those that join later, the Python files of a folder that is a package, as they are now."""
        self.client.run(_forget, package.name)
        with TemporaryDirectory() as folder:
            self.client.upload_file(str(_archive(package, Path(folder))))

    def map(
        self, function: Callable[..., Any], tasks: Iterable[tuple], killed: Callable[..., Any] | None = None
    ) -> Iterator[Any]:
        """The results, as they come in; what is still running is cancelled where nobody asks for more.

        Tasks whose workers have died too often are tried again at the end, each alone: one that ends its worker takes those
        that wait there with it.
        """
        suspects = list[tuple]()
        for task, error, result in self._completed(function, tasks):
            if error is None:
                yield result
            else:
                suspects.append(task)
        for suspect in suspects:
            for task, error, result in self._completed(function, [suspect]):
                if error is not None and killed is None:
                    raise error
                yield result if error is None else killed(*task)  # type: ignore[misc]

    def _completed(
        self, function: Callable[..., Any], tasks: Iterable[tuple]
    ) -> Iterator[tuple[tuple, BaseException | None, Any]]:
        """Task, error if its workers have died, and result; any other error is raised."""
        from distributed import KilledWorker, as_completed

        tasks, running = iter(tasks), dict[Any, tuple]()
        completed = as_completed(with_results=True, raise_errors=False, loop=self.client.loop)
        try:
            self._fill(function, tasks, running, completed)
            for batch in completed.batches():
                for future, result in batch:
                    task = running.pop(future)
                    if future.status == "finished":
                        yield task, None, result
                    elif future.status != "error":  # lost, or cancelled with the connection
                        self._submit(function, task, running, completed)
                    elif isinstance(result[1], KilledWorker):
                        yield task, result[1], None
                    else:
                        raise result[1]
                self._fill(function, tasks, running, completed)
        finally:
            if running and self.client.status == "running":
                self.client.cancel(list(running))

    def _fill(self, function: Callable[..., Any], tasks: Iterator[tuple], running: dict[Any, tuple], completed: Any) -> None:
        """Hand tasks to the scheduler until the window is full."""
        self._check_connection()
        window = max(LEAST_WINDOW, TASKS_PER_THREAD * sum(self.client.nthreads().values()))
        for task in islice(tasks, max(window - len(running), 0)):
            self._submit(function, task, running, completed)

    def _submit(self, function: Callable[..., Any], task: tuple, running: dict[Any, tuple], completed: Any) -> None:
        self._check_connection()
        call = cloudpickle.dumps((function, task))
        future = self.client.submit(_run, call, versions(), pure=False, retries=RETRIES)
        running[future] = task
        completed.add(future)

    def _check_connection(self) -> None:
        if self.client.status != "running":
            raise ConnectionError(f"The Dask scheduler at {self._address} is gone. Points that are in a folder are kept.")

    @property
    def _address(self) -> str:
        return str(self.client.scheduler.address) if self.client.scheduler else "the address of the client"

    def _of_other_versions(self) -> dict[str, str]:
        """What differs, by worker: first as package managers have it, then as the package itself says."""
        ours = versions()
        answered: Any = self.client.get_versions(packages=list(PACKAGES))
        wanted = {name: ours[name] for name in PACKAGES}
        other = {worker: differences(answer["packages"], wanted) for worker, answer in answered["workers"].items()}
        if any(other.values()):
            return other
        answers = self.client.run(versions, on_error="return")
        return {worker: _or_error(answer, ours) for worker, answer in answers.items()}

    def _refuse(self, other: dict[str, str]) -> None:
        other = {worker: words for worker, words in other.items() if words}
        if other:
            raise ValueError(f"The workers of {self._address} must have the versions of this computer. {_listed(other)}.")


def _or_error(answer: Any, ours: dict[str, str]) -> str:
    return f"another vqtheory ({answer})" if isinstance(answer, BaseException) else differences(answer, ours)


def _listed(by_worker: dict[str, str]) -> str:
    """Some workers, with what is said of each."""
    named = "; ".join(f"{worker} has {words}" for worker, words in islice(by_worker.items(), _NAMED))
    return f"{named}; and {len(by_worker) - _NAMED} more" if len(by_worker) > _NAMED else named


def _run(call: bytes, wanted: dict[str, str]) -> Any:
    """On a worker: the call, unless the worker has joined since the others were checked and has other versions."""
    if other := differences(versions(), wanted):
        raise ValueError(f"A worker that has joined must have the versions of this computer. It has {other}.")
    function, task = cloudpickle.loads(call)
    return function(*task)


def _loads(function: bytes) -> str | None:
    """On a worker: why a function cannot be loaded, if it cannot."""
    try:
        cloudpickle.loads(function)
    except Exception as error:
        return f"an error for it: {type(error).__name__}: {error}"
    return None


def _forget(package: str) -> None:
    """On a worker: let the modules of a package be imported anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


def _archive(package: Path, folder: Path) -> Path:
    """The files of a package in a zip that Python can import from, named after its content."""
    contents = {path.relative_to(package.parent): path.read_bytes() for path in sorted(package.rglob("*.py"))}
    archive = folder / f"{package.name}-{hashlib.sha256(repr(contents).encode()).hexdigest()[:12]}.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in contents.items():
            file.writestr(name.as_posix(), content)
    return archive


def is_client(backend: Any) -> bool:
    """Whether this is a `distributed.Client`; the package is not imported for that."""
    distributed = sys.modules.get("distributed")
    return distributed is not None and isinstance(backend, distributed.Client)


@contextmanager
def connected(owner: str, address: str) -> Iterator[Cluster]:
    """The cluster of a scheduler, until the end of the block; `ValueError` where none answers at the address."""
    try:
        distributed = import_module("distributed")
    except ImportError:
        raise ValueError(missing(f"{owner} on a cluster", "the package distributed", "cluster")) from None
    try:
        client = distributed.Client(address, timeout=SECONDS_TO_ANSWER, set_as_default=False)
    except (OSError, ValueError, MemoryError):  # the last where something else answers, whose words are read as a length
        raise ValueError(
            f"No Dask scheduler answers at {address!r} after {SECONDS_TO_ANSWER:g} seconds: see that one is running there, "
            "and that its port is open to this computer."
        ) from None
    with client:
        yield Cluster(client)
