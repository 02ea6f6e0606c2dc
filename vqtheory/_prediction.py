"""What the collapse law says of a codebook, and what would save it: the text of `vqtheory predict`."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

from vqtheory import _check, theory

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


def predict(rule: str, setting: Setting) -> tuple[Setting, Prediction]:
    """The setting with its defaults, and the answer; `ValueError` for an option that the rule has no use for."""
    law, defaults = RULES[_check.choice("predict", "rule", rule, RULES)]
    for name, value in setting._asdict().items():
        if value is not None and name not in (*defaults, "num_codes", "speed"):
            raise ValueError(
                f"The rule {rule!r} has no use for --{name.replace('_', '-')}. Its options: {_options(defaults)}."
            )
    setting = setting._replace(**{name: value for name, value in defaults.items() if getattr(setting, name) is None})
    num_codes = _check.integer("predict", "num_codes", setting.num_codes)
    speed = _check.real("predict", "speed", setting.speed, 0, above=True)
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
    cures = [("a larger step size", _enough(theory.required_step_size(K, v, **about), most)), _smaller(survivors)]
    if asked.density is None:
        cures += _passed_on(asked, critical)
    if eta > most:
        return Prediction(critical, survivors, cures, f"Above the step size {most} codes jump past their latents.", False)
    return Prediction(critical, survivors, cures, _plain_validity(asked), _has_layers(asked))


def _enough(step_size: float, most: float) -> str:
    """The step size that is asked for, unless a code would jump past its latents."""
    if math.isnan(step_size):
        return "none is enough: the noise of a larger one takes more than it gains"
    beyond = f": out of reach, since above {most:g} codes jump past their latents" if step_size > most else ""
    return f"at least {step_size:.4g}{beyond}"


def _has_layers(asked: Setting) -> bool:
    return asked.dim == 1 or asked.num_codes == 1 or asked.num_codes ** (1 / asked.dim) >= FEW_LAYERS


def _plain_validity(asked: Setting) -> str:
    if asked.dim > 1:
        layers = asked.num_codes ** (1 / asked.dim)
        said = f"A scaling law for ordered codes with several layers to an axis; here K^(1/D) is {layers:.2g} layers"
        if not _has_layers(asked):
            said += ": too few, and the figures mean nothing"
            return f"{said}. Give --dim the number of dimensions that the latents really fill."
        return said + ". Runs from random starts keep 0.5 to 0.9 of that many codes, the fewer the more dimensions."
    if asked.steps is None:
        return "Exact for the mean motion. Samples lower the critical speed of a run: give --steps and --batch-size."
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
    return [(f"NSVQ, bandwidth {asked.width * widths:g}", f"carries any number of codes along up to {reach:.3g} per update")]


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
    critical = theory.adam_critical_speed(K, rate, batch)
    survivors = 1 if v >= rate else theory.adam_surviving_codes(v, rate, batch, K)
    cures = [("a larger step size", f"at least {rate * v / critical:.4g}"), _smaller(survivors)]
    validity = (
        "For a codebook that Adam trains (TrainedVQ), a uniform cloud on the line, steps that are small against a cell and "
        "speeds per coordinate. Simulated thresholds are up to a tenth lower."
    )
    return Prediction(critical, survivors, cures, validity)


def _nsvq(asked: Setting) -> Prediction:
    width = _check.real("predict", "width", asked.width, 0, above=True)
    bandwidth = _check.real("predict", "bandwidth", asked.bandwidth, 0, above=True)
    K, v, eta, dim = asked.num_codes, asked.speed, asked.step_size, asked.dim
    plain = theory.critical_speed(K, eta, width=width, dim=dim)
    critical = max(_reach(asked, bandwidth / width), plain)
    survivors = K if v <= critical else theory.surviving_codes(v, eta, num_codes=K, width=width, dim=dim)
    cures = [("a larger step size", _enough(eta * v / critical, 4.0)), *_passed_on(asked, critical)]
    validity = (
        "Codes that are carried along crowd behind the cloud and come back into use when the drift ends and the bandwidth "
        "shrinks. Exact for the mean motion of a code that wins nothing, with strength 0.5."
    )
    if v > critical and not _has_layers(asked):
        return Prediction(critical, survivors, cures, _plain_validity(asked), False)
    return Prediction(critical, survivors, cures, validity)


def _smaller(survivors: int) -> tuple[str, str]:
    return "a smaller codebook", f"at most {_codes(survivors)}"


def _codes(number: int) -> str:
    return f"{number:,} code{'s' * (number != 1)}"


RULES: dict[str, tuple[Callable[[Setting], Prediction], dict[str, Any]]] = {
    "vq": (
        _plain,
        {"step_size": 0.05, "batch_size": 1, "width": 1.0, "dim": 1, "density": None, "direction": 1, "steps": None},
    ),
    "ema": (_ema, {"decay": 0.99, "width": 1.0}),
    "adam": (_adam, {"step_size": 1e-3, "batch_size": 1024}),
    "nsvq": (_nsvq, {"step_size": 0.05, "bandwidth": 1.0, "width": 1.0, "dim": 1}),
}
TITLES = {"vq": "Plain VQ", "ema": "EMA", "adam": "VQ trained by Adam", "nsvq": "NSVQ"}


def sentences(rule: str, asked: Setting, found: Prediction) -> str:
    """The answer to read."""
    K, v = asked.num_codes, asked.speed
    options = ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in asked._asdict().items()
        if name in RULES[rule][1] and value is not None and (name != "direction" or asked.density is not None)
    )
    lines = [
        f"{TITLES[rule]}: {_codes(K)}, latents that move by {v:g} per update; {options}",
        "",
        f"  critical speed  {found.critical_speed:.4g} per update",
        f"  survivors       {found.survivors:,} of {K:,}",
        *([] if found.means_something else ["", "  These figures mean nothing: see Validity."]),
        "",
    ]
    if found.survivors < K:
        lines += [f"What would keep all {K:,} alive, each by itself:"]
        lines += [f"  {knob:<20}{where}" for knob, where in [_slower(v, found.critical_speed), *found.cures]]
    else:
        lines += ["All codes live."]
    return "\n".join([*lines, "", *textwrap.wrap(f"Validity: {found.validity}", 100)])


def _slower(speed: float, critical: float) -> tuple[str, str]:
    if critical == 0:
        return "a slower encoder", "none is slow enough: noise alone loses a code"
    return "a slower encoder", f"at most {critical:.4g} per update: {speed / critical:.3g} times slower"
