"""The text of a diagnosis."""

from __future__ import annotations

import math
import textwrap

from vqtheory.diagnosis.findings import MOST, Findings
from vqtheory.theory.cures import LEARNING_RATE, STEP_SIZE, Cure


def text(findings: Findings) -> str:
    """All of it."""
    forecast = findings.forecast
    sentences = [subject(findings), state(findings), f"{forecast}{played(findings)}", *map(str, findings.causes)]
    if forecast.kind != "no law":
        sentences.append(f"Validity: {forecast.validity}")
    parts = ["\n".join(textwrap.fill(sentence, 110) for sentence in sentences)]
    if findings.cures:
        parts.append(_help(findings))
    if not findings.alive.all() and findings.ranking.trials:
        parts.append(trials(findings))
    return "\n\n".join(parts)


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
            return _best(findings) or "No law says which knob would help."
        case "within reach":
            return "Codes could follow the drift."
        case "slow enough":
            return "The law allows so many codes at this drift."
    return "All codes live, for whatever reason." if findings.alive.all() else "The drift is too fast for the law."


def played(findings: Findings) -> str:
    """What a replay says where no law does."""
    if findings.forecast.kind != "no law" or findings.alive.all() or findings.ranking.unchanged is None:
        return ""
    alive = findings.ranking.unchanged.alive
    return f" Played again on the motion that was seen, the rule keeps {alive:,} of {findings.num_codes:,} codes."


def trials(findings: Findings) -> str:
    """What changes would have kept, the best first, each with the line that makes it."""
    ranking = findings.ranking
    heading = f"What each change would have kept on the motion that was seen, the best first ({beside(findings)}):"
    lines = ["  alive  carrying  distortion  change"]
    for trial in ranking.trials:
        numbers = f"  {trial.alive:>5,}  {trial.carrying:>8,}  {trial.distortion:>10.3g}"
        lines += [f"{numbers}  {trial.change.name}", f"         {trial.change.call}"]
    return "\n".join([textwrap.fill(heading, 110), *lines, *(textwrap.fill(note, 110) for note in notes(findings))])


def beside(findings: Findings) -> str:
    """What the numbers of a ranking stand beside."""
    sentence = f"the record kept {findings.alive.sum():,} of {findings.num_codes:,}"
    if findings.ranking.unchanged is None:
        return sentence
    return f"{sentence}, and its own rule, played again, {findings.ranking.unchanged.alive:,}"


def notes(findings: Findings) -> list[str]:
    """What the words of a ranking mean, and what is not in it."""
    ranking = findings.ranking
    sentences = [
        "Alive are codes that are chosen in the end without having been replaced; carrying, the fewest with 99 % of the "
        "latents; distortion, over the variance of the latents. No replay knows how the encoder would have moved "
        "with another codebook."
    ]
    if ranking.left_out:
        names, seconds = ", ".join(change.name for change in ranking.left_out), f"{ranking.seconds:.0f}"
        call = f"diagnosis.ranked(seconds={seconds}), or --seconds {seconds}"
        sentences.append(f"Left out, since that takes long: {names}. For all: {call}.")
    return sentences


def _best(findings: Findings) -> str:
    """The first of the ranking in a line, where codes are dead."""
    if findings.alive.all() or not findings.ranking.trials:
        return ""
    first = findings.ranking.trials[0]
    return (
        f"On the motion that was seen, {first.change.name} would have kept {first.alive:,} of {first.change.codes:,} codes."
    )


def subject(findings: Findings) -> str:
    """What was seen, in a sentence."""
    recording = findings.recording
    motion, steps, rate = recording.motion, recording.steps, recording.rates[-1]
    rule = "An unnamed rule" if recording.rule is None else repr(recording.rule)
    name = {"sgd": "SGD", "adam": "Adam"}.get(recording.optimizer or "", recording.optimizer)
    by = f" under {name}" if name else ""
    unit = "step size" if recording.optimizer in (None, "sgd") else "learning rate"
    step = "" if math.isnan(rate) else f" ({unit} {rate:.3g})"
    dimensions = f"about {motion.dimension[-1]:.1f} of {recording.codes.shape[1]} dimensions"
    cloud = f"at the end with a spread of {motion.spread[-1]:.3g} in {dimensions}"
    return f"{rule}{by}{step}, seen {len(steps)} times up to update {steps[-1]:,}; latents {cloud}."


def alive_at_last(findings: Findings) -> str:
    """How many codes are alive at the last probe, above a picture of them."""
    return f"{findings.alive.sum():,} of {findings.num_codes:,} codes are alive at update {findings.recording.steps[-1]:,}."


def limit(findings: Findings) -> str:
    """What the line of the critical speed is called, by the law of the worst stretch."""
    return findings.laws[findings.worst].limit or f"critical for {findings.num_codes:,} codes"


def effect(findings: Findings) -> str:
    """What each of the cures would do."""
    if math.isnan(findings.forecast.survivors):
        return "let codes follow at that speed, which they have to, and which may not be enough"
    return f"keep all {findings.num_codes:,} alive at that speed, each by itself"


def _help(findings: Findings) -> str:
    """The cures, one a line."""
    width = max(len(cure.change) for cure in findings.cures)
    knobs = [f"  {cure.change:<{width}}  {extent(findings, cure)}" for cure in findings.cures]
    return "\n".join([f"What would {effect(findings)}:", *knobs])
