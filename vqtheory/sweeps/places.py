"""The backend that an argument stands for, and what it asks of what is sent to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cloudpickle

from vqtheory._base import check
from vqtheory.sweeps.backends import Backend, Joblib, ThisProcess
from vqtheory.sweeps.cluster import Cluster, connected, is_client

ACCEPTED = "a Backend, a dask.distributed.Client or the address of a Dask scheduler such as 'tcp://host:8786'"


@contextmanager
def place_of(owner: str, backend: Any, jobs: int = -1) -> Iterator[Backend]:
    """The backend, for the length of a block; `ValueError` for what is none and for a scheduler that does not answer."""
    if backend is None:
        yield ThisProcess() if jobs == 1 else Joblib(jobs)
    elif isinstance(backend, str):
        with connected(owner, backend) as cluster:
            yield cluster
    elif is_client(backend):
        yield Cluster(backend)
    elif isinstance(backend, Backend):
        yield backend
    else:
        raise check.fail(owner, "backend", ACCEPTED, backend)


def check_sent(
    owner: str, place: Backend, function: Callable[..., Any], points: Iterable[Mapping[str, Any]], names: tuple[str, str]
) -> None:
    """Refuse what cannot be pickled, if it is going to be, and workers that cannot run it.

    `names` are the parameters of the owner that the function and the points are from.
    """
    if not isinstance(place, Cluster) and not (isinstance(place, Joblib) and place.sends):
        return
    _check_pickled(owner, names[0], "", function)
    sent = set[int]()  # a grid has the same few objects at many points
    for point in points:
        for name, value in point.items():
            if id(value) not in sent:
                _check_pickled(owner, names[1], f" {name!r} is {check.short(value)}.", value)
                sent.add(id(value))
    if isinstance(place, Cluster):
        place.check(owner, names[0], function)


def _check_pickled(owner: str, parameter: str, which: str, value: Any) -> None:
    try:
        cloudpickle.dumps(value)
    except Exception as error:  # of anybody's own __reduce__
        raise ValueError(
            f"The {parameter!r} parameter of {owner} must be something that can be sent to other processes.{which} "
            f"It cannot be pickled: {error}."
        ) from None
