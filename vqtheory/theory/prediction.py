"""One door to the laws: what they say of a codebook that a rule moves, and what would save it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from vqtheory import rules
from vqtheory._base import check
from vqtheory._base.config import parse
from vqtheory.protocols import Rule
from vqtheory.rules.base import declared
from vqtheory.theory import answers
from vqtheory.theory.answers import Prediction, no_prediction


class Law(NamedTuple):
    """A row of the table: the rules that a law is of, and how it is asked.

    With this row alone `predict`, `vqtheory predict` and `vqtheory.diagnose` answer for the rule. The diagnosis asks a law
    that has the options `width` and `dim` with the box that latents fill, and one with `width` where they fill one
    dimension.
    """

    name: str  # on the command line; of rows with one name the first that has all options asked is meant
    title: str  # what moves the codes, in words
    rule: type
    answer: Callable[..., Prediction]  # called with num_codes, speed and all options, by name
    options: dict[str, Any]  # what it may be asked with, and the defaults
    hyperparameters: tuple[str, ...]  # those options that a rule has itself
    holds: Callable[[Any], bool] = lambda rule: True  # which rules of this class it is of


_CONDITIONS = {"batch_size": 1, "width": 1.0, "dim": 1, "density": None, "direction": 1, "steps": None}
_CUBE = {"width": 1.0, "dim": 1}

LAWS = [
    Law(
        name="vq",
        title="Plain VQ",
        rule=rules.VQ,
        answer=answers.plain,
        options={"step_size": 0.05, **_CONDITIONS},
        hyperparameters=("step_size",),
        holds=lambda rule: rule.clock == "step",
    ),
    Law(
        name="sgd",
        title="VQ trained by SGD",
        rule=rules.TrainedVQ,
        answer=answers.plain,
        options={"step_size": 0.05, "momentum": 0.0, **_CONDITIONS},
        hyperparameters=("step_size", "momentum"),
        holds=lambda rule: rule.optimizer == "sgd",
    ),
    Law(
        name="adam",
        title="VQ trained by Adam",
        rule=rules.TrainedVQ,
        answer=answers.adam,
        options={"step_size": 1e-5, "batch_size": 1024, **_CUBE},
        hyperparameters=("step_size",),
        holds=lambda rule: rule.optimizer == "adam",
    ),
    Law(
        name="ema",
        title="EMA",
        rule=rules.EMA,
        answer=answers.ema,
        options={"decay": 0.99, **_CUBE},
        hyperparameters=("decay",),
    ),
    Law(
        name="nsvq",
        title="NSVQ, normalised",
        rule=rules.NSVQ,
        answer=answers.averaged,
        options={"decay": 0.9, "width": 1.0},
        hyperparameters=("decay",),
        holds=lambda rule: rule.form == "normalised",
    ),
    Law(
        name="nsvq",
        title="NSVQ",
        rule=rules.NSVQ,
        answer=answers.nsvq,
        options={"step_size": 0.05, "bandwidth": 1.0, "strength": None, **_CUBE},
        hyperparameters=("step_size", "bandwidth", "strength"),
        holds=lambda rule: rule.form == "gaussian",
    ),
]
_MAP = "A map moves all its codes together, and its start and the size of its steps decide."
NO_LAW: dict[type, str] = dict.fromkeys(  # why there is none, where more than that can be said
    (rules.TransVQ, rules.SimVQ, rules.FVQ, rules.GraphVQ), _MAP
)


def predict(
    rule: Rule | str,
    *,
    num_codes: int,
    speed: float,
    width: float | None = None,
    dim: int | None = None,
    density: Any = None,
    direction: int | None = None,
    batch_size: int | None = None,
    steps: int | None = None,
    at: int = 0,
    **hyperparameters: float | None,
) -> Prediction:
    """How fast latents may drift before a codebook of this rule loses codes, how many survive, and what would save all.

    One door to the laws of `vqtheory.theory`, each of which was derived for this package (docs/law.md): of VQ and SGD by
    `critical_speed`, whose closed form for a uniform cloud in one dimension is about (9/32) eta L / K^3; of EMA by
    `ema_critical_speed`, L (1 - gamma) / (2 K (K - c)); of Adam by `adam_critical_speed`; of NSVQ by `largest_lag`, and of
    its gaussian form by `capture_speed` or by the law of VQ, whichever is faster. Rules without a law are answered too, by
    a sentence.

    Parameters
    ----------
    rule : rule or str
        What moves the codes: a rule such as ``EMA(decay=0.8)`` or its text, whose hyperparameters count; or the name of a
        law, "vq", "sgd", "adam", "ema" or "nsvq", whose hyperparameters come by keyword: NSVQ with a `step_size`, a
        `bandwidth` or a `strength` is the gaussian form.
    num_codes : int
        K >= 1.
    speed : float
        v > 0, how far the latents move per update of the codebook, in their own unit.
    width : float, default 1
        L, of a uniform cloud, along each axis.
    dim : int, default 1
        D, how many dimensions the latents fill, which may be far fewer than they have.
    density : source or frozen scipy distribution in one dimension, optional
        A cloud that is not uniform. For VQ and SGD.
    direction : {1, -1}, default 1
        Which way a `density` drifts.
    batch_size : int, default 1, with Adam 1024
        B, latents in an update. With VQ and SGD it matters with `steps` only, and for how large a step may be.
    steps : int, optional
        Updates in a run, for what the noise of its samples takes off. For VQ and SGD.
    at : int, default 0
        The update at which a schedule of the rule is read.
    **hyperparameters
        `step_size` (0.05; with Adam the learning rate, 1e-5), `momentum` (0), `decay` (0.99; NSVQ's 0.9), `bandwidth` (1)
        and `strength` (NSVQ's own), in place of the rule's own or of the defaults.

    Returns
    -------
    Prediction
        `critical_speed`, `survivors`, `cures`, `validity`; `print` it to read it. Where no number means anything
        `meaningful` is False, the numbers are nan, and `validity` says why.

    Raises
    ------
    ValueError
        For a name that is not known, parameters out of range, and options that the law has no use for.

    Examples
    --------
    >>> prediction = predict(rules.VQ(step_size=0.05), num_codes=64, speed=1e-5)
    >>> prediction.survivors, [(cure.knob, round(cure.value, 9)) for cure in prediction.cures if cure.reachable]
    (11, [('speed', 5.4e-08), ('codes', 11), ('bandwidth', 1.0)])
    >>> predict("ema", num_codes=64, speed=1e-5, decay=0.9).critical_speed > 1e-5
    True
    >>> predict(rules.TransVQ(), num_codes=64, speed=1e-5).validity
    'TransVQ has no law: simulate it. A map moves all its codes together, and its start and the size of its steps decide.'
    """
    conditions = {"width": width, "dim": dim, "density": density, "direction": direction, "batch_size": batch_size}
    options = {name: value for name, value in (hyperparameters | conditions | {"steps": steps}).items() if value is not None}
    options |= {name: _number(name, options[name]) for name in ("width", "batch_size", "steps") if name in options}
    for name in ("dim", "batch_size"):
        if name in options:
            options[name] = check.integer("predict", name, options[name])
    subject = _subject(rule, options)
    law = subject if isinstance(subject, Law) else law_for(subject)
    if law is not None:
        _refuse_unused(rule, law, options)
    question = {
        "num_codes": check.integer("predict", "num_codes", num_codes),
        "speed": check.real("predict", "speed", speed, 0, above=True),
    }
    if law is None:
        return replace(no_prediction(_reason(subject)), title=type(subject).__name__, asked=question)
    own = {} if subject is law else _own(law, subject, check.integer("predict", "at", at, 0))
    asked = question | law.options | own | options
    answer = law.answer(**asked)
    return replace(answer, title=law.title, asked=asked, validity=answer.validity + _left_out(subject))


def _number(name: str, value: Any) -> float:
    """A plain number; its range is the law's business, except that widths have to leave room for their squares."""
    number = check.number("predict", name, value)
    return check.real("predict", name, number, 1e-150) if name == "width" and 0 < number < 1e-150 else number


def law_for(rule: Rule) -> Law | None:
    """The row of the table that is of a rule."""
    return next((law for law in LAWS if isinstance(rule, law.rule) and law.holds(rule)), None)


def _subject(rule: Rule | str, options: dict[str, Any]) -> Law | Rule:
    """The law of a name, or the rule that is given by itself, by its name or by its text."""
    if isinstance(rule, str) and rule.isidentifier():
        return _named(rule.lower(), options)
    subject = _parsed(rule) if isinstance(rule, str) else rule
    if not callable(getattr(subject, "advance", None)):
        raise check.fail("predict", "rule", "a rule such as VQ(step_size=0.05), or its name", rule)
    return subject


def _parsed(rule: str) -> Rule:
    try:
        return parse(rule)
    except ValueError as error:
        raise ValueError(f"The 'rule' parameter of predict: {error}") from None


def _named(name: str, options: dict[str, Any]) -> Law | Rule:
    known, kinds = {law.name for law in LAWS}, [getattr(rules, kind) for kind in rules.__all__]
    without = {kind.key: kind for kind in kinds if kind.key and kind.key not in known}
    name = check.choice("predict", "rule", name, [*known, *without])
    rows = [law for law in LAWS if law.name == name]
    asked = set(options) - set(_CONDITIONS)  # a rule is known by its hyperparameters
    return next((law for law in rows if asked <= set(law.options)), rows[-1]) if rows else without[name]()


def _refuse_unused(rule: Rule | str, law: Law, options: dict[str, Any]) -> None:
    known = ", ".join(f"--{name.replace('_', '-')}" for name in ("codes", "speed", *law.options))
    for name in options:
        if name not in law.options:
            raise ValueError(f"The rule {rule!r} has no use for --{name.replace('_', '-')}. Its options: {known}.")


def _own(law: Law, rule: object, at: int) -> dict[str, Any]:
    """The hyperparameters of a rule, its schedules at one update; what it leaves to its default is left out."""
    values = {name: getattr(rule, name) for name in law.hyperparameters}
    values = {name: float(value(at)) if callable(value) else value for name, value in values.items()}
    return {name: value for name, value in values.items() if value is not None}


def _left_out(subject: Law | Rule) -> str:
    """What the rule does and its law does not, in a sentence."""
    decays = not isinstance(subject, Law) and declared(subject, "weight_decay") > 0
    return " Weight decay is a drift of its own, which this leaves out: see weight_decay_speed." if decays else ""


def _reason(rule: object) -> str:
    """Why there is no prediction for a rule."""
    known = any(isinstance(rule, law.rule) for law in LAWS)  # but not for these hyperparameters
    name = repr(rule) if known else type(rule).__name__
    return f"{name} has no law: simulate it. {NO_LAW.get(type(rule), '')}".rstrip()
