"""What is said of a run when it ends: who survived, and how it went."""

from __future__ import annotations

from typing import Any

from vqtheory._base.config import text
from vqtheory.protocols import Rule
from vqtheory.rules.base import declared
from vqtheory.simulation.record import Record

_HEADINGS = {
    "step": "step",
    "samples": "samples",
    "used": "used",
    "perplexity": "perplexity",
    "distortion": "distortion",
    "distortion_over_optimum": "/ optimum",
    "residual": "residual",
    "lag": "lag",
    "dead": "dead",
}


def headline(run: Record) -> str:
    """The message of a run in a few words."""
    step, steps, alive = f"{run.step:,}", f"{run.config.steps:,}", _alive(run)
    survive = f"{alive} of {len(run.codes):,} codes survive"
    if run.status == "diverged":
        return f"Diverged in the update after step {step} of {steps}"
    if run.status == "running":
        return f"Stopped at step {step} of {steps}" + (f": so far {survive}" if alive is not None else "")
    return f"{survive} {steps} update{'s' * (run.step != 1)}"


def _alive(run: Record) -> int | None:
    """How many codes live: those that some fresh latent chooses; those in the window of usage if that is not known."""
    dead = _dead(run)
    if dead is not None:
        return len(run.codes) - dead
    return int(run.used.sum()) if run.step > run.hits_since else None


def _dead(run: Record) -> int | None:
    return run.rows[-1].get("dead") if run.rows else None


def sentences(run: Record) -> str:
    """What was run; who survived, and how that is known; the cure if it diverged."""
    said = [f"{run.config.rule!r} on {run.config.stream!r}"]
    if run.status == "diverged":
        said.append(f"{headline(run)}: the codes grew beyond what a number can hold. {cure(run.config.rule)}")
    else:
        said += [f"{headline(run)}{_fresh(run)}.", *_window(run)]
    return "\n".join(said)


def _fresh(run: Record) -> str:
    """What fresh latents say of the codes."""
    dead, latents = _dead(run), f"{200 * len(run.codes):,} fresh latents"
    if dead is None:
        return ""
    others = "the other 1 wins" if dead == 1 else f"the other {dead:,} win"
    return f"; {others} none of {latents}" if dead else f"; each wins some of {latents}"


def _window(run: Record) -> list[str]:
    """What the window of usage says of them, and whether it can be trusted."""
    updates = run.step - run.hits_since
    if updates == 0:
        return []
    said = f"Chosen in the last {updates:,} update{'s' * (updates != 1)}: {run.used.sum():,}."
    few = "That is fewer than 20 latents per code, too few to choose every code that lives."
    return [f"{said} {few}" if run.short_window else said]


def cure(rule: Rule) -> str:
    """What to change in a rule that diverged."""
    step_size, strength = declared(rule, "step_size"), declared(rule, "strength")
    if step_size is None:
        return "Make the rule's steps smaller, or the stream's drift slower."
    advice = f"Make its step_size smaller than {text(step_size)}"
    advice += f", or its strength smaller than {text(strength)}" if strength else ""
    advice += ", or take optimizer='adam'" if declared(rule, "optimizer") == "sgd" else ""
    return f"{advice}."


def table(run: Record, rows: int = 10) -> str:
    """About `rows` rows of the history after the first, equally far apart, as aligned text."""
    columns = [column for column in _HEADINGS if column != "samples" or run.config.batch_size > 1]
    lines = [[_HEADINGS[column] for column in columns]]
    lines += [[_cell(row.get(column)) for column in columns] for row in _spread(run.rows, rows)]
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def _spread(history: tuple[dict[str, Any], ...], rows: int) -> list[dict[str, Any]]:
    """The first row, the last, and others between them."""
    last = len(history) - 1
    return [history[index] for index in sorted({round(i * last / rows) for i in range(rows + 1)})] if history else []


def _cell(value: Any) -> str:
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else number(value)


def number(value: float) -> str:
    """Three digits, or all before the point if there are more."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
