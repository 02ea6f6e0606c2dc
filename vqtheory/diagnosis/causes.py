"""Whatever takes codes beside a steady drift: one class for each cause, with the numbers that show it and their sentence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vqtheory.diagnosis.recording import Recording, values
from vqtheory.rules.base import declared

_FAR = 1.0  # spreads of the latents between their mean and the codes'
_UNLIKE = 2.0  # ratio of the spreads of codes and latents, either way
_MANY = 0.1  # of the codes, dead


@dataclass(frozen=True)
class DistantStart:
    """A wrong start is a drift that has already happened (L7).

    Attributes
    ----------
    distance : float
        Of the codes' mean from that of the latents at the first probe, in spreads of the latents.
    ratio : float
        Of the spreads of codes and latents.
    """

    distance: float
    ratio: float

    def __str__(self) -> str:
        return (
            f"The start was elsewhere: at the first probe the codes were {self.distance:.2g} spreads of the latents away "
            f"from them, and {self.ratio:.2g} times as widely spread. A matched start takes them from the latents."
        )


@dataclass(frozen=True)
class ChangedSpread:
    """Codes move relative to a cloud that changes its size (L4).

    Attributes
    ----------
    factor : float
        By which the spread of the latents has changed.
    stretch : (int, int)
        The first and the last update of the stretch in which it did.
    """

    factor: float
    stretch: tuple[int, int]

    def __str__(self) -> str:
        when = f"to {self.factor:.3g} times their spread in updates {self.stretch[0]:,} to {self.stretch[1]:,}"
        if self.factor > 1:
            return f"The latents grew, {when}. Growth loses no code for good, but codes that cannot keep up crowd inside."
        return f"The latents shrank, {when}. That leaves the outer codes outside."


@dataclass(frozen=True)
class WideKernel:
    """A kernel that is wide against the codes' distances contracts the codebook (L6).

    Attributes
    ----------
    bandwidth : float
        At the last time.
    distance : float
        Of latents from their codes, the root of the mean square.
    """

    bandwidth: float
    distance: float

    def __str__(self) -> str:
        return (
            f"The kernel is still wide: its bandwidth is {self.bandwidth:.3g}, and latents are {self.distance:.3g} from "
            "their codes. It draws codes together until it shrinks: bandwidth=exponential(start, half_life)."
        )


@dataclass(frozen=True)
class WeightDecay:
    """Weight decay is a drift towards the origin.

    Attributes
    ----------
    value : float
        As the optimizer has it.
    """

    value: float

    def __str__(self) -> str:
        return (
            f"Weight decay {self.value:g} on the codebook is a drift towards the origin, for codes that are not chosen too: "
            "0 is right."
        )


@dataclass(frozen=True)
class StuckCodes:
    """Codes that were lost, and that the rule does not bring back.

    Attributes
    ----------
    dead : int
        How many.
    """

    dead: int

    def __str__(self) -> str:
        return (
            "A code that nothing chooses stays where it is with this rule, whatever the drift does later. Dead codes come "
            "back by a rule that moves them (NSVQ, TransVQ), by vqtheory.nn.Replacement, or "
            "where the latents come to them."
        )


Cause = DistantStart | ChangedSpread | WideKernel | WeightDecay | StuckCodes


def causes_in(recording: Recording) -> tuple[Cause, ...]:
    """All that a recording shows."""
    causes = [find(recording) for find in _FINDERS]
    return tuple(cause for cause in causes if cause is not None)


def _distant_start(recording: Recording) -> DistantStart | None:
    spread = recording.motion.spread[0]
    if spread == 0 or len(recording.codes) == 1:
        return None
    away = np.linalg.norm(recording.code_means[0] - recording.latents[0].mean(axis=0))
    start = DistantStart(float(away / spread), float(recording.code_spreads[0] / spread))
    is_elsewhere = start.distance > _FAR or start.ratio > _UNLIKE or start.ratio < 1 / _UNLIKE
    return start if is_elsewhere else None


def _changed_spread(recording: Recording) -> ChangedSpread | None:
    motion, steps = recording.motion, recording.steps
    i = int(np.argmax(np.abs(motion.growth * np.diff(steps))))
    factor = float(motion.spread[i + 1] / motion.spread[i]) if motion.spread[i] > 0 else 1.0
    return None if 1 / _UNLIKE < factor < _UNLIKE else ChangedSpread(factor, (int(steps[i]) + 1, int(steps[i + 1])))


def _wide_kernel(recording: Recording) -> WideKernel | None:
    """Of a rule that rests at k-means as its bandwidth shrinks; one that passes on moves alone draws nothing together."""
    rule = recording.rule
    if rule is None or declared(rule, "fixed_point") != "k-means as bandwidth -> 0" or declared(rule, "needs_displacement"):
        return None
    width = float(values(rule, "bandwidth", recording.steps[-1:])[0])
    distance = math.sqrt(float(recording.distortions[-1]))
    return WideKernel(width, distance) if width > distance else None


def _weight_decay(recording: Recording) -> WeightDecay | None:
    return WeightDecay(recording.weight_decay) if recording.weight_decay else None


def _stuck_codes(recording: Recording) -> StuckCodes | None:
    """Of a rule that neither moves codes which win nothing nor has latents go to codes that are farther away."""
    rule, dead = recording.rule, recording.hits[-1] == 0
    if rule is None or declared(rule, "moves_unselected") or not declared(rule, "assigns_nearest"):
        return None
    return StuckCodes(int(dead.sum())) if dead.mean() >= _MANY else None


_FINDERS: tuple[Callable[[Recording], Cause | None], ...] = (
    _distant_start,
    _changed_spread,
    _wide_kernel,
    _weight_decay,
    _stuck_codes,
)
