"""Verdicts as a table to read."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from vqtheory.claims._claim import Range, Verdict


def table(verdicts: Sequence[Verdict]) -> str:
    """One block per claim: outcome and statement, then what was predicted and measured."""
    blocks = [
        f"{verdict.outcome.upper():<10} {verdict.key}\n{_wrapped(verdict.statement)}\n{_figures(verdict)}"
        for verdict in verdicts
    ]
    counts = {
        outcome: sum(verdict.outcome == outcome for verdict in verdicts) for outcome in ("holds", "refuted", "undecided")
    }
    summary = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    return "\n\n".join([*blocks, summary])


def _wrapped(statement: str) -> str:
    return textwrap.fill(statement, 100, initial_indent=" " * 11, subsequent_indent=" " * 11)


def _figures(verdict: Verdict) -> str:
    predicted = verdict.predicted
    said = f"{predicted.low:.4g} to {predicted.high:.4g}" if isinstance(predicted, Range) else f"{predicted:.4g}"
    low, high = verdict.interval
    return f"{' ' * 11}predicted {said}; measured {verdict.measured:.4g} [{low:.4g}, {high:.4g}]"
