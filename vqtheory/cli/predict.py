"""`vqtheory predict`: what the collapse law says of a codebook, and what would save it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated

from vqtheory.cli.options import number, option, read

if TYPE_CHECKING:
    from vqtheory.theory.prediction import Prediction, Setting

TITLES = {"vq": "Plain VQ", "ema": "EMA", "adam": "VQ trained by Adam", "nsvq": "NSVQ"}


def sentences(rule: str, asked: Setting, found: Prediction) -> str:
    """The answer to read."""
    answer = _figures(asked, found) if found.means_something else ["No prediction: see Validity."]
    return "\n".join([_question(rule, asked), "", *answer, "", *textwrap.wrap(f"Validity: {found.validity}", 100)])


def _question(rule: str, asked: Setting) -> str:
    from vqtheory.theory.cures import count
    from vqtheory.theory.prediction import RULES

    options = ", ".join(
        f"{name.replace('_', ' ')} {value}"
        for name, value in asked._asdict().items()
        if name in RULES[rule][1] and value is not None and (name != "direction" or asked.density is not None)
    )
    return f"{TITLES[rule]}: {count(asked.num_codes)}, latents that move by {asked.speed:g} per update; {options}"


def _figures(asked: Setting, found: Prediction) -> list[str]:
    from vqtheory.theory.cures import slower

    K = asked.num_codes
    lines = [
        f"  critical speed  {found.critical_speed:.4g} per update",
        f"  survivors       {found.survivors:,} of {K:,}",
        "",
    ]
    if found.survivors == K:
        return [*lines, found.all_live]
    cures = [slower(asked.speed, found.critical_speed), *found.cures]
    return [
        *lines,
        f"What would keep all {K:,} alive, each by itself:",
        *(f"  {knob:<20}  {where}" for knob, where in cures),
    ]


def predict(
    *,
    num_codes: Annotated[str, option("INT")],
    speed: Annotated[str, option("REAL")],
    rule: Annotated[str, option("{vq,ema,adam,nsvq}")] = "vq",
    step_size: Annotated[str | None, option("REAL", "0.05; adam 1e-5")] = None,
    decay: Annotated[str | None, option("REAL", "0.99")] = None,
    bandwidth: Annotated[str | None, option("REAL", "1.0")] = None,
    batch_size: Annotated[str | None, option("INT", "1; adam 1024")] = None,
    width: Annotated[str | None, option("REAL", "1.0")] = None,
    dim: Annotated[str | None, option("INT", "1")] = None,
    density: Annotated[str | None, option("TEXT", "uniform")] = None,
    direction: Annotated[str | None, option("{1,-1}", "1")] = None,
    steps: Annotated[str | None, option("INT", "the limit of a small step size")] = None,
) -> None:
    """Say how many codes a drift leaves alive, and which step size, codebook or decay would save all.

    Args:
        num_codes: How many codes.
        speed: How far the latents move per update of the codebook, in their own unit.
        rule: How the codebook moves: vq by online k-means or SGD, ema by running means, adam by Adam, nsvq with a kernel.
        step_size: Of vq and nsvq, 1 moves a code that wins the whole batch onto its mean; of adam the learning rate.
        decay: Of ema, per update.
        bandwidth: Of nsvq's kernel, a length.
        batch_size: Latents in an update.
        width: Of the uniform cloud, along each axis.
        dim: How many dimensions the latents fill, which may be far fewer than they have.
        density: A cloud on the line that is not uniform, e.g. "Gaussian(dim=1)" or "Distribution('expon')".
        direction: Which way such a cloud moves.
        steps: Updates in the run, for what the noise of its samples takes off.
    """
    given = {"decay": decay, "bandwidth": bandwidth, "batch_size": batch_size, "step_size": step_size, "width": width}
    given |= {"num_codes": num_codes, "speed": speed, "dim": dim, "direction": direction, "steps": steps}
    from vqtheory.theory import prediction

    numbers = {name: number(text) for name, text in given.items() if text is not None}
    setting = prediction.Setting(**numbers, density=None if density is None else read("stream", density))
    print(sentences(rule.lower(), *prediction.predict(rule, setting)))
