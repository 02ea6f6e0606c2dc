"""The sentences of a diagnosis."""

from __future__ import annotations

import math

import numpy as np

from vqtheory import rules
from vqtheory.diagnosis.recording import Recording, values

_FAR = 1.0  # spreads of the latents between their mean and the codes'


_MANY = 0.1  # of the codes, dead


_MOST = 0.99  # of the hits


_UNLIKE = 2.0  # ratio of the spreads of codes and latents, either way


def _dead(recording: Recording, dead: np.ndarray) -> str:
    """What brings codes back that are lost."""
    if getattr(recording.rule, "moves_unselected", True) or dead.mean() < _MANY:
        return ""
    return (
        "A code that nothing chooses stays where it is with this rule, whatever the drift does later. Those that are dead "
        "come back by a rule that moves them (NSVQ with a kernel that shrinks, TransVQ), by vqtheory.nn.Replacement, or "
        "where the latents come to them."
    )


def _can_be_turned(where: str) -> bool:
    return "out of reach" not in where and not where.startswith("none") and where != "at most 1 code"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def _about(recording: Recording) -> str:
    """What was looked at, in a sentence."""
    motion, steps = recording.motion, recording.steps
    rule = "An unnamed rule" if recording.rule is None else repr(recording.rule)
    name = {"sgd": "SGD", "adam": "Adam"}.get(recording.optimizer or "", recording.optimizer)
    by = f" under {name}" if name else ""
    rate, unit = recording.rates[-1], "step size" if recording.optimizer in (None, "sgd") else "learning rate"
    step = "" if math.isnan(rate) else f" ({unit} {rate:.3g})"
    cloud = f"in the end of spread {motion.spread[-1]:.3g} in about {motion.dimension[-1]:.1f} of {recording.codes.shape[1]}"
    return f"{rule}{by}{step}, seen {len(steps)} times up to update {steps[-1]:,}; latents {cloud} dimensions."


def _start(recording: Recording) -> str:
    """L7: a wrong start is a drift that has already happened."""
    spread, codes = recording.motion.spread[0], recording.code_spreads[0]
    away = np.linalg.norm(recording.code_means[0] - recording.latents[0].mean(axis=0)) / spread if spread > 0 else 0.0
    ratio = codes / spread if spread > 0 else 1.0
    if len(recording.codes) == 1 or not (away > _FAR or ratio > _UNLIKE or ratio < 1 / _UNLIKE):
        return ""
    return (
        f"The start was elsewhere: at the first look codes were {away:.2g} spreads of the latents away from them, "
        f"and {ratio:.2g} times as widely spread. A matched start takes them from the latents."
    )


def _growth(recording: Recording) -> str:
    """L4: codes move relative to a cloud that changes its size."""
    motion = recording.motion
    i = int(np.argmax(np.abs(motion.growth * np.diff(recording.steps))))
    factor = motion.spread[i + 1] / motion.spread[i] if motion.spread[i] > 0 else 1.0
    if 1 / _UNLIKE < factor < _UNLIKE:
        return ""
    when = f"to {factor:.3g} times their spread in updates {recording.steps[i] + 1:,} to {recording.steps[i + 1]:,}"
    if factor > 1:
        return f"The latents grew, {when}. Growth loses no code for good, but codes that cannot keep up crowd inside."
    return f"The latents shrank, {when}. That leaves the outer codes outside."


def _kernel(recording: Recording) -> str:
    """L6: a kernel that is wide against the codes' distances contracts the codebook."""
    rule = recording.rule
    if not isinstance(rule, rules.NSVQ):
        return ""
    width, spacing = float(values(rule, "bandwidth", recording.steps[-1:])[0]), math.sqrt(float(recording.distortions[-1]))
    if width <= spacing:
        return ""
    return (
        f"The kernel is still wide: its bandwidth is {width:.3g}, and latents are {spacing:.3g} from their codes. It "
        "draws codes together until it shrinks: bandwidth=exponential(start, half_life)."
    )


def _decay(recording: Recording) -> str:
    """Weight decay is a drift towards the origin."""
    if not recording.weight_decay:
        return ""
    return (
        f"Weight decay {recording.weight_decay:g} on the codebook is a drift towards the origin, for codes that are not "
        "chosen too: 0 is right."
    )
