"""What the collapse law says of the drift between two probes of a codebook.

Latents of a model do not fill a cube. In a box of sides L_1 >= L_2 >= ..., of which the cells fill the first d, a drift
along a side L leaves the codes that a cube of d dimensions and of the width (L_1 ... L_d)^(2/d) / L would keep: the cells
of the steady drift, f h^(d+2) = (a/M) x with f = 1 / (L_1 ... L_d), add up to them. Cells are as many-sided as leaves the
most codes, with two layers at least along each side. Derived for this package; tests/diagnosis simulates boxes with sides
down to 0.03 of the longest, which keep 0.7 to 1 of as many.

Which law it is, `vqtheory.theory.predict` knows. Here is how each is asked of a probe.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from vqtheory.diagnosis.recording import Recording, values
from vqtheory.protocols import Rule
from vqtheory.rules import VQ
from vqtheory.rules.base import declared, descends, under
from vqtheory.theory import answers
from vqtheory.theory.answers import MOST_STEP
from vqtheory.theory.capture import capture_speed
from vqtheory.theory.cures import BANDWIDTH, CODES, LEARNING_RATE, SPEED, Cure, fewer, kernel, slower
from vqtheory.theory.prediction import NO_LAW, Law, law_for, predict

_SIZES = 40  # of codebook, on the curve of the critical speed
_ONE = 1.1  # effective dimensions, up to which the laws of one dimension are asked
_TWO = 2.0  # effective dimensions, from which a cloud may be taken for a ball
_COMMON = 0.7  # share of latents' own moves that a translation has in common


class Outlook(NamedTuple):
    """What the law says of a drift that goes on as it was between two times.

    Attributes
    ----------
    survivors : float
        How many codes it leaves; nan where no law says.
    critical_speed : float
        The fastest drift that all codes can follow, per update; nan where no law says.
    cures : tuple of Cure
        What would keep all alive, each by itself.
    validity : str
        What the law is exact for, or why there is none.
    limit : str
        What the critical speed is, where it is not that of so many codes.
    """

    survivors: float
    critical_speed: float
    cures: tuple[Cure, ...]
    validity: str
    limit: str = ""

    @property
    def has_curve(self) -> bool:
        """Whether the critical speed depends on how many codes there are, so that it can be drawn against them."""
        return 0 < self.critical_speed < math.inf and not self.limit


def outlook(recording: Recording, i: int) -> Outlook:
    """Of the stretch from time i to the next."""
    rule = _mover(recording)
    law = None if rule is None else law_for(rule)
    if law is None and not _is_stepped_by_adam(recording):
        return _none(_reason(recording))
    if recording.motion.speed[i] == 0:
        return Outlook(len(recording.codes), math.inf, (), "The latents are stationary.")
    if recording.motion.length[i] == 0:
        return _none("The latents are all at one place.")
    if math.isnan(recording.rates[i + 1]) and (law is None or "step_size" in law.options):
        return _none("The step size is not known: give Monitor the optimizer of the codebook.")
    if rule is None or law is None:
        return _of_adam_steps(recording, i)
    return _way_of(law)(recording, i, rule)


def allowed_speeds(recording: Recording, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Sizes of codebooks up to twice this one, and the critical speed of each in the stretch from time i to the next."""
    num_codes, dim = recording.codes.shape
    sizes = np.unique(np.geomspace(2, max(2 * num_codes, 8), _SIZES).astype(int))
    codebooks = [replace(recording, codes=np.zeros((size, dim))) for size in sizes]
    return sizes, np.array([outlook(codebook, i).critical_speed for codebook in codebooks])


def _mover(recording: Recording) -> Rule | None:
    """The simulator's rule that moves codes as the recording's rule did under its optimizer, where there is one."""
    rule, optimizer, rate = recording.rule, recording.optimizer, float(recording.rates[-1])
    if rule is None or optimizer is None or declared(rule, "step_size") is None:  # a rule of averages needs no optimizer
        return rule
    return None if math.isnan(rate) else under(rule, optimizer, rate)


def _is_stepped_by_adam(recording: Recording) -> bool:
    """Whether the codes themselves are what Adam moves, so that none goes farther than its steps."""
    return recording.rule is not None and recording.optimizer == "adam" and descends(recording.rule)


def _reason(recording: Recording) -> str:
    """Why there is no law."""
    rule, optimizer = recording.rule, recording.optimizer
    if optimizer not in (None, "sgd", "adam"):
        return f"There is none for {optimizer}."
    if rule is None:
        return "The rule is not known. Name it, as in rule=vq.rules.EMA(decay=0.8), or --rule."
    return NO_LAW.get(type(rule), f"There is none for {rule!r}.")


def _none(why: str) -> Outlook:
    return Outlook(math.nan, math.nan, (), why)


def _way_of(law: Law) -> Callable[[Recording, int, Rule], Outlook]:
    """How a law is asked of a probe."""
    if law.answer in _WAYS:
        return _WAYS[law.answer]
    return _of_box if "dim" in law.options else _in_one_dimension


def _predicted(recording: Recording, i: int, rule: Rule, **conditions: Any) -> Outlook:
    """The answer of `predict` for a rule with a law; step sizes are those that were seen, which have momentum in them."""
    law, num_codes = law_for(rule), len(recording.codes)
    seen = {"step_size": float(recording.rates[i + 1]), "momentum": 0.0, "batch_size": recording.batch_size or num_codes}
    question = {"num_codes": num_codes, "speed": float(recording.motion.speed[i]), "at": int(recording.steps[i])}
    question |= {name: value for name, value in seen.items() if law is not None and name in law.options}
    prediction = predict(rule, **(question | conditions))
    return Outlook(prediction.survivors, prediction.critical_speed, prediction.cures, prediction.validity)


def _in_one_dimension(recording: Recording, i: int, rule: Rule) -> Outlook:
    """A law that is known in one dimension only, of a uniform cloud as long as the latents along their motion."""
    dimension = recording.motion.dimension[i]
    if dimension > _ONE:
        name = type(rule).__name__
        return _none(f"The law of {name} is known in one dimension only, and the latents fill about {dimension:.1f}.")
    return _predicted(recording, i, rule, width=float(recording.motion.length[i]))


def _of_box(recording: Recording, i: int, rule: Rule) -> Outlook:
    """A law of cubes, in as many dimensions as leave the most codes."""
    sides, length = recording.motion.sides[i], float(recording.motion.length[i])
    most = max(1, min(int(math.log2(len(recording.codes))), int(np.count_nonzero(sides > 0))))
    logs = np.cumsum(np.log(sides[:most]))
    widths = {d: float(np.exp(2 * logs[d - 1] / d)) / length for d in range(1, most + 1)}
    outlooks = {d: _predicted(recording, i, rule, dim=d, width=width) for d, width in widths.items()}
    known = {d: answer for d, answer in outlooks.items() if not math.isnan(answer.survivors)}
    if not known:
        return outlooks[1]
    best = max(known.values(), key=lambda answer: answer.critical_speed)
    survivors = int(max((answer.survivors for d, answer in known.items() if answer.survivors >= 2**d), default=1))
    cures = [cure for cure in best.cures if cure.knob not in (CODES, BANDWIDTH)]
    return best._replace(survivors=survivors, cures=(*cures, fewer(survivors)) if cures else ())


def kernel_cures(recording: Recording, i: int) -> tuple[Cure, ...]:
    """NSVQ with a kernel as wide as the cloud, if it carries codes of plain VQ at the speed of a stretch."""
    rule = _mover(recording)
    law = None if rule is None else law_for(rule)
    if law is None or _way_of(law) is not _of_box or "step_size" not in law.options:
        return ()
    speed, bandwidth = float(recording.motion.speed[i]), float(recording.motion.spread[i])
    reach = _reach(recording, i, float(recording.rates[i + 1]), bandwidth)
    return (kernel(bandwidth, reach),) if reach > speed else ()


def _reach(recording: Recording, i: int, step_size: float, bandwidth: float, strength: float | None = None) -> float:
    """The speed up to which the kernel carries a code behind the probe; 0 where so large a step diverges."""
    if step_size > MOST_STEP or strength == 0:
        return 0.0
    probe = recording.latents[i].astype(np.float64)
    return float(capture_speed(step_size, bandwidth, strength, source=probe, direction=recording.motion.direction[i]))


def _of_nsvq(recording: Recording, i: int, rule: Rule) -> Outlook:
    """A code lives where plain VQ would keep it, and where the kernel carries it."""
    unaided = _of_box(recording, i, VQ())
    (bandwidth,) = np.maximum(values(rule, "bandwidth", recording.steps[i : i + 1]), np.finfo(float).tiny)
    (strength,) = values(rule, "strength", recording.steps[i : i + 1])
    reach = _reach(recording, i, float(recording.rates[i + 1]), bandwidth, None if math.isnan(strength) else strength)
    speed, critical = float(recording.motion.speed[i]), max(reach, unaided.critical_speed)
    if speed > critical:
        cures = [cure for cure in unaided.cures if cure.knob != SPEED]
        return unaided._replace(critical_speed=critical, cures=(slower(speed, critical), *cures))
    why = "Mean motion. Codes that the kernel carries come back into use once the drift is over and it has shrunk."
    return Outlook(len(recording.codes), critical, (), why)


def _of_ema(recording: Recording, i: int, rule: Rule) -> Outlook:
    """The law of EMA, which is one of translations: of an interval, or of a ball in the dimensions that the cloud fills."""
    motion = recording.motion
    path = motion.moved * np.diff(recording.steps)
    common = motion.speed >= _COMMON * motion.moved
    if path[~common].sum() > (1 - _COMMON) * path.sum():
        return _none("EMA's law is one of translations, and the latents mostly move in other ways than together.")
    sides = motion.sides[i]
    is_line = len(sides) == 1 or sides[1] * len(recording.codes) < sides[0]
    if not is_line and motion.dimension[i] < _TWO:
        filled = f"and in this stretch they fill about {motion.dimension[i]:.1f} of {len(sides)}"
        return _none(f"EMA's law is one of latents in one dimension or evenly in two and more, {filled}.")
    return _of_box(recording, i, rule)


def _of_averages(recording: Recording, i: int, rule: Rule) -> Outlook:
    """A bound for any latents, beside a law of one dimension, of the latents along their motion."""
    return _predicted(recording, i, rule, width=float(recording.motion.length[i]))


def _of_adam(recording: Recording, i: int, rule: Rule) -> Outlook:
    """The law of Adam, of steps that can follow."""
    motion = recording.motion
    can_follow = motion.speed[i] * np.abs(motion.direction[i]).max() < recording.rates[i + 1]
    if can_follow and recording.batch_size is not None:
        ask = _of_adam_on_a_line if motion.dimension[i] <= _ONE else _of_adam_in_a_box
        answer = ask(recording, i, rule)
        if not math.isnan(answer.survivors):
            return answer
    return _of_adam_steps(recording, i)


def _of_adam_on_a_line(recording: Recording, i: int, rule: Rule) -> Outlook:
    """A cloud along a diagonal has its speed and spread in each coordinate."""
    motion = recording.motion
    share = math.sqrt(np.sum(motion.direction[i] ** 4))
    answer = _predicted(recording, i, rule, speed=float(motion.speed[i]) * share, width=float(motion.length[i]))
    return _scaled(answer, float(motion.speed[i]), share)


def _of_adam_in_a_box(recording: Recording, i: int, rule: Rule) -> Outlook:
    """In as many dimensions as leave the most codes; a box is longer along the drift than a cube of its volume."""
    sides, length, speed = recording.motion.sides[i], float(recording.motion.length[i]), float(recording.motion.speed[i])
    most = max(2, min(int(math.log2(len(recording.codes))), int(np.count_nonzero(sides > 0))))
    outlooks = []
    for d in range(2, most + 1):
        width = float(np.exp(np.mean(np.log(sides[:d]))))
        longer = length / width
        answer = _predicted(recording, i, rule, dim=d, width=width, speed=speed * longer)
        if answer.survivors >= 2**d:
            outlooks.append(_scaled(answer, speed, longer))
    return max(outlooks, key=lambda answer: answer.critical_speed, default=_none("Too few codes to an axis for the law."))


def _scaled(answer: Outlook, speed: float, factor: float) -> Outlook:
    """An answer that was asked with the speed times a factor."""
    critical = answer.critical_speed / factor
    cures = [cure for cure in answer.cures if cure.knob != SPEED]
    return answer._replace(critical_speed=critical, cures=(slower(speed, critical), *cures) if cures else ())


def _of_adam_steps(recording: Recording, i: int) -> Outlook:
    """In the long run Adam moves no coordinate by more than its rate: a drift beyond that leaves all codes behind."""
    speed, steepest = float(recording.motion.speed[i]), float(np.abs(recording.motion.direction[i]).max())
    critical = float(recording.rates[i + 1]) / steepest
    return Outlook(
        math.nan,
        critical,
        (slower(speed, critical), Cure(LEARNING_RATE, "at least", speed * steepest)),
        "In the long run Adam moves no coordinate by more than the learning rate in an update, and no code can follow a "
        "faster drift. How many of the codes that can follow are alive is known for VQ and steps below its cells only.",
        "the reach of Adam's steps",
    )


_WAYS = {answers.adam: _of_adam, answers.nsvq: _of_nsvq, answers.averaged: _of_averages, answers.ema: _of_ema}
