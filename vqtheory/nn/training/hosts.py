"""The processes of one training, on one host or on several: how they join, and what they must have alike."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from itertools import count
from pathlib import Path

import torch
from torch import distributed

from vqtheory._base.folder import locked
from vqtheory.nn.ops import processes
from vqtheory.nn.training.run import TrainingRun

_LONGEST_SILENCE = timedelta(minutes=1)  # of a process that the others wait for in an update, over gloo
_TRAININGS = count()  # of this process, which may train more than once


@contextmanager
def joined() -> Iterator[tuple[int, int]]:
    """Join the processes of torchrun, where there are any; gives this one's number, and how many there are."""
    joins = "WORLD_SIZE" in os.environ and not distributed.is_initialized()
    if joins:
        _join()
    try:
        yield place()
        if joins:
            processes.wait()  # whoever is done first waits for the others, which may still need it
    finally:
        if joins:
            distributed.destroy_process_group()


def _join() -> None:
    """Meet where torchrun says, under a name of its own: what an earlier training has left there is not valid any more."""
    backend, silence = ("nccl", None) if torch.cuda.is_available() else ("gloo", _LONGEST_SILENCE)
    with processes.noticed():
        store, rank, world = next(distributed.rendezvous("env://"))
        own = distributed.PrefixStore(f"training {next(_TRAININGS)}", store)
        distributed.init_process_group(backend, store=own, rank=rank, world_size=world, timeout=silence)


def place() -> tuple[int, int]:
    """This process's number, and how many there are."""
    return processes.rank(), processes.world_size()


def owned(folder: str | Path | None, rank: int) -> AbstractContextManager[None]:
    """The folder for this training alone, whose processes are one: the first has it."""
    return locked(Path(folder)) if folder is not None and rank == 0 else nullcontext()


def check_alike(run: TrainingRun) -> None:
    """Refuse hosts whose images, configurations or folders are not the same. Each may have its images where it likes."""
    assert run.images is not None
    known = {
        "configuration": repr(replace(run.config, data=None)),
        "images": (run.images.train, run.images.test),
        "files of the rule and the losses": sorted(run.images.files.values()),
        "number of updates done": run.step,
    }
    for what, value in known.items():
        if not processes.alike(repr(value)):
            number = processes.world_size()
            raise ValueError(f"All {number} processes of a training must have the same {what}. These have not.")


@contextmanager
def as_before(run: TrainingRun) -> Iterator[None]:
    """On the threads of torch that the run has had so far: the order of its sums depends on them."""
    own, before = torch.get_num_threads(), {"threads": run.threads, "processes": run.processes}
    run.threads = run.threads if run.threads is not None and run.threads <= processes.cores() else own
    run.processes = processes.world_size()
    for name, number in before.items():
        now = getattr(run, name)
        if processes.rank() == 0 and number not in (None, now):
            warnings.warn(
                f"The training was on {number} {name}, and goes on with {now}: its last bits will differ.", stacklevel=2
            )
    torch.set_num_threads(run.threads)
    try:
        yield
    finally:
        torch.set_num_threads(own)
