"""The text of a diagnosis."""

from __future__ import annotations

import math
import textwrap

from vqtheory.diagnosis.findings import MOST, Findings
from vqtheory.theory.cures import LEARNING_RATE, STEP_SIZE, Cure


def text(findings: Findings) -> str:
    """All of it."""
    forecast = findings.forecast
    sentences = [_subject(findings), state(findings), str(forecast), *map(str, findings.causes)]
    if forecast.kind != "no law":
        sentences.append(f"Validity: {forecast.validity}")
    paragraph = "\n".join(textwrap.fill(sentence, 110) for sentence in sentences)
    return f"{paragraph}\n\n{_help(findings)}" if findings.cures else paragraph


def state(findings: Findings) -> str:
    """Which codes are alive, in sentences."""
    recording, num_codes = findings.recording, findings.num_codes
    first = recording.steps[-2] if recording.since is None else recording.since
    sentences = [
        f"{findings.alive.sum():,} of {num_codes:,} codes were chosen in updates {first + 1:,} to {recording.steps[-1]:,}; "
        f"{findings.carrying:,} of them have {MOST:.0%} of the latents."
    ]
    if findings.short:
        hits = recording.hits[-1].sum()
        sentences.append(f"Only {hits:,} latents were counted: some codes that are alive may be missed.")
    if findings.shut_out:
        sentences.append(f"{findings.shut_out:,} of the others cannot be chosen by any latent within the probe's radius.")
    return " ".join(sentences)


def extent(findings: Findings, cure: Cure) -> str:
    """How far a knob has to be turned, and where it is now."""
    if cure.knob not in (STEP_SIZE, LEARNING_RATE):
        return cure.extent
    return f"{cure.extent}; it is {findings.recording.rates[findings.worst + 1]:.3g}"


def outcome(findings: Findings) -> str:
    """The forecast in a line, beside the codes that are alive."""
    forecast = findings.forecast
    if math.isnan(forecast.predicted):
        return f"{forecast.verdict}."
    laws = f"by the laws {forecast.predicted:,.0f} of {forecast.num_codes:,} live"
    return f"{forecast.verdict}: {laws}, {forecast.alive:,} do."


def advice(findings: Findings) -> str:
    """The cures in a line, or why there are none."""
    if findings.cures:
        return f"What would help: {', or '.join(cure.change for cure in findings.cures)}."
    match findings.forecast.kind:
        case "no law":
            return "No law says which knob would help."
        case "within reach":
            return "Codes could follow the drift."
        case "slow enough":
            return "The law allows so many codes at this drift."
    return "All codes live, for whatever reason." if findings.alive.all() else "The drift is too fast for the law."


def _subject(findings: Findings) -> str:
    """What was seen, in a sentence."""
    recording = findings.recording
    motion, steps, rate = recording.motion, recording.steps, recording.rates[-1]
    rule = "An unnamed rule" if recording.rule is None else repr(recording.rule)
    name = {"sgd": "SGD", "adam": "Adam"}.get(recording.optimizer or "", recording.optimizer)
    by = f" under {name}" if name else ""
    unit = "step size" if recording.optimizer in (None, "sgd") else "learning rate"
    step = "" if math.isnan(rate) else f" ({unit} {rate:.3g})"
    dimensions = f"about {motion.dimension[-1]:.1f} of {recording.codes.shape[1]} dimensions"
    cloud = f"in the end of spread {motion.spread[-1]:.3g} in {dimensions}"
    return f"{rule}{by}{step}, seen {len(steps)} times up to update {steps[-1]:,}; latents {cloud}."


def _help(findings: Findings) -> str:
    """The cures, one a line."""
    all_alive = f"keep all {findings.num_codes:,} alive at that speed, each by itself"
    able = "let codes follow at that speed, which they have to, and which may not be enough"
    effect = able if math.isnan(findings.forecast.survivors) else all_alive
    width = max(len(cure.change) for cure in findings.cures)
    knobs = [f"  {cure.change:<{width}}  {extent(findings, cure)}" for cure in findings.cures]
    return "\n".join([f"What would {effect}:", *knobs])
