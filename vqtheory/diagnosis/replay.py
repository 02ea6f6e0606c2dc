"""What a rule makes of the motion that a probe was seen to make: a simulation in place of a law."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vqtheory import rules
from vqtheory._base import check
from vqtheory._base.randomness import Purpose, generator
from vqtheory.diagnosis.recording import Recording
from vqtheory.protocols import Rule
from vqtheory.rules.base import under
from vqtheory.simulation.run import Run, simulate


def play(recording: Recording, rule: Rule | None, codes: int | None, seed: int) -> Run:
    """A run of the rule, or of the recording's own, on the probe's motion, from a matched start."""
    stream, latents = recording.stream, recording.latents[0]
    number = check.integer("replayed", "codes", len(recording.codes) if codes is None else codes)
    order = generator(seed, Purpose.START).permutation(len(latents))
    start = latents[np.resize(order, number)]  # of equal codes the first alone wins, as in the layer
    rule = own_rule(recording) if rule is None else rule
    return simulate(
        _matched(rule),
        stream,
        codes=start,
        steps=stream.steps - 1,
        batch_size=len(latents),
        seed=seed,
        dtype=str(np.result_type(latents.dtype, np.float32)),
        records=1,
        progress=False,
    )


def _matched(rule: Rule) -> Rule:
    """The rule from a matched start, if it knows of others."""
    if isinstance(rule, rules.Rule):
        return rule.matched()
    return replace(rule, start="matched") if hasattr(rule, "start") else rule  # type: ignore[type-var]


def own_rule(recording: Recording) -> Rule:
    """The simulator's rule for what moved the codebook, at the rate of the last time."""
    rule, optimizer, decay = recording.rule, recording.optimizer, recording.weight_decay
    moved = None if rule is None else under(rule, optimizer, float(recording.rates[-1]), weight_decay=decay)
    if moved is None:
        raise ValueError(
            "The replay needs a rule: replayed(rule=...). No rule of the simulator is known to move codes as "
            f"{'an unnamed rule' if rule is None else repr(rule)} under {optimizer or 'no optimizer'} did, "
            f"with a weight decay of {decay:g}."
        )
    return moved
