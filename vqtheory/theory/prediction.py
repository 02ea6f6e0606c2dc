"""What the collapse law says of a codebook, and what would save it: the text of `vqtheory predict`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from vqtheory import theory
from vqtheory._base import check
from vqtheory.theory._cube import MEASURED_SHARE
from vqtheory.theory.cures import STEP_SIZE, _enough, _smaller, passed_on

MOST_CELLS = 0.003  # Adam's rate in cells of the cloud: here simulated thresholds are a tenth to a sixth below the law
FEW_LAYERS = 2.0  # of codes to an axis; below, no code is behind another


class Setting(NamedTuple):
    """What is asked; None where a rule does not need it."""

    num_codes: Any
    speed: Any
    step_size: Any = None
    decay: Any = None
    bandwidth: Any = None
    batch_size: Any = None
    width: Any = None
    dim: Any = None
    density: Any = None
    direction: Any = None
    steps: Any = None


class Prediction(NamedTuple):
    """The answer."""

    critical_speed: float
    survivors: int
    cures: list[tuple[str, str]]  # knob, and where it would keep all codes alive
    validity: str
    means_something: bool = True
    all_live: str = "All codes live."


def predict(rule: str, setting: Setting) -> tuple[Setting, Prediction]:
    """The setting with its defaults, and the answer; `ValueError` for an option that the rule has no use for."""
    law, defaults = RULES[check.choice("predict", "rule", rule.lower(), RULES)]
    for name, value in setting._asdict().items():
        if value is not None and name not in (*defaults, "num_codes", "speed"):
            raise ValueError(
                f"The rule {rule!r} has no use for --{name.replace('_', '-')}. Its options: {_options(defaults)}."
            )
    setting = setting._replace(**{name: value for name, value in defaults.items() if getattr(setting, name) is None})
    num_codes = check.integer("predict", "num_codes", setting.num_codes)
    speed = check.real("predict", "speed", setting.speed, 0, above=True)
    setting = setting._replace(num_codes=num_codes, speed=speed)
    return setting, law(setting)


def _options(defaults: dict[str, Any]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in ("num_codes", "speed", *defaults))


def _plain(asked: Setting) -> Prediction:
    K, v, eta = asked.num_codes, asked.speed, asked.step_size
    about = {name: getattr(asked, name) for name in ("width", "dim", "density", "direction", "batch_size", "steps")}
    critical = theory.critical_speed(K, eta, **about)
    survivors = theory.surviving_codes(v, eta, num_codes=K, **about)
    most = min(K, asked.batch_size)  # a code that wins its share of a batch, and no more, jumps past it from here on
    jump = f"above {most}, the lesser of codes and batch size, codes jump past their latents"
    cures = [(STEP_SIZE, _enough(theory.required_step_size(K, v, **about), most, jump)), _smaller(survivors)]
    if asked.density is None:
        cures += _passed_on(asked, critical)
    if eta > most:
        return Prediction(critical, survivors, cures, f"None: {jump}.", False)
    return Prediction(critical, survivors, cures, _plain_validity(asked), _has_layers(asked))


def _has_layers(asked: Setting) -> bool:
    return asked.dim == 1 or asked.num_codes == 1 or asked.num_codes ** (1 / asked.dim) >= FEW_LAYERS


def _plain_validity(asked: Setting) -> str:
    if asked.dim > 1:
        layers = asked.num_codes ** (1 / asked.dim)
        said = f"A scaling law for ordered codes with several layers to an axis; here K^(1/D) is {layers:.2g} layers"
        if not _has_layers(asked):
            said += ": too few, and the figures mean nothing"
            return f"{said}. Give --dim the number of dimensions that the latents really fill."
        near = asked.dim if asked.dim in MEASURED_SHARE else 8
        low, high = MEASURED_SHARE[near]
        return f"{said}. In simulations {low:g} to {high:g} of so many codes survive in {near} dimensions."
    if asked.steps is None:
        return (
            "Exact for the mean motion. Samples lower the critical speed of a run, by what the options --steps and "
            "--batch-size of vqtheory predict say."
        )
    return "The mean motion is exact, the noise of samples asymptotic for a small step size."


def _reach(asked: Setting, widths: float) -> float:
    """The capture speed with a bandwidth of so many widths of the cloud."""
    from vqtheory.streams import Uniform

    return asked.width * theory.capture_speed(asked.step_size, widths, source=Uniform(asked.dim))


def _passed_on(asked: Setting, present: float) -> list[tuple[str, str]]:
    """The cure that passes the drift on to codes that are not chosen, if it is one; the bandwidth pulls about best."""
    widths = round(math.sqrt(asked.dim), 2)
    reach = _reach(asked, widths)
    if reach < max(asked.speed, present):
        return []
    return [passed_on(asked.width * widths, reach)]


def _ema(asked: Setting) -> Prediction:
    K, v, width = asked.num_codes, asked.speed, asked.width
    decay = theory.ema_required_decay(K, v, width)
    needed = "none: even decay 0, Lloyd's algorithm, is too slow" if math.isnan(decay) else f"at most {decay:.6g}"
    survivors = min(K, theory.ema_surviving_codes(v, asked.decay, width))
    validity = (
        "Exact for large batches of a uniform cloud on the line. A batch of B samples lowers it by about "
        "1.5 K^0.3 sqrt((1 - decay) / B); in more dimensions EMA keeps more codes than this."
    )
    critical = theory.ema_critical_speed(K, asked.decay, width)
    return Prediction(critical, survivors, [("a smaller decay", needed), _smaller(survivors)], validity)


def _adam(asked: Setting) -> Prediction:
    K, v, rate, batch = asked.num_codes, asked.speed, asked.step_size, asked.batch_size
    critical, width = theory.adam_critical_speed(K, rate, batch), check.real("predict", "width", asked.width, 0, above=True)
    survivors = 1 if v >= rate else theory.adam_surviving_codes(v, rate, batch, K)
    most = MOST_CELLS * width / K
    too_long = f"above {most:.2g}, {MOST_CELLS:g} cells, Adam's memory outlasts the crossing of a cell"
    if rate > most:
        return Prediction(critical, survivors, [], f"None: {too_long}. Simulate it: TrainedVQ.", False)
    cures = [(STEP_SIZE, _enough(rate * v / critical, most, too_long)), _smaller(survivors)]
    validity = (
        "For a codebook that Adam trains (TrainedVQ), a uniform cloud on the line, and speeds per coordinate. Simulated "
        "thresholds are up to a tenth lower where the step size is 0.001 cells, and a sixth where it is 0.003."
    )
    return Prediction(critical, survivors, cures, validity)


def _nsvq(asked: Setting) -> Prediction:
    width = check.real("predict", "width", asked.width, 0, above=True)
    bandwidth = check.real("predict", "bandwidth", asked.bandwidth, 0, above=True)
    K, v, eta, dim = asked.num_codes, asked.speed, asked.step_size, asked.dim
    plain = theory.critical_speed(K, eta, width=width, dim=dim)
    critical = max(_reach(asked, bandwidth / width), plain)
    survivors = K if v <= critical else theory.surviving_codes(v, eta, num_codes=K, width=width, dim=dim)
    diverges = "above 4 the gain of a batch can be 2 or more, and diverges"
    cures = [(STEP_SIZE, _enough(eta * v / critical, 4.0, diverges)), *_passed_on(asked, critical)]
    carried = "All codes are carried along, most of them crowded and unused. They come back into use after the drift."
    validity = (
        "Exact for the mean motion of a code that wins nothing, with strength 0.5. Codes come back into use once the drift "
        "has ended and the bandwidth has shrunk, within K^3 / eta updates on the line; a bandwidth that stays wide keeps "
        "them out."
    )
    if v > critical and not _has_layers(asked):
        return Prediction(critical, survivors, cures, _plain_validity(asked), False)
    return Prediction(critical, survivors, cures, validity, all_live=carried if v > plain else "All codes live.")


RULES: dict[str, tuple[Callable[[Setting], Prediction], dict[str, Any]]] = {
    "vq": (
        _plain,
        {"step_size": 0.05, "batch_size": 1, "width": 1.0, "dim": 1, "density": None, "direction": 1, "steps": None},
    ),
    "ema": (_ema, {"decay": 0.99, "width": 1.0}),
    "adam": (_adam, {"step_size": 1e-5, "batch_size": 1024, "width": 1.0}),
    "nsvq": (_nsvq, {"step_size": 0.05, "bandwidth": 1.0, "width": 1.0, "dim": 1}),
}
