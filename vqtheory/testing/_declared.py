"""What a rule claims of itself, by optional class attributes, is checked; what it does not declare is not."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from vqtheory import schedules
from vqtheory.assign import nearest
from vqtheory.protocols import Batches, Rule, State
from vqtheory.rules.base import declared
from vqtheory.testing._contracts import gaps
from vqtheory.testing._trial import Trial, each

EQUIVARIANCES = ("translation", "rotation", "scaling", "permutation")
_LIMIT = re.compile(r"k-means as (\w+) -> 0")
_LONG = 30  # updates after which a rule that waits has moved what it waited for


def problem_with_declarations(rule: Rule) -> str:
    """What is wrong with the declarations themselves, "" if nothing is."""
    fields = [field.name for field in dataclasses.fields(rule)] if dataclasses.is_dataclass(rule) else list[str]()
    unknown = sorted(set(declared(rule, "equivariances")) - set(EQUIVARIANCES))
    if unknown:
        return f"equivariances must be among {', '.join(EQUIVARIANCES)}. Got {', '.join(unknown)}."
    missing = sorted(set(declared(rule, "lengths")) - set(fields))
    if missing:
        return f"lengths must be names of fields of the rule, a dataclass. Got {', '.join(missing)}."
    fixed_point = declared(rule, "fixed_point")
    limit = _LIMIT.fullmatch(fixed_point or "")
    if fixed_point not in (None, "k-means") and (limit is None or limit[1] not in fields):
        return f"fixed_point must be None, 'k-means' or 'k-means as FIELD -> 0'. Got {fixed_point!r}."
    return ""


def unselected(trial: Trial) -> None:
    """moves_unselected = False: a code that wins nothing stays as it is, to the bit, over one update and over many."""
    codes = trial.codes()
    before = trial.start(codes, trial.seed())
    batches = trial.batches(codes)
    if trial.draw(st.booleans()):  # a rule may wait before it moves a code
        moved = batches.displacement
        longer = None if moved is None else np.repeat(moved, _LONG, axis=0)
        batches = trial.keep(Batches(np.repeat(batches.x, _LONG, axis=0), longer))
    after, counts = trial.advance(before, batches)
    for k in np.flatnonzero(np.asarray(counts["hits"]) == 0):
        trial.require(
            np.array_equal(after.codes[k], before.codes[k]),
            f"Code {k} won nothing and went from {before.codes[k].tolist()} to {after.codes[k].tolist()}, "
            "though the rule declares moves_unselected = False.",
        )


def fixed_point(trial: Trial) -> None:
    """fixed_point: where every code is the mean of what it wins, full-batch updates do not move it in the mean.

    The sample is built around the codes of the state, in threes about each that is to live, so that
    those are centroidal. The mean over three orders of the sample is for rules that take a batch one by one.
    """
    codes = trial.codes(distinct=True)
    seed, offsets = trial.seed(), trial.draw(offsets_of(codes))
    copies = trial.draw(st.lists(st.integers(0, 2), min_size=len(codes), max_size=len(codes)).filter(any))
    declaration = declared(trial.rule, "fixed_point")
    limit = _LIMIT.fullmatch(declaration)
    start = trial.start(codes, seed)
    centroids = start.codes.astype(np.float64)
    room = closest(centroids)
    x, ahead = (sample_around(centroids, offsets, copies, room, aside) for aside in (0.0, 0.1))
    trial.keep(Batches(x[None]))
    if limit is None:
        motion, response = (mean_motion(trial, trial.rule, start, sample) for sample in (x, ahead))
        rounding = 1e-12 * np.abs(centroids).max()
        trial.require(
            np.abs(motion).max() <= 1e-6 * np.abs(response).max() + rounding,
            f"At the codes {centroids.tolist()}, each the mean of what it wins, the mean motion is {motion.tolist()}, "
            "though the rule declares fixed_point = 'k-means'.",
        )
        return
    winning = np.array(copies) > 0  # a kernel may have to move the others in the limit too
    wide, narrow = (relative_motion(trial, {limit[1]: room * part}, start, (x, ahead), winning) for part in (1e-3, 1e-6))
    trial.require(
        narrow <= max(1e-6, 0.01 * wide),
        f"At codes that are each the mean of what it wins, the mean motion over that for latents moved aside is "
        f"{wide:.3g}, and {narrow:.3g} with {limit[1]} a thousand times smaller: it does not go to 0, "
        f"though the rule declares fixed_point = {declaration!r}.",
    )


def relative_motion(
    trial: Trial, fields: dict[str, float], start: State, samples: tuple[np.ndarray, np.ndarray], winning: np.ndarray
) -> float:
    """The size of the mean motion of codes that win at latents over that at latents moved aside, with fields of the rule."""
    rule = changed(trial.rule, **fields)
    motion, response = (np.abs(mean_motion(trial, rule, start, sample)[winning]).max() for sample in samples)
    return float(motion / response) if response > 0 else 0.0


def mean_motion(trial: Trial, rule: Rule, start: State, x: np.ndarray) -> np.ndarray:
    """What a full-batch update adds to the codes [K, D], mean over three orders of the sample x [B, D]."""
    third = len(x) // 3
    total = np.zeros(start.codes.shape)
    for turn in range(3):
        batch = np.roll(x, turn * third, axis=0)[None]
        still = np.zeros_like(batch) if declared(rule, "needs_displacement") else None
        total += trial.advance(start, Batches(batch, still), rule)[0].codes - start.codes
    return total / 3


def offsets_of(codes: np.ndarray) -> st.SearchStrategy[np.ndarray]:
    """Two offsets for each code, [2, K, D], in [-1, 1]."""
    size = 2 * codes.size
    numbers = st.lists(st.integers(-16, 16), min_size=size, max_size=size).filter(any)
    return numbers.map(lambda values: np.array(values, float).reshape(2, *codes.shape) / 16)


def closest(codes: np.ndarray) -> float:
    """The least distance between two codes, rounded down to a power of two so that offsets stay on the grid."""
    apart = np.linalg.norm(codes[:, None] - codes, axis=2)
    apart = apart[apart > 0]
    return 2.0 ** np.floor(np.log2(apart.min())) if len(apart) else 1.0


def sample_around(centroids: np.ndarray, offsets: np.ndarray, copies: list[int], room: float, aside: float) -> np.ndarray:
    """Latents [B, D] at a, b and -(a + b) from each code, well within its cell; and all of them moved aside."""
    first, second = offsets * 0.125 * room / np.sqrt(centroids.shape[1])
    direction = np.eye(centroids.shape[1])[0] * aside * room
    own = np.repeat(np.arange(len(centroids)), copies)
    return np.concatenate([(centroids + offset)[own] for offset in (first, second, -(first + second))]) + direction


def translation(trial: Trial) -> None:
    """Latents and codes moved together: the codes end moved."""
    codes, seed, batches = _begin(trial)
    trial.example["shift"] = shift = trial.draw(
        st.lists(st.integers(-64, 64), min_size=codes.shape[1], max_size=codes.shape[1])
    )
    by = np.array(shift) / 16
    _compare(
        trial, seed, (codes, batches), (codes + by, batches._replace(x=batches.x + by)), lambda c: c + by, "translation"
    )


def scaling(trial: Trial) -> None:
    """Latents, codes and the rule's lengths times a power of two: so are the codes at the end."""
    codes, seed, batches = _begin(trial)
    trial.example["factor"] = factor = 2.0 ** trial.draw(st.integers(-6, 6))
    lengths = {name: times(getattr(trial.rule, name), factor) for name in declared(trial.rule, "lengths")}
    rule = changed(matched(trial.rule), **lengths) if lengths else None
    scaled = each(batches, lambda part: part * factor)
    _compare(trial, seed, (codes, batches), (codes * factor, scaled), lambda c: c * factor, "scaling", rule, factor)


def rotation(trial: Trial) -> None:
    """Latents and codes turned or mirrored together, by swaps and signs of the axes, which do not round."""
    codes, seed, batches = _begin_untied(trial)
    dim = codes.shape[1]
    signs = trial.draw(st.lists(st.sampled_from([1.0, -1.0]), min_size=dim, max_size=dim))
    turn = np.eye(dim)[list(trial.draw(st.permutations(range(dim))))] * signs
    trial.example["turn"] = turn
    turned = each(batches, lambda part: np.ascontiguousarray(part @ turn))
    _compare(trial, seed, (codes, batches), (codes @ turn, turned), lambda c: c @ turn, "rotation", ties=False)


def permutation(trial: Trial) -> None:
    """Codes in another order: they end in that order. Ties, which go by the order, are left out."""
    codes, seed, batches = _begin_untied(trial)
    trial.example["order"] = order = list(trial.draw(st.permutations(range(len(codes)))))
    _compare(trial, seed, (codes, batches), (codes[order], batches), lambda c: c[order], "permutation", ties=False)


def tracks_translation(trial: Trial) -> None:
    """Sixteen updates under a fast rigid translation, which the rule is given: every code goes along, wherever it lies."""
    unit = reach(trial.rule, 16)
    codes = trial.codes() / 16 * unit
    trial.example["codes"] = codes
    start = trial.start(codes, trial.seed())
    speed = 0.5 * unit * np.eye(codes.shape[1])[trial.draw(st.integers(0, codes.shape[1] - 1))]
    times = np.arange(16)[:, None, None]
    batches = Batches(start.codes + times * speed, np.where(times > 0, speed, np.zeros_like(codes)))
    trial.keep(batches)
    after, _ = trial.advance(
        start, batches if declared(trial.rule, "needs_displacement") else batches._replace(displacement=None)
    )
    behind = np.linalg.norm(start.codes + 15 * speed - after.codes, axis=1)
    allowed = 2 * np.linalg.norm(speed) + 2 * np.linalg.norm(np.ptp(codes, axis=0))
    trial.require(
        (behind <= allowed).all(),
        f"After a translation by {(15 * speed).tolist()} the codes are {behind.tolist()} away from where it took them, "
        "though the rule declares tracks_translation.",
    )


def reach(rule: Rule, steps: int) -> float:
    """The least of the rule's lengths at its start, as a power of two; 1 without lengths."""
    lengths = [schedules.values(getattr(rule, name), 0, steps).max() for name in declared(rule, "lengths")]
    return 2.0 ** np.floor(np.log2(min(lengths))) if lengths else 1.0


def times(schedule: Any, factor: float) -> Any:
    """A number or a schedule, multiplied."""
    if not callable(schedule):
        return factor * schedule
    scaled = {name: factor * getattr(schedule, name) for name in ("value", "start", "end") if hasattr(schedule, name)}
    return dataclasses.replace(schedule, **scaled)


def changed(rule: Rule, **fields: Any) -> Rule:
    """The rule, a dataclass, with these fields."""
    return dataclasses.replace(rule, **fields)  # type: ignore[type-var]


def matched(rule: Rule) -> Rule:
    """The rule with the start in which the codes given count."""
    return rule if declared(rule, "start") == "matched" else changed(rule, start="matched")


def _begin(trial: Trial, **options: Any) -> tuple[np.ndarray, int, Batches]:
    codes = trial.codes(**options)
    return codes, trial.seed(), trial.batches(codes)


def _begin_untied(trial: Trial) -> tuple[np.ndarray, int, Batches]:
    """Distinct codes, and displacements off the grid, so that codes which a rule moves by them tie with nothing either.

    Of a rule that does not assign the nearest code, codes and latents are off the grid too: ties of its own are not known.
    """
    codes, seed, batches = _begin(trial, min_codes=2, distinct=True)
    if not declared(trial.rule, "assigns_nearest"):
        random = np.random.default_rng(0)
        trial.example["codes"] = codes = codes + 1e-3 * random.normal(size=codes.shape).astype(codes.dtype)
        batches = trial.keep(batches._replace(x=batches.x + 1e-3 * random.normal(size=batches.x.shape)))
    if batches.displacement is not None:
        aside = 1e-3 * np.random.default_rng(0).normal(size=batches.x.shape)
        batches = trial.keep(batches._replace(displacement=batches.displacement + aside))
    return codes, seed, batches


def _compare(
    trial: Trial,
    seed: int,
    one: tuple[np.ndarray, Batches],
    other: tuple[np.ndarray, Batches],
    transform: Any,
    name: str,
    other_rule: Rule | None = None,
    factor: float = 1.0,
    ties: bool = True,
) -> None:
    """One update of the data and of their image: the codes of the second are the image of those of the first.

    Near-ties of codes that do not lie on the grid may fall either way; they are no example. Nor is one where a rounding
    decides, as where Adam is given a gradient that is 0.
    """
    rule = matched(trial.rule)
    other_rule = rule if other_rule is None else other_rule
    first = trial.start(one[0], seed, rule)
    project = declared(rule, "project")
    second = trial.start(other[0], seed, other_rule)
    on_grid = np.array_equal(first.codes, one[0]) and np.array_equal(second.codes, other[0])
    if not (ties and on_grid) and not (gaps(project(one[1].x[0]), first.codes) > 1e-9).all():
        reject()
    after, _ = trial.advance(first, one[1], rule)
    image, _ = trial.advance(second, other[1], other_rule)
    expected = transform(after.codes)
    # a few hundred roundings of numbers up to 8 in size
    alike = np.allclose(image.codes, expected, rtol=0, atol=1e-10 * factor)
    if not alike:
        nudged = one[1]._replace(x=one[1].x + 1e-12 * _inwards(project(one[1].x[0]), first.codes))
        if not np.allclose(trial.advance(first, nudged, rule)[0].codes, after.codes, rtol=0, atol=1e-10):
            reject()
    trial.require(
        alike,
        f"The image of the data under {name} gives codes {image.codes.tolist()}, the image of the codes is "
        f"{expected.tolist()}, though the rule declares the equivariance.",
    )


def _inwards(x: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Signs [B, D] by which latents keep their nearest codes: towards these, and up where they lie on them."""
    return np.where(codes[nearest(x, codes)[0]] < x, -1.0, 1.0)
