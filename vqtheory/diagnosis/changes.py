"""What may be changed of a training so that more codes live, each as a rule that can be played on the recorded motion."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from vqtheory import rules
from vqtheory.diagnosis import calls
from vqtheory.diagnosis.causes import DistantStart, causes_in
from vqtheory.diagnosis.recording import Recording
from vqtheory.diagnosis.replay import own_rule
from vqtheory.measure import carrying
from vqtheory.protocols import Rule
from vqtheory.rules.base import declared

_REPLACED_EVERY = 25  # updates
_DECAYS = (0.9, 0.8)
_LARGER, _LARGEST = 10.0, 1.0  # step size
_SHARE = 0.99  # of the hits


@dataclass(frozen=True)
class Change:
    """A change to a training, as it is played again.

    Attributes
    ----------
    name : str
        In words.
    call : str
        The line of code, or of the command, that makes it.
    rule : rule
        Of the simulator, for what moves the codes.
    codes : int
        K.
    from_latents : bool
        Whether codes start on latents, and not where they were first seen.
    replaced_every : int or None
        After how many updates codes that nothing has chosen are put on latents.
    """

    name: str
    call: str
    rule: Rule
    codes: int
    from_latents: bool = False
    replaced_every: int | None = None


def unchanged(recording: Recording) -> Change | None:
    """The training as it was; None where no rule of the simulator does what moved its codes."""
    rule = _own(recording)
    return None if rule is None else Change("as it was", "", rule, len(recording.codes), _started_on_latents(recording))


def changes_to(recording: Recording) -> list[Change]:
    """All that mean something for what moved the codes."""
    own = _own(recording)
    return [*_of_any(recording), *(() if own is None else _of_known(recording, own))]


def _started_on_latents(recording: Recording) -> bool:
    """Whether the codes did so by themselves, before the probe saw them, as our layer's do."""
    start = None if recording.rule is None else declared(recording.rule, "start")
    return recording.package in calls.OURS and start == "matched"


def _own(recording: Recording) -> Rule | None:
    try:
        return own_rule(recording)
    except ValueError:  # which says that there is none
        return None


def _of_any(recording: Recording) -> Iterator[Change]:
    """Other rules, whatever moves the codes now; they start on latents."""
    num_codes, rate = len(recording.codes), float(recording.rates[-1])
    under_adam = recording.optimizer == "adam"
    others: dict[str, Rule] = {"NSVQ": rules.NSVQ(), f"EMA of decay {_DECAYS[-1]:g}": rules.EMA(_DECAYS[-1])}
    if recording.optimizer in ("adam", None):
        others["TransVQ"] = rules.TransVQ(rate, optimizer="adam") if under_adam and rate > 0 else rules.TransVQ()
    for name, rule in others.items():
        if recording.rule is None or type(rule) is not type(recording.rule) or declared(recording.rule, "bandwidth"):
            yield Change(name, calls.layer(recording, rule), rule, num_codes, from_latents=True)


def _of_known(recording: Recording, own: Rule) -> Iterator[Change]:
    """The same rule with a knob turned, carried, helped, or from another start."""
    num_codes, has_rows, started = len(recording.codes), bool(declared(own, "places")), _started_on_latents(recording)
    is_elsewhere = any(isinstance(cause, DistantStart) for cause in causes_in(recording))
    if has_rows and not declared(own, "needs_displacement") and not isinstance(own, rules.Transport):
        carried = rules.Transport(own)
        name, call = "Transport: codes that ride on the encoder", calls.transport(recording, carried)
        restarts = is_elsewhere and not started  # a code away from the latents is carried without ever being chosen
        if restarts:
            name, call = "a start on latents, and Transport", f"{calls.start(recording)}; {call}"
        yield Change(name, call, carried, num_codes, started or restarts)
    if has_rows and recording.package != calls.SIMULATION:
        name = f"dead codes replaced every {_REPLACED_EVERY} updates"
        call = calls.replacement(recording, _REPLACED_EVERY)
        yield Change(name, call, own, num_codes, started, _REPLACED_EVERY)
    yield from _of_knobs(recording, own)
    if is_elsewhere and has_rows and not started:
        yield Change("a start on latents", calls.start(recording), own, num_codes, from_latents=True)
    fewer = _fewer(recording)
    if fewer < num_codes:
        yield Change(f"a codebook of {fewer:,} codes", calls.fewer(recording, fewer), own, fewer)


def _of_knobs(recording: Recording, own: Rule) -> Iterator[Change]:
    """The rule's own decay, learning rate or step size."""
    num_codes, started = len(recording.codes), _started_on_latents(recording)
    if isinstance(own, rules.EMA) and not callable(own.decay):
        for decay in (decay for decay in _DECAYS if decay < own.decay):
            rule = rules.EMA(decay, own.smoothing, own.start)
            yield Change(f"a decay of {decay:g}", calls.decay(recording, rule), rule, num_codes, started)
    elif isinstance(own, rules.TrainedVQ) and recording.optimizer == "adam":
        rate = _following(recording)
        if rate > own.step_size:
            name, trained = f"a learning rate of {rate:.2g} for the codebook", rules.TrainedVQ(rate)
            yield Change(name, calls.rate(recording, rate), trained, num_codes, started)
    elif isinstance(own, rules.VQ) and not callable(own.step_size) and own.step_size < _LARGEST:
        plain = rules.VQ(min(_LARGEST, _LARGER * own.step_size), own.clock, own.start)
        call = calls.step_size(recording, plain, plain.step_size / own.step_size)
        yield Change(f"a step size of {plain.step_size:.3g}", call, plain, num_codes, started)


def _following(recording: Recording) -> float:
    """A rate of Adam that reaches the drift and stays below the cells, see `vqtheory.nn.FollowingRate`."""
    moved = np.diff(recording.probe.astype(np.float64), axis=0) / np.diff(recording.steps)[:, None, None]
    drift = np.sqrt(np.mean(moved**2, axis=1)).max(axis=1)
    share = carrying(recording.hits[-1], _SHARE) / len(recording.codes)  # with all codes in use cells are so much smaller
    smaller = share ** (1 / max(1.0, float(recording.motion.dimension[-1])))
    cell = smaller * math.sqrt(float(recording.distortions[-1]) / recording.codes.shape[1])
    return float(min(2 * np.median(drift), cell / 10))


def _fewer(recording: Recording) -> int:
    """The power of two from the codes that carry the latents on, and 8 at least."""
    return 2 ** math.ceil(math.log2(max(8, carrying(recording.hits[-1], _SHARE))))
