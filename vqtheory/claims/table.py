"""Verdicts as a table: to read, to keep, and as a page."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

import polars as pl

from vqtheory.claims.statement import Outcome, Range, Strength, Verdict

VERBS = {
    "holds": ("holds", "hold"),
    "refuted": ("is refuted", "are refuted"),
    "undecided": ("is undecided", "are undecided"),
}
PREAMBLE = (
    "A *law* is a number, or a bound with a derivation. A *tolerance* is a derived number and an accuracy that was stated "
    "before the run. A *description* is a range that was seen in earlier runs, and is judged with other seeds than theirs. "
    "Intervals come from replicates, at a level at which all true claims pass together 99 times in 100; where every "
    "replicate must do, they span all replicates."
)


def summary(judged: Iterable[tuple[Strength, Outcome]]) -> str:
    """How many claims of each strength came to what.

    Examples
    --------
    >>> summary([("law", "holds"), ("description", "undecided"), ("law", "holds")])
    '2 laws hold, 1 description is undecided'
    """
    counts = Counter(judged)
    return ", ".join(
        _counted(counts[strength, outcome], strength, outcome)
        for strength in get_args(Strength)
        for outcome in get_args(Outcome)
        if counts[strength, outcome]
    )


def _counted(count: int, strength: Strength, outcome: Outcome) -> str:
    noun = strength if count == 1 else strength[:-1] + "ies" if strength.endswith("y") else strength + "s"
    return f"{count} {noun} {VERBS[outcome][count > 1]}"


def table(verdicts: Sequence[Verdict]) -> str:
    """One block per claim: outcome and statement, then what was predicted and measured."""
    blocks = [
        f"{verdict.outcome.upper():<10} {verdict.claim.key} ({verdict.claim.strength})\n"
        f"{_wrapped(verdict.claim.statement)}\n{_figures(verdict)}"
        for verdict in verdicts
    ]
    return "\n\n".join([*blocks, summary((verdict.claim.strength, verdict.outcome) for verdict in verdicts)])


def _wrapped(statement: str) -> str:
    return textwrap.fill(statement, 100, initial_indent=" " * 11, subsequent_indent=" " * 11)


def _figures(verdict: Verdict) -> str:
    low, high = verdict.interval
    predicted = _range(*_ends(verdict))
    return f"{' ' * 11}predicted {predicted}; measured {verdict.measured:.4g} [{low:.4g}, {high:.4g}]"


def _ends(verdict: Verdict) -> tuple[float, float]:
    """The predicted range; of a prediction that is one number, the number twice."""
    predicted = verdict.predicted
    return (predicted.low, predicted.high) if isinstance(predicted, Range) else (predicted, predicted)


def _range(low: float, high: float) -> str:
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def frame(verdicts: Iterable[Verdict]) -> pl.DataFrame:
    """One row per verdict; a prediction that is one number is both ends of its range."""
    return pl.DataFrame([_row(verdict) for verdict in verdicts], schema=SCHEMA)


SCHEMA = {
    "law": pl.String,
    "claim": pl.String,
    "statement": pl.String,
    "source": pl.String,
    "strength": pl.String,
    "measured": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "predicted_low": pl.Float64,
    "predicted_high": pl.Float64,
    "resolution": pl.Float64,
    "outcome": pl.String,
}


def _row(verdict: Verdict) -> dict:
    claim, (low, high) = verdict.claim, _ends(verdict)
    return {
        "law": claim.law,
        "claim": claim.key,
        "statement": claim.statement,
        "source": claim.source,
        "strength": claim.strength,
        "measured": verdict.measured,
        "low": verdict.interval.low,
        "high": verdict.interval.high,
        "predicted_low": float(low),
        "predicted_high": float(high),
        "resolution": claim.resolution,
        "outcome": verdict.outcome,
    }


def summary_of(table: pl.DataFrame) -> str:
    """`summary` of the rows of `frame`."""
    return summary(table.select("strength", "outcome").iter_rows())


def page(table: pl.DataFrame) -> str:
    """The rows of `frame` as a page of Markdown, one table per law."""
    lines = ["# Claims", "", f"{summary_of(table)}.", "", *textwrap.wrap(PREAMBLE, 118)]
    for law in table["law"].unique(maintain_order=True):
        lines += [
            "",
            f"## {law}",
            "",
            "| claim | strength | predicted | measured | interval | |",
            "|---|---|---|---|---|---|",
        ]
        lines += [_line(row) for row in table.filter(law=law).iter_rows(named=True)]
    return "\n".join([*lines, ""])


def _line(row: dict) -> str:
    statement = row["statement"].replace("|", "\\|")
    return (
        f"| `{row['claim']}`: {statement}. *{row['source']}* | {row['strength']} "
        f"| {_range(row['predicted_low'], row['predicted_high'])} | {row['measured']:.4g} "
        f"| {row['low']:.4g} to {row['high']:.4g} | {row['outcome']} |"
    )


def keep(path: Path, verdicts: Iterable[Verdict]) -> None:
    """Write verdicts to a .md, .csv or .parquet file, under a temporary name that is then renamed."""
    beside, rows = path.with_name(f".{path.name}.new"), frame(verdicts)
    match path.suffix.lower():
        case ".md":
            beside.write_text(page(rows), "utf-8")
        case ".csv":
            rows.write_csv(beside)
        case ".parquet":
            rows.write_parquet(beside)
    beside.replace(path)
