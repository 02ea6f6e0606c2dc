"""What each law says of one codebook, a function per law.

`vqtheory.theory.prediction` has the table of the rules that these are the laws of, and what each may be asked with.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass, field
from typing import Any

from vqtheory._base import check
from vqtheory.rules import EMA, TrainedVQ
from vqtheory.streams.sources import Uniform
from vqtheory.theory._arguments import beyond
from vqtheory.theory._ball import MEASURED_SHARE as BALL_SHARE
from vqtheory.theory._ball import ball_codes, ball_speed, radius_of
from vqtheory.theory._cube import MEASURED_SHARE
from vqtheory.theory._flow import Mobility, mobility_of
from vqtheory.theory.adam import adam_critical_speed, adam_surviving_codes
from vqtheory.theory.averaged import largest_lag
from vqtheory.theory.capture import capture_speed
from vqtheory.theory.cures import Cure, count, fewer, kernel, larger_step, slower, smaller_decay
from vqtheory.theory.ema import ema_critical_speed, ema_required_decay, ema_surviving_codes
from vqtheory.theory.speed import critical_speed, required_step_size, surviving_codes

MOST_CELLS = 0.003  # Adam's rate in cells of the cloud: here simulated thresholds are a tenth to a sixth below the law
MOST_STEP = 4.0  # of NSVQ, above which the gain of a batch can be 2 or more, and diverges
FEW_LAYERS = 2.0  # of codes to an axis; below, no code is behind another
_REALLY_FILL = "Give dim the number of dimensions that the latents really fill."
_CARRIED = "The kernel carries all codes, most of them crowded and unused. They come back into use after the drift."


@dataclass(frozen=True)
class Prediction:
    """What a law says of one codebook; `print` it to read it.

    Attributes
    ----------
    critical_speed : float
        The largest speed at which all codes live, per update; nan where there is no prediction.
    survivors : int or nan
        How many codes a drift of the speed asked leaves alive.
    cures : tuple of Cure
        What would keep all codes alive, each by itself, the knobs out of reach among them; empty where all live.
    validity : str
        What the law is exact for, or why there is no prediction.
    carried : bool
        Whether codes live only since a kernel carries them: they come back into use after the drift.
    title : str
        What moves the codes, in words.
    asked : dict
        Everything the law was asked with, defaults included.
    """

    critical_speed: float
    survivors: float
    cures: tuple[Cure, ...]
    validity: str
    carried: bool = False
    title: str = ""
    asked: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def meaningful(self) -> bool:
        """Whether there is a prediction."""
        return not math.isnan(self.survivors)

    def __str__(self) -> str:
        if not self.meaningful:
            return f"{self._question}\n\n{textwrap.fill(f'No prediction. {self.validity}', 100)}"
        speed = f"  critical speed  {self.critical_speed:.4g} per update"
        survivors = f"  survivors       {self.survivors:,} of {self.asked['num_codes']:,}"
        validity = textwrap.fill(f"Validity: {self.validity}", 100)
        return "\n\n".join([self._question, f"{speed}\n{survivors}", *self._fate, validity])

    @property
    def _question(self) -> str:
        """What was asked, in a line."""
        options = {name: value for name, value in self.asked.items() if value is not None}
        num_codes, speed = options.pop("num_codes"), options.pop("speed")
        if "density" not in options:
            options.pop("direction", None)
        question = f"{self.title}: {count(num_codes)}, latents that move by {speed:g} per update"
        values = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in options.items())
        return f"{question}; {values}" if values else question

    @property
    def _fate(self) -> list[str]:
        """What becomes of the codes, and what would keep all."""
        if self.carried:
            return [_CARRIED]
        if self.survivors == self.asked["num_codes"]:
            return ["All codes live."]
        saving = f"What would keep all {self.asked['num_codes']:,} alive, each by itself:"
        useful = [cure for cure in self.cures if cure.reachable]
        useless = [cure for cure in self.cures if not cure.reachable]
        return [*_listed(saving, useful), *_listed("What would not help:", useless)]


def _listed(heading: str, cures: list[Cure]) -> list[str]:
    """A heading, and one line for each cure; nothing where there are none."""
    lines = [f"  {cure.change:<20}  {cure.extent}" for cure in cures]
    return ["\n".join([heading, *lines])] if lines else []


def no_prediction(reason: str) -> Prediction:
    """Where no number means anything."""
    return Prediction(math.nan, math.nan, (), reason)


def plain(num_codes: int, speed: float, step_size: float, momentum: float = 0.0, **conditions: Any) -> Prediction:
    """Plain VQ, under the conditions of `critical_speed`; with momentum a step goes 1 / (1 - momentum) as far."""
    share = _share(momentum)
    step = step_size / share if momentum else step_size
    critical = critical_speed(num_codes, step, **conditions)
    survivors = surviving_codes(speed, step, num_codes=num_codes, **conditions)
    validity = _plain_validity(num_codes, conditions["dim"], conditions["steps"])
    most = share * min(num_codes, conditions["batch_size"])  # from here on a code that wins its share alone jumps past it
    lesser = "the lesser of codes and batch size" + (" times 1 - momentum" if momentum else "")
    jump = f"above {most:g}, {lesser}, codes jump past their latents"
    if step_size > most:
        return no_prediction(f"With a step size {jump}.")
    if not _has_layers(num_codes, conditions["dim"]):
        return no_prediction(validity)
    if survivors == num_codes:
        return Prediction(critical, survivors, (), validity)
    needed = share * required_step_size(num_codes, speed, **conditions)
    cures = [slower(speed, critical), larger_step(needed, most, jump), fewer(survivors)]
    if conditions["density"] is None:
        cures += _passed_on(speed, critical, step, conditions["width"], conditions["dim"])
    return Prediction(critical, survivors, tuple(cures), validity)


def _share(momentum: float) -> float:
    """1 - momentum."""
    share = 1 - check.real("predict", "momentum", momentum, 0, 1)
    if share == 0:
        raise check.fail("predict", "momentum", "a number >= 0 and < 1", momentum)
    return share


def _has_layers(num_codes: int, dim: int) -> bool:
    return dim == 1 or num_codes == 1 or num_codes ** (1 / dim) >= FEW_LAYERS


def _plain_validity(num_codes: int, dim: int, steps: int | None) -> str:
    if dim > 1:
        layers = f"{num_codes ** (1 / dim):.2g} layers"
        scaling = f"A scaling law for ordered codes with several layers to an axis; here K^(1/D) is {layers}"
        if not _has_layers(num_codes, dim):
            too_few = "too few, and the figures mean nothing"
            return f"{scaling}: {too_few}. {_REALLY_FILL}"
        near = dim if dim in MEASURED_SHARE else 8
        low, high = MEASURED_SHARE[near]
        return f"{scaling}. In simulations {low:g} to {high:g} of so many codes survive in {near} dimensions."
    if steps is None:
        noise = "In a run the noise of samples lowers the critical speed: predict(..., steps=...), or --steps, says how far."
        return f"Exact for the mean motion. {noise}"
    return "The mean motion is exact, the noise of samples asymptotic for a small step size."


def _reach(step_size: float, bandwidth: float, strength: float | None, width: float, dim: int) -> float:
    """The capture speed of a cube of this width."""
    if strength == 0:
        return 0.0
    return width * capture_speed(step_size, bandwidth / width, strength, source=Uniform(dim))


def _passed_on(speed: float, critical: float, step_size: float, width: float, dim: int) -> list[Cure]:
    """The cure that passes the drift on to codes that are not chosen, if it is one; the bandwidth pulls about best."""
    bandwidth = width * round(math.sqrt(dim), 2)
    reach = _reach(step_size, bandwidth, None, width, dim)
    return [kernel(bandwidth, reach)] if reach >= max(speed, critical) else []


def ema(num_codes: int, speed: float, decay: float, width: float, dim: int) -> Prediction:
    """EMA, by the law of `ema_critical_speed`, and of a ball in more dimensions."""
    if dim > 1:
        return _ema_in_a_ball(num_codes, speed, decay, width, dim)
    critical = ema_critical_speed(num_codes, decay, width)
    survivors = min(num_codes, ema_surviving_codes(speed, decay, width))
    validity = (
        "Exact for large batches of a uniform cloud in one dimension. A batch of B samples lowers it by about "
        "1.5 K^0.3 sqrt((1 - decay) / B)."
    )
    if survivors == num_codes:
        return Prediction(critical, survivors, (), validity)
    needed = smaller_decay(ema_required_decay(num_codes, speed, width))
    return Prediction(critical, survivors, (slower(speed, critical), needed, fewer(survivors)), validity)


def averaged(num_codes: int, speed: float, decay: float, width: float) -> Prediction:
    """NSVQ in its normalised form: a code lives where EMA would keep it, and no other is lost, by `largest_lag`."""
    width = check.real("predict", "width", width, 0, above=True)
    unaided, lag = ema_critical_speed(num_codes, decay, width), largest_lag(speed, decay)
    validity = (
        f"A bound, for any latents: a code that wins nothing is never farther than {lag:.3g} from them, and comes back "
        f"among them once the drift has ended. Up to {unaided:.3g}, EMA's critical speed for a uniform cloud in one "
        "dimension, every code wins something all along."
    )
    return Prediction(math.inf, num_codes, (), validity)


def _ema_in_a_ball(num_codes: int, speed: float, decay: float, width: float, dim: int) -> Prediction:
    decay = check.real("predict", "decay", decay, 0, 1)
    if decay == 1:
        raise check.fail("predict", "decay", "a number >= 0 and < 1", decay)
    critical, survivors = _in_a_ball(num_codes, speed, mobility_of("predict", EMA(decay=decay), dim, 1), width, dim)
    gain = (1 - decay) * speed / critical
    needed = smaller_decay(1 - gain if gain <= 1 else math.nan)
    return _of_ball("ema", num_codes, speed, dim, critical, survivors, needed)


def adam(num_codes: int, speed: float, step_size: float, batch_size: int, width: float, dim: int) -> Prediction:
    """VQ whose codebook Adam trains, by the law of `adam_critical_speed`, and of a ball in more dimensions."""
    width = check.real("predict", "width", width, 0, above=True)
    step_size = check.real("predict", "step_size", step_size, 0, above=True)
    most = MOST_CELLS * width / num_codes ** (1 / dim)
    too_long = f"above {most:.2g}, {MOST_CELLS:g} cells, Adam's memory outlasts the crossing of a cell"
    if step_size > most:
        return no_prediction(f"With a step size {too_long}. Simulate it: TrainedVQ.")
    if dim > 1:
        mobility = mobility_of("predict", TrainedVQ(step_size), dim, batch_size)
        critical, survivors = _in_a_ball(num_codes, speed, mobility, width, dim)
        needed = larger_step(step_size * speed / critical, most, too_long)
        if speed >= step_size * math.sqrt(dim):
            survivors = 1  # in whatever direction it goes, some coordinate is faster than the rate
        elif mobility.most is not None and speed > mobility.most:
            return no_prediction(
                f"Adam moves no coordinate by more than its rate, {step_size:g}, and the drift is near that: how many codes "
                "survive depends on its direction; above the rate along one coordinate, one. Simulate it: TrainedVQ."
            )
        return _of_ball("adam", num_codes, speed, dim, critical, survivors, needed)
    critical = adam_critical_speed(num_codes, step_size, batch_size)
    survivors = 1 if speed >= step_size else adam_surviving_codes(speed, step_size, batch_size, num_codes)
    validity = (
        "For a codebook that Adam trains (TrainedVQ), a uniform cloud in one dimension, and speeds per coordinate. "
        "Simulated thresholds are up to a tenth lower where the step size is 0.001 cells, and a sixth where it is 0.003."
    )
    if survivors == num_codes:
        return Prediction(critical, survivors, (), validity)
    needed = larger_step(step_size * speed / critical, most, too_long)
    return Prediction(critical, survivors, (slower(speed, critical), needed, fewer(survivors)), validity)


def _in_a_ball(num_codes: int, speed: float, mobility: Mobility, width: float, dim: int) -> tuple[float, int]:
    """Critical speed and survivors of a uniform ball with the variance of a cube of this width."""
    radius = radius_of(check.real("predict", "width", width, 0, above=True), dim)
    try:
        critical = math.inf if num_codes == 1 else ball_speed(num_codes, mobility, radius, dim)
        return critical, max(1, int(min(num_codes, ball_codes(speed, mobility, radius, dim))))
    except (OverflowError, ZeroDivisionError):
        raise beyond("predict") from None


def _of_ball(law: str, num_codes: int, speed: float, dim: int, critical: float, survivors: int, needed: Cure) -> Prediction:
    layers = f"{num_codes ** (1 / dim):.2g} layers"
    low, high = BALL_SHARE[law][min(dim, 3)]
    validity = (
        f"A law of many codes for a uniform ball with the variance of a cube of this width; here K^(1/D) is {layers}. In "
        f"simulations {low:g} to {high:g} of so many codes survive in {min(dim, 3)} dimensions."
    )
    if not _has_layers(num_codes, dim):
        return no_prediction(f"A law of many codes, and K^(1/D) is {layers}. {_REALLY_FILL}")
    if survivors == num_codes:
        return Prediction(critical, survivors, (), validity)
    return Prediction(critical, survivors, (slower(speed, critical), needed, fewer(survivors)), validity)


def nsvq(
    num_codes: int, speed: float, step_size: float, bandwidth: float, strength: float | None, width: float, dim: int
) -> Prediction:
    """NSVQ in its gaussian form: a code lives where plain VQ would keep it, and where the kernel carries it."""
    width = check.real("predict", "width", width, 0, above=True)
    bandwidth = check.real("predict", "bandwidth", bandwidth, 0, above=True)
    unaided = critical_speed(num_codes, step_size, width=width, dim=dim)
    critical = max(_reach(step_size, bandwidth, strength, width, dim), unaided)
    validity = (
        f"Exact for the mean motion of a code that wins nothing, with strength {0.5 if strength is None else strength:g}. "
        "Codes come back into use once the drift has ended and the bandwidth has shrunk, within K^3 / eta updates in one "
        "dimension; a bandwidth that stays wide keeps them out."
    )
    if speed <= critical:
        return Prediction(critical, num_codes, (), validity, carried=speed > unaided)
    if not _has_layers(num_codes, dim):
        return no_prediction(_plain_validity(num_codes, dim, None))
    survivors = surviving_codes(speed, step_size, num_codes=num_codes, width=width, dim=dim)
    diverges = f"above {MOST_STEP:g} the gain of a batch can be 2 or more, and diverges"
    cures = [slower(speed, critical), larger_step(step_size * speed / critical, MOST_STEP, diverges)]
    cures += _passed_on(speed, critical, step_size, width, dim)
    return Prediction(critical, survivors, tuple(cures), validity)
