"""What the collapse law says of the drift between two looks at a codebook.

Latents of a model do not fill a cube. In a box of sides L_1 >= L_2 >= ..., of which the cells fill the first d, a drift
along a side L leaves the codes that a cube of d dimensions and of the width (L_1 ... L_d)^(2/d) / L would keep: the cells
of the steady drift, f h^(d+2) = (a/M) x with f = 1 / (L_1 ... L_d), add up to them. Cells are as many-sided as leaves the
most codes, with two layers at least along each side. Derived for this package; tests/test_diagnosis.py simulates boxes
with sides down to 0.03 of the longest, which keep 0.7 to 1 of as many.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from vqtheory import rules
from vqtheory.diagnosis.recording import Recording, values
from vqtheory.theory import capture_speed, prediction
from vqtheory.theory.cures import FEWER, KERNEL, STEP_SIZE, count, passed_on, slower

_LINE = 1.1  # effective dimensions
_MOST_STEP = 4.0  # of NSVQ, above which the gain of a batch can be 2 or more, and diverges


class Law(NamedTuple):
    """What the law of the rule says of a drift that goes on as it was between two times."""

    survivors: float  # nan where there is no law
    critical_speed: float
    cures: list[tuple[str, str]]
    validity: str
    limit: str = ""  # what the critical speed is, where it is not that of so many codes


def law_of(recording: Recording, i: int) -> Law:
    """Of the stretch from time i to the next."""
    kind = kind_of(recording)
    if kind is None:
        return _none(_reason(recording))
    about = _asked(recording, i)
    if about["speed"] == 0:
        return Law(len(recording.codes), math.inf, [], "the latents stand still.")
    if recording.motion.length[i] == 0:
        return _none("the latents are all at one place.")
    if kind != "ema" and math.isnan(about["step_size"]):
        return _none("the step size is not known: give Monitor the optimizer of the codebook.")
    return _LAWS[kind](recording, i, about)


def _asked(recording: Recording, i: int) -> dict[str, Any]:
    """The stretch in the words of `vqtheory predict`."""
    at = recording.steps[i : i + 1]
    about: dict[str, Any] = {"num_codes": len(recording.codes), "speed": float(recording.motion.speed[i])}
    about |= {"step_size": float(recording.rates[i + 1]), "batch_size": recording.batch_size or len(recording.codes)}
    about["decay"] = float(values(recording.rule, "decay", at)[0])
    about["bandwidth"] = max(float(values(recording.rule, "bandwidth", at)[0]), np.finfo(float).tiny)
    return about


def _of_ema(recording: Recording, i: int, about: dict[str, Any]) -> Law:
    if recording.motion.dimension[i] > _LINE:
        return _none("that of EMA is known on the line only. In more dimensions it keeps far more codes than there.")
    return _predicted("ema", about | {"width": float(recording.motion.length[i])})


def _of_box(recording: Recording, i: int, about: dict[str, Any]) -> Law:
    """Plain VQ in as many dimensions as leave the most codes."""
    sides, length = recording.motion.sides[i], float(recording.motion.length[i])
    most = max(1, min(int(math.log2(about["num_codes"])), int(np.count_nonzero(sides > 0))))
    logs = np.cumsum(np.log(sides[:most]))
    widths = {d: float(np.exp(2 * logs[d - 1] / d)) / length for d in range(1, most + 1)}
    laws = {d: _predicted("vq", about | {"dim": d, "width": width}) for d, width in widths.items()}
    known = {d: law for d, law in laws.items() if not math.isnan(law.survivors)}
    if not known:
        return laws[1]
    best = max(known.values(), key=lambda law: law.critical_speed)
    survivors = max((law.survivors for d, law in known.items() if law.survivors >= 2**d), default=1)
    cures = [cure for cure in best.cures if not cure[0].startswith((FEWER, KERNEL))]
    cures += [(FEWER, f"at most {count(int(survivors))}")]
    return best._replace(survivors=survivors, cures=cures)


def kernel_cure(recording: Recording, i: int) -> list[tuple[str, str]]:
    """NSVQ with a kernel as wide as the cloud, if that carries codes of plain VQ along at the speed of a stretch."""
    if kind_of(recording) != "vq":
        return []
    speed, bandwidth = float(recording.motion.speed[i]), float(recording.motion.spread[i])
    reach = _reach(recording, i, float(recording.rates[i + 1]), bandwidth)
    return [passed_on(bandwidth, reach)] if reach > speed else []


def _reach(recording: Recording, i: int, step_size: float, bandwidth: float, strength: float | None = None) -> float:
    """The speed up to which the kernel carries a code along behind the probe; 0 where so large a step diverges."""
    if step_size > _MOST_STEP:
        return 0.0
    probe = recording.latents[i].astype(np.float64)
    return float(capture_speed(step_size, bandwidth, strength, source=probe, direction=recording.motion.direction[i]))


def _of_nsvq(recording: Recording, i: int, about: dict[str, Any]) -> Law:
    """A code lives where plain VQ would keep it, and where the kernel carries it along."""
    plain = _of_box(recording, i, about)
    reach = _reach(recording, i, about["step_size"], about["bandwidth"], recording.rule.strength)
    critical = max(reach, plain.critical_speed)
    if about["speed"] > critical:
        return plain._replace(critical_speed=critical, cures=[slower(about["speed"], critical), *plain.cures[1:]])
    why = "Mean motion. Codes that the kernel carries along come back into use once the drift is over and it has shrunk."
    return Law(about["num_codes"], critical, [], why)


def _predicted(kind: str, about: dict[str, Any], scale: float = 1.0) -> Law:
    """The answer of `vqtheory predict`; `scale` is that of the speed."""
    _, defaults = prediction.RULES[kind]
    known = {name: value for name, value in about.items() if name in (*defaults, "num_codes", "speed")}
    _, found = prediction.predict(kind, prediction.Setting(**known))
    if not found.means_something:
        return _none(found.validity)
    critical = scale * found.critical_speed
    return Law(found.survivors, critical, [slower(scale * about["speed"], critical), *found.cures], found.validity)


def _of_adam(recording: Recording, i: int, about: dict[str, Any]) -> Law:
    """In the long run Adam moves no coordinate by more than its rate: a drift beyond that leaves all codes behind."""
    direction, rate = recording.motion.direction[i], about["step_size"]
    steepest = float(np.abs(direction).max())
    needed = about["speed"] * steepest
    on_line = recording.motion.dimension[i] <= _LINE and isinstance(recording.rule, rules.VQ | rules.TrainedVQ)
    if needed < rate and on_line and recording.batch_size is not None:
        share = math.sqrt(np.sum(direction**4))  # a cloud along a diagonal has its speed and spread in each coordinate
        width = float(recording.motion.length[i])
        law = _predicted("adam", about | {"speed": about["speed"] * share, "width": width}, 1 / share)
        if not math.isnan(law.survivors):
            return law
    cure = (STEP_SIZE, f"of the codebook: a learning rate above {needed:.3g}")
    return Law(
        math.nan,
        rate / steepest,
        [slower(about["speed"], rate / steepest), cure],
        "In the long run Adam moves no coordinate by more than the learning rate in an update, and no code can follow a "
        "faster drift. How many of those that can follow live is known on the line only, for VQ and steps below its cells.",
        "the reach of Adam's steps",
    )


def _none(why: str) -> Law:
    return Law(math.nan, math.nan, [], why)


def kind_of(recording: Recording) -> str | None:
    """Which of the laws of `vqtheory predict` it is, if any."""
    rule, adam = recording.rule, recording.optimizer == "adam"
    if recording.optimizer not in (None, "sgd", "adam"):
        return None
    if isinstance(rule, rules.EMA):
        return "ema"
    if isinstance(rule, rules.TrainedVQ):
        return "adam" if rule.optimizer == "adam" else "vq"
    if isinstance(rule, rules.NSVQ) and rule.form != "propagate" and (adam or rule.form == "gaussian"):
        return "adam" if adam else "nsvq"
    if isinstance(rule, rules.VQ):
        return "adam" if adam else "vq"
    return None


def _reason(recording: Recording) -> str:
    rule = recording.rule
    if recording.optimizer not in (None, "sgd", "adam"):
        return f"there is none for {recording.optimizer}."
    if rule is None:
        return "the rule is not known. Name it, as in rule=vq.rules.EMA(decay=0.8), or --rule."
    if isinstance(rule, rules.TransVQ | rules.SimVQ):
        return "a map moves all its codes together, and its start and the size of its steps decide."
    return f"there is none for {rule!r}."


_LAWS = {"vq": _of_box, "ema": _of_ema, "adam": _of_adam, "nsvq": _of_nsvq}
