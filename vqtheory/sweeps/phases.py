"""Phase diagrams: how many codes a drift leaves alive, over its speed and the size of the codebook, for any rule."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vqtheory._base import check
from vqtheory.protocols import Rule
from vqtheory.reference import lloyd_max
from vqtheory.simulation.alive import count_alive, optimum
from vqtheory.simulation.follow import follow
from vqtheory.streams import Source, Stream, Translation, Uniform
from vqtheory.sweeps.backends import Backend
from vqtheory.sweeps.diagram import draw_phase
from vqtheory.sweeps.runner import sweep
from vqtheory.theory.prediction import law_for, predict

if TYPE_CHECKING:
    import polars as pl
    from distributed import Client
    from matplotlib.figure import Figure

_OWNER = "phase"
_SLOW = 1e-20  # a drift so slow that all codes live, whatever the rule
_UNIT = Uniform(dim=1)

Boundary = Callable[[int], float]  # the speed up to which so many codes all stay alive


@dataclass(frozen=True, eq=False)
class Phase:
    """A phase diagram.

    Attributes
    ----------
    rule : rule
        As it was at the slowest speed, if its schedules follow the length of the drift.
    table : polars.DataFrame
        One row per number of codes, speed and seed: `codes`, `speed`, `seed`, the `updates` of the run, and the codes
        `alive` at its end, null where `error` says what went wrong.
    law : callable int -> float, optional
        The speed up to which so many codes all stay alive, as predicted; nan where nothing is.
    """

    rule: Rule
    table: pl.DataFrame
    law: Boundary | None = field(default=None, repr=False)

    def plot(self) -> Figure:
        """The share of the codes that is alive as colour, over speed and number of codes; the law as a white line."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        mesh = draw_phase(axes, self.table, self.law)
        line = "" if self.law is None else "\nWhite: the predicted critical speed, nothing fitted"
        name = textwrap.fill(repr(self.rule), 70, max_lines=2)
        axes.set(xlabel="speed of the drift per update", ylabel="codes")
        axes.set_title(f"{name}{line}", fontsize=10, parse_math=False)
        figure.colorbar(mesh, ax=axes, label="share of the codes that are alive")
        return figure

    def __str__(self) -> str:
        import polars as pl

        alive = self.table.group_by("codes", "speed").agg(pl.col("alive").median()).sort("codes", "speed")
        rows = [[f"{speed:.2g}" for speed in sorted(set(self.table["speed"]))]]
        rows += [[_number(value) for value in part["alive"]] for part in alive.partition_by("codes")]
        names = ["codes", *map(str, sorted(set(self.table["codes"])))]
        width = max(len(cell) for row in rows for cell in row)
        lines = [
            f"{name:>5}  " + "  ".join(f"{cell:>{width}}" for cell in row) for name, row in zip(names, rows, strict=True)
        ]
        return "\n".join([f"{check.short(self.rule)}: codes alive after a drift of the speed above", *lines])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def phase(
    rule: Rule | Callable[[int], Rule],
    codes: Iterable[int],
    speeds: Iterable[float],
    *,
    source: Source = _UNIT,
    widths: float = 3.0,
    recovery: int = 0,
    batch_size: int | Callable[[int], int] = 32,
    law: Boundary | None = None,
    seeds: int | Iterable[int] = 1,
    folder: str | Path | None = None,
    jobs: int = -1,
    backend: Backend | Client | str | None = None,
    progress: bool = True,
) -> Phase:
    """Let a rule follow translations of many speeds with codebooks of many sizes, and count the codes that stay alive.

    A cloud in one dimension moves by `widths` of its widths. The codes start where they are best for it at rest. A code is
    alive at the end if its cell has at least the mass 1 / (200 K), by the cdf and not by samples. Where the rule has a law,
    a run at less than half of its speed is no longer than at half of it, since nothing is lost there.

    Parameters
    ----------
    rule : rule, or callable int -> rule
        Of the package or of your own. A callable makes the rule for a drift of so many updates, with schedules that follow
        it.
    codes : iterable of int
        Numbers of codes K >= 1.
    speeds : iterable of float
        v > 0, in the latents' unit per update.
    source : source in one dimension, default Uniform(dim=1)
        The cloud. Its width is sqrt(12) standard deviations, that of the uniform cloud.
    widths : float, default 3
        How far it moves.
    recovery : int, default 0
        Updates after the drift, in which codes may come back.
    batch_size : int, or callable int -> int, default 32
        Latents in an update, for so many codes; the law's line asks it for numbers of codes in between too.
    law : callable int -> float, optional
        A prediction of yours: the speed up to which K codes all stay alive. By default the law of `vqtheory.theory` for
        the rule, with `predict`, if there is one.
    seeds, folder, jobs, backend, progress
        As of `sweep`, by which the runs are made: with a folder they are kept there, and a call that was stopped goes on.
        Points that were finished before a change of the file that defines your rule are run again.

    Returns
    -------
    Phase
        With `table`, `law` and `plot()`; `print` it for the counts.

    Raises
    ------
    ValueError
        For parameters out of range, a source that is not a density in one dimension, what `sweep` refuses, and where all
        runs fail.

    Examples
    --------
    >>> import vqtheory as vq
    >>> diagram = vq.phase(vq.rules.VQ(step_size=0.1), codes=[2, 8], speeds=[1e-4, 1e-3, 1e-2], jobs=1)
    >>> print(diagram)
    VQ(step_size=0.1): codes alive after a drift of the speed above
    codes  0.0001  0.001   0.01
        2       2      2      1
        8       6      3      1
    >>> [round(diagram.law(K), 6) for K in (2, 8)]
    [0.004811, 5.7e-05]
    """
    numbers = sorted({check.integer(_OWNER, "codes", one) for one in _listed("codes", codes)})
    rates = sorted({check.real(_OWNER, "speeds", one, 0, above=True) for one in _listed("speeds", speeds)})
    check.instance(_OWNER, "source", source, Source, "a source such as Uniform(dim=1)")
    if source.distribution() is None:
        raise check.fail(_OWNER, "source", "a density in one dimension, such as Gaussian(dim=1)", source)
    distance = check.real(_OWNER, "widths", widths, 0, above=True) * width_of(source)
    if law is not None and not callable(law):
        raise check.fail(_OWNER, "law", "a function of a number of codes, or None", law)
    shared: dict[str, Any] = {"source": source, "recovery": check.integer(_OWNER, "recovery", recovery, 0)}
    grid = [shared | point for number in numbers for point in _row(rule, number, rates, batch_size, distance, source)]
    first = grid[0]["rule"]
    boundary = law or law_of(first, source, batch_size)
    options: dict[str, Any] = {"seeds": seeds, "folder": folder, "jobs": jobs, "backend": backend, "progress": progress}
    table = sweep(_count, grid, warm=lambda: _compile(grid[0]), **options)
    if table["error"].null_count() == 0:
        raise ValueError(f"All {len(table)} runs of phase failed, the first with {table['error'][0]}.")
    columns = ["codes", "speed", "seed", "updates", "alive", "error"]
    return Phase(first, table.select(columns), boundary)


def _row(
    rule: Any, number: int, rates: list[float], batch_size: Any, distance: float, source: Source
) -> Iterator[dict[str, Any]]:
    """The points of one number of codes."""
    size = check.integer(_OWNER, "batch_size", _size_for(batch_size, number))
    law = law_of(_rule_for(rule, 1), source, size)  # and not a prediction that the diagram is to test
    critical = math.nan if law is None else law(number)
    for speed in rates:
        drifting = drift_length(speed, distance, critical)
        held = _rule_for(rule, drifting)
        point = {"rule": held, "codes": number, "speed": speed, "drifting": drifting}
        yield point | {"batch_size": size, "file": _written_in(held)}


def _size_for(batch_size: Any, number: int) -> Any:
    """Latents in an update of so many codes."""
    return batch_size(number) if callable(batch_size) else batch_size


def _listed(name: str, values: Any) -> list[Any]:
    """At least one value."""
    listed = list(values) if isinstance(values, Iterable) and not isinstance(values, str) else []
    if not listed:
        raise check.fail(_OWNER, name, "a list of at least one number", values)
    return listed


def _rule_for(rule: Any, drifting: int) -> Rule:
    """The rule for a drift of so many updates."""
    held = rule if callable(getattr(rule, "advance", None)) or not callable(rule) else rule(drifting)
    for name in ("init", "advance"):
        if isinstance(held, type) or not callable(getattr(held, name, None)):
            raise check.fail(_OWNER, "rule", f"a rule such as VQ(step_size=0.05), with a method {name!r}", held)
    return held


def _written_in(rule: Any) -> str:
    """A digest of the files in which a rule of your own, and what it holds, are defined; the same for all of the package."""
    digest = hashlib.sha256()
    for kind in sorted(set(_kinds(rule)), key=str):
        if not kind.__module__.startswith(("vqtheory.", "builtins", "numpy")):
            try:
                digest.update(Path(inspect.getfile(kind)).read_bytes())
            except (TypeError, OSError):  # of a session at a prompt
                digest.update(repr(kind).encode())
    return digest.hexdigest()[:16]


def _kinds(value: Any) -> Iterator[type]:
    yield type(value)
    if dataclasses.is_dataclass(value):
        for item in dataclasses.fields(value):
            yield from _kinds(getattr(value, item.name))


def _compile(point: dict[str, Any]) -> None:
    """One update, whose kernels other processes then find in the cache; what is wrong with it, the point itself will say."""
    with suppress(Exception):
        _count(**point | {"drifting": 1, "recovery": 0, "seed": 0})


def _count(
    rule: Rule, codes: int, speed: float, source: Source, drifting: int, recovery: int, batch_size: int, file: str, seed: int
) -> dict[str, Any]:
    """A point of the diagram."""
    alive = alive_after(rule, codes, speed, drifting, recovery, batch_size, source, seed)
    return {"updates": drifting + recovery, "alive": alive}


def alive_after(
    rule: Rule,
    num_codes: int,
    speed: float,
    drifting: int,
    recovery: int = 0,
    batch_size: int = 32,
    source: Source = _UNIT,
    seed: int = 0,
) -> int:
    """How many codes are alive after a drift of so many updates and a rest of so many."""
    stream = Stream(source, Translation(speed, limit=speed * drifting))
    steps = drifting + recovery
    end = follow(rule, stream, _best(source, num_codes), steps, seed, batch_size)
    return count_alive(stream, end.codes, steps - 1)


def _best(source: Source, num_codes: int) -> np.ndarray:
    """Codes [K, 1] of the least distortion at rest."""
    return optimum(num_codes) if source == _UNIT else lloyd_max(source.distribution(), num_codes).codes


def drift_length(speed: float, distance: float, critical: float) -> int:
    """Updates in which a cloud moves so far; at less than half the critical speed as many as at half of it."""
    return math.ceil(distance / max(speed, 0.5 * critical if np.isfinite(critical) else 0))


def width_of(source: Source) -> float:
    """The width of the uniform distribution that has the same standard deviation."""
    return 1.0 if source == _UNIT else math.sqrt(12) * float(source.distribution().std())


def law_of(rule: Rule, source: Source = _UNIT, batch_size: int | Callable[[int], int] = 32) -> Boundary | None:
    """The speed up to which so many codes all stay alive by the law of `predict`; None where no law has such a boundary."""
    law = law_for(rule)
    if law is None or (source != _UNIT and "density" not in law.options):
        return None
    options: dict[str, Any] = {} if source == _UNIT else {"density": source}

    def boundary(num_codes: int) -> float:
        sizes = {"batch_size": _size_for(batch_size, num_codes)} if "batch_size" in law.options else {}
        speed = predict(rule, num_codes=int(num_codes), speed=_SLOW, **options, **sizes).critical_speed
        return speed if math.isfinite(speed) else math.nan

    return boundary if any(math.isfinite(boundary(number)) for number in (2, 3, 16)) else None
