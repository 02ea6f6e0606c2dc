"""What the collapse law says of the drift between two looks at a codebook."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from vqtheory import _prediction, rules
from vqtheory._recording import Recording, values


class Law(NamedTuple):
    """What the law of the rule says of a drift that goes on as it was between two times."""

    survivors: float  # nan where there is no law
    critical_speed: float
    cures: list[tuple[str, str]]
    validity: str


def law_of(recording: Recording, i: int) -> Law:
    """Of the stretch from time i to the next."""
    kind = kind_of(recording)
    if kind is None:
        return _none(_reason(recording.rule))
    about = _asked(recording, i)
    if about["width"] <= 0 or about["speed"] == 0:
        return Law(len(recording.codes), math.inf, [], "the latents stand still.")
    if kind != "ema" and math.isnan(about["step_size"]):
        return _none("the step size is not known: give Monitor the optimizer of the codebook.")
    return _of_adam(recording, i, about) if kind == "adam" else _predicted(kind, about)


def _asked(recording: Recording, i: int) -> dict[str, Any]:
    """The stretch in the words of `vqtheory predict`."""
    motion, at = recording.motion, recording.steps[i : i + 1]
    about: dict[str, Any] = {"num_codes": len(recording.codes), "speed": float(motion.speed[i])}
    about |= {"width": float(motion.width[i]), "dim": max(1, round(float(motion.dimension[i])))}
    about |= {"step_size": float(recording.rates[i + 1]), "batch_size": recording.batch_size or 1}
    about["decay"] = float(values(recording.rule, "decay", at)[0])
    about["bandwidth"] = max(float(values(recording.rule, "bandwidth", at)[0]), np.finfo(float).tiny)
    return about


def _predicted(kind: str, about: dict[str, Any], scale: float = 1.0) -> Law:
    """The answer of `vqtheory predict`; `scale` is that of the speed."""
    _, defaults = _prediction.RULES[kind]
    known = {name: value for name, value in about.items() if name in (*defaults, "num_codes", "speed")}
    _, found = _prediction.predict(kind, _prediction.Setting(**known))
    if not found.means_something:
        return _none(found.validity)
    critical = scale * found.critical_speed
    return Law(
        found.survivors, critical, [_prediction.slower(scale * about["speed"], critical), *found.cures], found.validity
    )


def _of_adam(recording: Recording, i: int, about: dict[str, Any]) -> Law:
    """Adam moves no coordinate by more than its learning rate: a drift beyond that leaves all codes behind."""
    direction, rate = recording.motion.direction[i], about["step_size"]
    steepest = float(np.abs(direction).max())
    if about["speed"] * steepest >= rate:
        cures = [
            _prediction.slower(about["speed"], rate / steepest),
            (
                "a larger step size",
                f"of the codebook: a learning rate above {about['speed'] * steepest:.3g}; it is {rate:.3g}",
            ),
        ]
        why = (
            "Adam moves no coordinate by more than the learning rate in an update, so that no code can follow a faster one."
        )
        return Law(
            math.nan, rate / steepest, cures, f"{why} Which codes live then depends on where the latents come back to."
        )
    if about["dim"] > 1 or not isinstance(recording.rule, rules.VQ | rules.TrainedVQ):
        return _none("its steps are large enough for the speed, but Adam's law is that of VQ on the line.")
    share = math.sqrt(float(np.sum(direction**4)))  # a cloud along a diagonal has its speed and spread in each coordinate
    return _predicted("adam", about | {"speed": about["speed"] * share}, 1 / share)


def _none(why: str) -> Law:
    return Law(math.nan, math.nan, [], why)


def kind_of(recording: Recording) -> str | None:
    """Which of the laws of `vqtheory predict` it is, if any."""
    rule, adam = recording.rule, recording.optimizer == "adam"
    if isinstance(rule, rules.EMA):
        return "ema"
    if isinstance(rule, rules.TrainedVQ):
        return "adam" if rule.optimizer == "adam" else "vq"
    if isinstance(rule, rules.NSVQ) and rule.form != "propagate" and (adam or rule.form == "gaussian"):
        return "adam" if adam else "nsvq"
    if isinstance(rule, rules.VQ):
        return "adam" if adam else "vq"
    return None


def _reason(rule: Any) -> str:
    if rule is None:
        return "the rule is not known."
    if isinstance(rule, rules.TransVQ | rules.SimVQ):
        return "a map moves all its codes together, and its start and the size of its steps decide (L7)."
    return f"there is none for {rule!r}."
