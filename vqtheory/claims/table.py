"""Verdicts as a table: to read, to keep, and as a page."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vqtheory.claims.statement import Range, Verdict

if TYPE_CHECKING:
    import polars as pl


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


def frame(verdicts: Sequence[Verdict]) -> pl.DataFrame:
    """One row per verdict, in the order of the laws; a prediction that is one number is both ends of its range."""
    import polars as pl

    from vqtheory.claims import all_claims

    claims, rows = all_claims(), []
    for verdict in sorted(verdicts, key=lambda verdict: list(claims).index(verdict.key)):
        claim, predicted = claims[verdict.key], verdict.predicted
        low, high = predicted if isinstance(predicted, Range) else (predicted, predicted)
        about = {"law": claim.law, "claim": claim.key, "statement": claim.statement, "source": claim.source}
        found = {"measured": verdict.measured, "low": verdict.interval.low, "high": verdict.interval.high}
        asked = {"predicted_low": float(low), "predicted_high": float(high), "resolution": claim.resolution}
        rows.append(about | asked | found | {"outcome": verdict.outcome})
    return pl.DataFrame(rows)


def page(table: pl.DataFrame) -> str:
    """The rows of `frame` as a page of Markdown, one table per law."""
    counts = {outcome: table.filter(outcome=outcome).height for outcome in ("holds", "refuted", "undecided")}
    lines = ["# Claims", "", ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) + "."]
    for law in table["law"].unique(maintain_order=True):
        lines += [
            "",
            f"## {law.replace('_', ' ')}",
            "",
            "| claim | predicted | measured | interval | |",
            "|---|---|---|---|---|",
        ]
        lines += [_row(row) for row in table.filter(law=law).iter_rows(named=True)]
    return "\n".join([*lines, ""])


def _row(row: dict) -> str:
    low, high = row["predicted_low"], row["predicted_high"]
    said = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    statement = row["statement"].replace("|", "\\|")
    return (
        f"| `{row['claim']}`: {statement}. *{row['source']}* | {said} | {row['measured']:.4g} "
        f"| {row['low']:.4g} to {row['high']:.4g} | {row['outcome']} |"
    )


def keep(path: Path, verdicts: Sequence[Verdict]) -> None:
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
