"""Changes to a training, ranked by trying them: each is played on the motion that a probe was seen to make.

All see the same latents, step by step. A step may stand for several updates, by which rates are multiplied and to the power
of which decays are raised, so that all of it takes a few seconds. What the encoder would have done otherwise, had its
codebook been another one, is in none of them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from vqtheory import rules
from vqtheory._base.randomness import Purpose, generator
from vqtheory.diagnosis.changes import Change, changes_to, unchanged
from vqtheory.diagnosis.film import Film
from vqtheory.diagnosis.recording import Recording
from vqtheory.measure import carrying
from vqtheory.protocols import Batches, Rule
from vqtheory.rules.base import declared, place
from vqtheory.rules.wrapper import Wrapper

if TYPE_CHECKING:
    import polars as pl

SECONDS = 1.5
_MOST_STEPS, _FEWEST_STEPS, _FEWEST_BESIDE_MAPS = 400, 32, 200  # a map is slow: rather finer steps for the others
_LAST = 0.1  # of the steps, in which codes are counted
_SHARE = 0.99  # of the latents
_CHUNK = 8  # steps at once
_SECONDS = {"products": 1e-10, "pairs": 6e-10, "codes": 5e-5, "call": 3e-5}  # by dimensions, of maps, per step


@dataclass(frozen=True)
class Trial:
    """What a change would have kept.

    Attributes
    ----------
    change : Change
    alive : int
        Codes that were chosen in the last tenth of the steps, without those that were put on latents in it.
    carrying : int
        The fewest codes that were given 99 of 100 of the latents in it.
    distortion : float
        Mean squared distance of the latents to their codes in it, over their variance.
    """

    change: Change
    alive: int
    carrying: int
    distortion: float


@dataclass(frozen=True, eq=False)
class Ranking:
    """Changes to a training, the best first: by codes alive to one in a hundred, then by distortion.

    Attributes
    ----------
    trials : tuple of Trial
    unchanged : Trial or None
        The training as it was, played in the same way; None where no rule of the simulator does what moved its codes.
    left_out : tuple of Change
        What would have taken too long.
    seconds : float
        About what all would take together.
    """

    trials: tuple[Trial, ...]
    unchanged: Trial | None
    left_out: tuple[Change, ...]
    seconds: float

    @property
    def table(self) -> pl.DataFrame:
        """One row per change: change, codes, alive, carrying, distortion, call."""
        import polars as pl

        measured = ("alive", "carrying", "distortion")
        rows = [
            {"change": trial.change.name, "codes": trial.change.codes}
            | {name: getattr(trial, name) for name in measured}
            | {"call": trial.change.call}
            for trial in self.trials
        ]
        return pl.DataFrame(rows)


def ranked(recording: Recording, seconds: float = SECONDS, progress: bool = True, seed: int = 0) -> Ranking:
    """Play the changes that fit into so many seconds, those of maps last."""
    updates, own = int(recording.steps[-1] - recording.steps[0]), unchanged(recording)
    changes = sorted(changes_to(recording), key=_fewest)
    known = [] if own is None else [own]
    most = min(updates, _MOST_STEPS)
    while changes and min(most, _fewest(changes[-1])) * _total(recording, known + changes) > seconds:
        changes.pop()
    steps = max(1, min(most, int(seconds / max(_total(recording, known + changes), 1e-9))))
    trials = _played(recording, known + changes, steps, progress, seed)
    tried = trials[len(known) :]
    left_out = [change for change in sorted(changes_to(recording), key=_fewest) if change not in changes]
    fewest = max(map(_fewest, left_out), default=0)
    takes = 1 + math.ceil(max(steps, min(most, fewest)) * _total(recording, known + changes + left_out))
    return Ranking(tuple(_in_order(tried)), trials[0] if known else None, tuple(left_out), takes)


def _in_order(trials: list[Trial]) -> list[Trial]:
    most = max((trial.change.codes for trial in trials), default=1)
    return sorted(trials, key=lambda trial: (-round(100 * trial.alive / most), trial.distortion))


def _fewest(change: Change) -> int:
    """Steps that there have to be time for, with this change among them."""
    return _FEWEST_STEPS if declared(change.rule, "places") else _FEWEST_BESIDE_MAPS


def _total(recording: Recording, changes: list[Change]) -> float:
    return sum(_cost(recording, change) for change in changes)


def _cost(recording: Recording, change: Change) -> float:
    """About how many seconds a step takes."""
    _, samples, dim = recording.probe.shape
    pairs = samples * change.codes
    innermost = _innermost(change.rule)
    heavy = 2.2 if isinstance(innermost, rules.NSVQ) else 0.5 if isinstance(innermost, rules.EMA) else 1.0
    search = heavy * pairs * (_SECONDS["products"] * dim + _SECONDS["pairs"])
    return search + _SECONDS["call"] + (0 if declared(change.rule, "places") else _SECONDS["codes"] * change.codes)


def _innermost(rule: Rule) -> Rule:
    """The rule in all wrappers, whose search is the cost: products of matrices with EMA."""
    return _innermost(rule.rule) if isinstance(rule, Wrapper) else rule


def _played(recording: Recording, changes: list[Change], steps: int, progress: bool, seed: int) -> list[Trial]:
    film = Film(recording, steps, seed)
    players = [_Player(recording, film, change, seed) for change in changes]
    first, last = film.times[0], film.times[-1]
    counted = min(int(np.searchsorted(film.times, last - _LAST * (last - first))), film.steps - 1)
    bar = tqdm(total=film.steps, unit=" steps", desc="Replay", delay=2, leave=False, disable=not progress)
    with bar, threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a rule warns of, it warned of in the training
        for start, stop in _chunks(film, counted, players):
            batches = film.shown(start, stop)
            for player in players:
                player.advance(batches, start, stop, counts=start >= counted)
            bar.update(stop - start)
    return [player.trial() for player in players]


def _chunks(film: Film, counted: int, players: list[_Player]) -> list[tuple[int, int]]:
    """Steps that are taken at once: all stand for as many updates, and nothing else is done in between."""
    changes = [step for step in range(1, film.steps) if film.updates(step) != film.updates(step - 1)]
    cuts = {
        0,
        counted,
        film.steps,
        *changes,
        *range(0, film.steps, _CHUNK),
        *(cut for player in players for cut in player.cuts),
    }
    return list(pairwise(sorted(cuts)))


class _Player:
    """A change, played step by step."""

    def __init__(self, recording: Recording, film: Film, change: Change, seed: int) -> None:
        self.change, self.film, self.seed = change, film, seed
        self.state: Any = change.rule.init(_start(recording, film, change, seed), seed)
        due = film.times // (change.replaced_every or math.inf)
        self.cuts = set((np.flatnonzero(np.diff(due) > 0) + 1).tolist()) - {film.steps}
        self.idle, self.revived = np.ones(change.codes, bool), np.zeros(change.codes, bool)
        self.hits, self.distances, self.variances = np.zeros(change.codes, np.int64), 0.0, 0.0

    def advance(self, batches: Batches, start: int, stop: int, counts: bool) -> None:
        """The steps from `start` to `stop`."""
        rule = per_step(self.change.rule, self.film.updates(start), self.film.since)
        with np.errstate(all="ignore"):  # a rate that is too large may diverge
            self.state, info = rule.advance(self.state, batches)
        self.idle &= info["hits"] == 0
        if counts:
            self.hits += info["hits"]
            self.distances += float(np.sum(info["distortion"], dtype=np.float64))
            self.variances += float(np.var(batches.x, axis=1, dtype=np.float64).sum())
        if stop in self.cuts:
            self._replace(batches.x[-1], stop, counts)

    def _replace(self, latents: np.ndarray, step: int, counts: bool) -> None:
        """Put codes that nothing has chosen on latents, as `vqtheory.nn.Replacement` does."""
        order = generator(self.seed, Purpose.RULE, step).permutation(len(latents))
        dead = np.flatnonzero(self.idle)[: len(order)]
        self.state = place(self.change.rule, self.state, dead, latents[order[: len(dead)]])
        self.revived[dead] |= counts
        self.idle[:] = True

    def trial(self) -> Trial:
        """What was counted."""
        alive = int(np.count_nonzero((self.hits > 0) & ~self.revived))
        return Trial(self.change, alive, carrying(self.hits, _SHARE), self.distances / max(self.variances, 1e-300))


def _start(recording: Recording, film: Film, change: Change, seed: int) -> np.ndarray:
    """The codes as they were first seen, where they are known, or latents."""
    latents, first = film.first(), recording.first_codes
    if not change.from_latents and first is not None and change.codes == len(first):
        return first.astype(latents.dtype)
    order = generator(seed, Purpose.START).permutation(len(latents))
    return latents[np.resize(order, change.codes)]


def per_step(rule: Rule, updates: float, since: Callable[[np.ndarray], np.ndarray]) -> Rule:
    """A rule whose one step does about what so many updates of the rule do; `since` gives the updates before a step."""
    if not is_dataclass(rule):
        return rule
    changes = _changes(rule, updates)
    turned: dict[str, Any] = {}
    for name in (field.name for field in fields(rule) if field.init):
        value = getattr(rule, name)
        if value is not None and (name in changes or callable(value)):
            turned[name] = _in_time(value, since, changes.get(name, lambda same: same))
    if isinstance(rule, Wrapper):
        turned["rule"] = per_step(rule.rule, updates, since)
    return replace(rule, **turned) if turned else rule


def _changes(rule: Rule, updates: float) -> dict[str, Callable[[Any], Any]]:
    """What becomes of the fields that count by updates."""
    most = math.inf if declared(rule, "optimizer") == "adam" else 1.0  # beyond, the batch's own mean is overshot
    changes: dict[str, Callable[[Any], Any]] = {"step_size": lambda step: np.minimum(step * updates, np.maximum(step, most))}
    if declared(rule, "memory") or declared(rule, "step_size") is None:  # a form without averages ignores its decay
        changes["decay"] = lambda decay: decay**updates
    if isinstance(rule, Wrapper):
        changes["pull"] = lambda pull: 1 - (1 - pull) ** updates
        changes["every"] = changes["until"] = lambda number: min(number, max(1, round(number / updates)))
    return changes


def _in_time(value: Any, since: Callable[[np.ndarray], np.ndarray], change: Callable[[Any], Any]) -> Any:
    """A number or a schedule of updates, changed, as a schedule of steps."""
    if callable(value):
        return lambda step: change(value(since(step)))
    changed = change(value)
    return changed if isinstance(changed, int) else float(changed)
