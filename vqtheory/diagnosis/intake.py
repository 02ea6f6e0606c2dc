"""All kinds of source become one recording, in one place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from vqtheory._base import check
from vqtheory._base.folder import kept_files, verified
from vqtheory.diagnosis.recording import Recording, of_rule
from vqtheory.simulation.run import Run


def _recording(source: Any, codes: Any, rule: Any, every: int, batch_size: int | None) -> Recording:
    if isinstance(source, (str, Path)):
        source = _kept(Path(source))
    source = getattr(source, "monitor", source)  # of a training
    source = getattr(source, "recording", source)
    if isinstance(source, Run):
        source = Recording.of_run(source)
    if not isinstance(source, Recording):
        if codes is None:
            raise check.fail("diagnose", "codes", "an array [K, D] beside latents [T, N, D]", codes)
        size = None if batch_size is None else check.integer("diagnose", "batch_size", batch_size)
        return Recording.of(source, codes, rule, every, size)
    given = {"codes": (codes, codes is not None), "every": (every, every != 1), "batch_size": (batch_size, bool(batch_size))}
    for name, (value, is_given) in given.items():
        if is_given:
            raise check.fail("diagnose", name, "given with an array of latents only", value)
    if rule is None:
        return source
    known = {} if source.optimizer else of_rule(rule, source.steps)
    return replace(source, rule=rule, **known)


def _kept(path: Path) -> Any:
    """What a path holds: a recording, a training or a simulated run."""
    if path.is_file() and path.suffix != ".npz":
        raise ValueError(f"{path} is no recording (.npz) of a Monitor. Of a run give the folder: {path.parent}.")
    if path.is_file() or path.suffix == ".npz":
        return Recording.load(path)
    if {"monitor.npz", "checkpoint.pt"} & kept_files(path) or (path / "checkpoint.pt").exists():
        return Recording.read(verified(path, ["monitor.npz"])["monitor.npz"], str(path / "monitor.npz"))
    return Run.load(path)
