"""All kinds of source become one recording, in one place."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from vqtheory._base import check
from vqtheory._base.folder import listed, verified
from vqtheory._base.randomness import Purpose, generator
from vqtheory.diagnosis.calls import SIMULATION, TRAINING
from vqtheory.diagnosis.recording import FILE, Recording, joined, of_rule, seen
from vqtheory.protocols import Rule
from vqtheory.simulation.run import Run
from vqtheory.streams import Recorded, Stream

_PROBE = 1024  # latents of a simulated run's stream
_TIMES = 256  # of a simulated run


@runtime_checkable
class HasRecording(Protocol):
    """What has made a recording: a Monitor, or a diagnosis."""

    @property
    def recording(self) -> Recording:
        """All that was seen."""


@runtime_checkable
class HasMonitor(Protocol):
    """What a Monitor watches: a training, or a rate that follows the drift."""

    @property
    def monitor(self) -> HasRecording:
        """The Monitor."""


Source: TypeAlias = Recording | HasRecording | HasMonitor | Run | Recorded | str | Path | ArrayLike


def recording_of(
    source: Source, codes: ArrayLike | None, rule: Rule | None, every: int, batch_size: int | None
) -> Recording:
    """The recording that a source is, has, or makes; the parameters are those of `diagnose`."""
    recording = _held(source)
    if recording is None:
        if codes is None:
            raise check.fail("diagnose", "codes", "an array [K, D] beside latents [T, N, D]", codes)
        size = None if batch_size is None else check.integer("diagnose", "batch_size", batch_size)
        if isinstance(source, Recorded):
            _refuse("every", every, every != 1)
            return Recording.of(source.frames, codes, rule, source.every, size)
        return Recording.of(cast(ArrayLike, source), codes, rule, every, size)
    _refuse("codes", codes, codes is not None)
    _refuse("every", every, every != 1)
    _refuse("batch_size", batch_size, bool(batch_size))
    if rule is None:
        return recording
    known = {} if recording.optimizer else of_rule(rule, recording.steps)
    return replace(recording, rule=rule, **known)


def _refuse(name: str, value: Any, is_given: bool) -> None:
    if is_given:
        raise check.fail("diagnose", name, "given with an array of latents only", value)


def _held(source: Source) -> Recording | None:
    """The recording of anything but latents."""
    if isinstance(source, (str, Path)):
        return _kept(Path(source))
    if isinstance(source, HasMonitor):
        recording = source.monitor.recording
        return replace(recording, package=TRAINING) if _is_training(source) else recording
    if isinstance(source, HasRecording):
        source = source.recording
    if isinstance(source, Run):
        return of_run(source)
    return source if isinstance(source, Recording) else None


def _is_training(source: HasMonitor) -> bool:
    """Whether it is a run of `vqtheory train`, of a class that is known where torch is loaded already."""
    module = sys.modules.get("vqtheory.nn.training.run")
    return module is not None and isinstance(source, module.TrainingRun)


def _kept(path: Path) -> Recording:
    """What a path holds: a recording, a training or a simulated run."""
    if path.is_file() and path.suffix != ".npz":
        raise ValueError(f"{path} is no recording (.npz) of a Monitor. Of a run give the folder: {path.parent}.")
    if path.is_file() or path.suffix == ".npz":
        return Recording.load(path)
    if {FILE, "checkpoint.pt"} & listed(path) or (path / "checkpoint.pt").exists():
        return replace(Recording.read(verified(path, [FILE])[FILE], str(path / FILE)), package=TRAINING)
    return of_run(Run.load(path))


def of_run(run: Run) -> Recording:
    """From a simulated run: samples of its stream at the records of its history."""
    rows = [row for row in run.rows if row["step"] > 0]
    stream, rule, seed = run.config.stream, run.config.rule, run.config.seed
    if not isinstance(stream, Stream) or len(rows) < 2:
        raise ValueError("A diagnosis of a simulation needs two records, and a stream that drifts by a law: Stream.")
    rows = rows[:: -max(1, -(-len(rows) // _TIMES))][::-1]
    steps = np.array([row["step"] for row in rows])
    samples = stream.source.sample(generator(seed, Purpose.PROBE, 0), _PROBE)[None]
    snapshots = [stream.at(step, seed) for step in steps.tolist()]
    latents = np.concatenate([snapshot.now.apply(samples, snapshot.source.mean) for snapshot in snapshots])
    counted = {name: np.array([row[name] for row in rows], np.float64) for name in ("used", "perplexity", "distortion")}
    unknown = np.full((len(rows), stream.dim), np.nan)  # of codes that have moved on since
    return joined(
        [seen(frame, run.codes) for frame in latents],
        steps,
        rule,
        **of_rule(rule, steps),
        hits=run.hits[None],
        used=counted["used"],
        perplexities=counted["perplexity"],
        distortions=counted["distortion"],
        code_means=unknown,
        code_spreads=unknown[:, 0],
        batch_size=run.config.batch_size,
        since=run.hits_since,
        package=SIMULATION,
    )
