"""What every rule must do, whatever it claims."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
from hypothesis import strategies as st

from vqtheory.assign import nearest
from vqtheory.protocols import Batches, Rule
from vqtheory.rules.base import declared
from vqtheory.testing._trial import Trial, each


def state(trial: Trial) -> None:
    """`init` and `advance` return a named tuple of one kind, codes [K, D] first, the updates done second."""
    codes = trial.codes()
    before = trial.start(codes, trial.seed())
    batches = trial.batches(codes, steps=trial.draw(st.integers(1, 4)))
    fields = getattr(before, "_fields", ())
    trial.require(fields[:2] == ("codes", "step"), f"init must return a named tuple (codes, step, ...). Got {fields}.")
    after, _ = trial.advance(before, batches)
    trial.require(type(after) is type(before), f"advance turned a {type(before).__name__} into a {type(after).__name__}.")
    for where, one, step in (("init", before, 0), ("advance", after, len(batches.x))):
        shape = np.shape(one.codes)
        trial.require(shape == codes.shape, f"{where} must return codes of shape {codes.shape}. Got {shape}.")
        trial.require(one.step == step, f"After {where} the state's step must be {step}. Got {one.step}.")


def info(trial: Trial) -> None:
    """hits [K] count every sample once; distortion [T], last_hit [K] and assignment [B], where given, fit."""
    codes = trial.codes()
    batches = trial.batches(codes, steps=trial.draw(st.integers(1, 4)))
    found = trial.advance(trial.start(codes), batches)[1]
    (steps, batch_size, _), num_codes = batches.x.shape, len(codes)
    trial.require("hits" in found, f"info must have 'hits'. Got {sorted(found)}.")
    shapes = {"hits": (num_codes,), "last_hit": (num_codes,), "assignment": (batch_size,), "distortion": (steps,)}
    for name, shape in shapes.items():
        got = np.shape(found.get(name, np.empty(shape)))
        trial.require(got == shape, f"info[{name!r}] must have shape {shape}. Got {got}.")
    hits = np.asarray(found["hits"])
    counts = hits.dtype.kind in "iu" and (hits >= 0).all() and hits.sum() == steps * batch_size
    trial.require(counts, f"info['hits'] must be counts that sum to T B = {steps * batch_size}. Got {hits}.")
    if "last_hit" in found:
        last = np.asarray(found["last_hit"])
        fits = ((last >= 0) == (hits > 0)).all() and (last >= -1).all() and (last < steps).all()
        trial.require(fits, f"info['last_hit'] must be steps done, -1 where there is no hit. Got {last}, hits {hits}.")


def nearest_code(trial: Trial) -> None:
    """The samples are won by the codes of the state, the nearest; among equals the lowest index.

    The samples have not moved: a rule that is given their displacement may move its codes by it first.
    """
    codes = trial.codes()
    before = trial.start(codes, trial.seed())
    batches = trial.batches(codes, still=True)
    found = trial.advance(before, batches)[1]
    x = declared(trial.rule, "project")(batches.x[0])
    winners, _ = nearest(x, before.codes)
    exact = np.array_equal(before.codes, codes) and np.array_equal(x, batches.x[0])  # on the grid, where sums do not round
    if not exact and not (gaps(x, before.codes) > 1e-9).all():
        return
    expected = np.bincount(winners, minlength=len(codes))
    trial.require(
        np.array_equal(found["hits"], expected),
        f"The nearest codes have {expected} hits. info['hits'] says {found['hits']}.",
    )
    if "assignment" in found:
        got = found["assignment"]
        trial.require(np.array_equal(got, winners), f"The nearest codes are {winners}. info['assignment'] says {got}.")


def distortion(trial: Trial) -> None:
    """distortion, where given, is the mean squared distance of a batch to its codes before the update."""
    codes = trial.codes()
    before = trial.start(codes, trial.seed())
    batches = trial.batches(codes, still=True)
    found = trial.advance(before, batches)[1]
    x = declared(trial.rule, "project")(batches.x[0])
    expected = nearest(x, before.codes)[1].mean()
    got = found.get("distortion", [expected])[0]
    trial.require(np.isclose(got, expected, rtol=1e-9, atol=1e-12), f"The distortion is {expected}. info says {got}.")


def purity(trial: Trial) -> None:
    """Neither `init` nor `advance` changes what it is given, nor the rule."""
    codes, seed = trial.codes(), trial.seed()
    given, rule = codes.copy(), attributes(trial.rule)
    before = trial.start(codes, seed)
    before_init = trial.rule.init(given, seed)
    trial.require_same(given, codes, "init changes the codes that it is given.")
    batches = trial.batches(codes, steps=trial.draw(st.integers(1, 3)))
    kept = copy.deepcopy(batches)
    trial.rule.advance(before_init, batches)
    trial.require_same(before_init, before, "advance changes the state that it is given, in {part!r}.")
    for name, value in batches._asdict().items():
        if value is not None:
            trial.require_same(value, getattr(kept, name), f"advance changes the {name} that it is given.")
    trial.require(attributes(trial.rule) == rule, "The rule itself has changed.")


def determinism(trial: Trial) -> None:
    """The same arguments give the same bits, whatever the rule was asked in between."""
    codes, seed = trial.codes(), trial.seed()
    first = trial.start(codes, seed)
    trial.require_same(first, trial.start(codes, seed), "init gives another {part!r} for the same arguments.")
    batches = trial.batches(codes, steps=trial.draw(st.integers(1, 3)))
    one = trial.advance(first, batches)
    trial.advance(trial.start(codes[::-1].copy(), seed + 1), batches._replace(x=-batches.x))
    other = trial.advance(first, batches)
    for mine, again in zip(one, other, strict=True):
        trial.require_same(mine, again, "advance gives another {part!r} for the same arguments.")


def global_randomness(trial: Trial) -> None:
    """No draw from the generators that all programs share, nor a reseeding of them."""
    codes, seed = trial.codes(), trial.seed()
    batches = trial.batches(codes)
    kept = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        results = [_under_global_seed(trial, codes, seed, batches, number) for number in (1, 2)]
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
    for one, other in zip(*results, strict=True):
        trial.require_same(one, other, "The {part!r} depends on the global random generators.")


def _under_global_seed(trial: Trial, codes: np.ndarray, seed: int, batches: Batches, number: int) -> tuple[Any, ...]:
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002
    before = global_state()
    state = trial.start(codes, seed)
    result = trial.advance(state, batches)
    trial.require(before == global_state(), "The rule draws from a global random generator.")
    return state, *result


def chunks(trial: Trial) -> None:
    """advance over T1 + T2 updates equals advance over T1, then T2, to the bit."""
    codes = trial.codes()
    steps = trial.draw(st.integers(2, 5))
    batches = trial.batches(codes, steps=steps)
    trial.example["T1"] = cut = trial.draw(st.integers(1, steps - 1))
    start = trial.start(codes, trial.seed())
    whole, found = trial.advance(start, batches)
    middle, found_first = trial.advance(start, each(batches, lambda part: part[:cut]))
    end, found_second = trial.advance(middle, each(batches, lambda part: part[cut:]))
    trial.require_same(whole, end, f"{{part!r}} after {steps} updates differs from that after {cut} and {steps - cut}.")
    hits = np.add(found_first["hits"], found_second["hits"])
    trial.require(np.array_equal(found["hits"], hits), f"Hits {found['hits']} in one call, {hits} in two.")
    if "distortion" in found:
        joined = np.concatenate([found_first["distortion"], found_second["distortion"]])
        trial.require_same(found["distortion"], joined, "The distortion depends on where the updates are cut into calls.")


def dtype(trial: Trial) -> None:
    """Codes stay in the dtype in which they are given."""
    codes = trial.codes(dtype=trial.draw(st.sampled_from([np.float32, np.float64])))
    before = trial.start(codes, trial.seed())
    after, _ = trial.advance(before, trial.batches(codes))
    for where, one in (("init", before), ("advance", after)):
        trial.require(one.codes.dtype == codes.dtype, f"{where} turns codes of dtype {codes.dtype} into {one.codes.dtype}.")


def finite(trial: Trial) -> None:
    """No NaN and no infinity on latents and codes of which many are equal."""
    codes = trial.codes()
    batches = trial.batches(codes, steps=trial.draw(st.integers(1, 4)), flat=trial.draw(st.booleans()))
    after, found = trial.advance(trial.start(codes, trial.seed()), batches)
    for name, value in [*after._asdict().items(), ("distortion", found.get("distortion", 0.0))]:
        value = np.asarray(value)
        if value.dtype.kind in "fc" and not np.isfinite(value).all():
            trial.require(False, f"{name!r} is not finite: {value.tolist()}.")


def displacement(trial: Trial) -> None:
    """A rule that does not ask for the samples' own moves does not use them."""
    codes = trial.codes()
    batches, start = trial.batches(codes), trial.start(codes)
    informed = batches._replace(displacement=np.ones_like(batches.x))
    for one, other in zip(trial.advance(start, batches), trial.advance(start, informed), strict=True):
        trial.require_same(one, other, "{part!r} depends on the displacement, and needs_displacement is not declared.")


def gaps(x: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """By how much the second nearest code is farther, in squared distance, from each of x [B, D]; inf for one code."""
    squared = np.sort(((x[:, None] - codes) ** 2).sum(axis=2), axis=1)
    return squared[:, 1] - squared[:, 0] if len(codes) > 1 else np.full(len(x), np.inf)


def global_state() -> tuple[Any, ...]:
    """Where the global random generators stand."""
    state: Any = np.random.get_state()  # noqa: NPY002
    return random.getstate(), state[1].tobytes(), state[2:]


def attributes(rule: Rule) -> str:
    """All that a rule holds."""
    return repr(getattr(rule, "__dict__", rule))
