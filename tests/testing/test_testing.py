"""check_rule against rules that break their contract or their word, and against the package's own."""

import dataclasses
import random
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vqtheory.assign import nearest
from vqtheory.rules import NSVQ, VQ, SimVQ
from vqtheory.schedules import values
from vqtheory.streams import Stream, Uniform
from vqtheory.testing import Report, check_rule, codebooks, drifts, latents, rule_checks, schedules

ALL = frozenset({"translation", "rotation", "scaling", "permutation"})


class State(NamedTuple):
    codes: np.ndarray
    step: int


@dataclass(frozen=True)
class Good:
    """Online k-means in NumPy; the bad rules differ from it in `update` or `advance`."""

    step_size: float = 0.25

    moves_unselected = False
    fixed_point = "k-means"
    equivariances = ALL

    def init(self, codes, seed):
        return State(codes.copy(), 0)

    def advance(self, state, batches):
        codes, hits = state.codes.copy(), np.zeros(len(state.codes), int)
        for x in batches.x:
            winners = nearest(x, codes)[0]
            self.update(codes, x, winners)
            hits += np.bincount(winners, minlength=len(codes))
        return State(codes, state.step + len(batches.x)), {"hits": hits}

    def update(self, codes, x, winners):
        for k in set(winners.tolist()):
            codes[k] += self.step_size / len(x) * (x[winners == k] - codes[k]).sum(axis=0)


class MovesUnselected(Good):
    def update(self, codes, x, winners):
        super().update(codes, x, winners)
        codes += 1e-3 * (x.mean(axis=0) - codes)


class MutatesState(Good):
    def advance(self, state, batches):
        after, info = super().advance(state, batches)
        state.codes[:] = after.codes
        return after, info


class MutatesLatents(Good):
    def update(self, codes, x, winners):
        x -= codes[winners]
        np.add.at(codes, winners, self.step_size / len(x) * x)


class DependsOnChunking(Good):
    """Sums over the call, not over the update."""

    def advance(self, state, batches):
        x = batches.x.reshape(-1, batches.x.shape[2])
        codes, winners = state.codes.copy(), nearest(x, state.codes)[0]
        self.update(codes, x, winners)
        return State(codes, state.step + len(batches.x)), {"hits": np.bincount(winners, minlength=len(codes))}


class UsesGlobalRandomness(Good):
    def update(self, codes, x, winners):
        super().update(codes, x + 1e-6 * np.random.normal(size=x.shape), winners)  # noqa: NPY002


class UsesPythonRandomness(Good):
    def init(self, codes, seed):
        return State(codes + 1e-6 * random.random(), 0)


class UsesEntropy(Good):
    def init(self, codes, seed):
        return State(codes + 1e-6 * np.random.default_rng().random(), 0)


class SeedsGlobalRandomness(Good):
    def init(self, codes, seed):
        np.random.seed(seed)  # noqa: NPY002
        return super().init(codes, seed)


class BiasedFixedPoint(Good):
    """Latents are taken for a little longer than they are."""

    def update(self, codes, x, winners):
        super().update(codes, 1.001 * x, winners)


class MedianFixedPoint(Good):
    def update(self, codes, x, winners):
        for k in set(winners.tolist()):
            codes[k] += self.step_size * (np.median(x[winners == k], axis=0) - codes[k])


class NanOnDuplicates(Good):
    """Divides by the spread of the batch."""

    def update(self, codes, x, winners):
        for k in set(winners.tolist()):
            spread = x.std(axis=0)
            codes[k] += self.step_size * (x[winners == k].mean(axis=0) - codes[k]) * spread / spread


class HiddenState(Good):
    calls = 0

    def advance(self, state, batches):
        type(self).calls += 1
        return super().advance(state, batches._replace(x=batches.x + 1e-9 * (type(self).calls % 7)))


class WrongTies(Good):
    def advance(self, state, batches):
        after, info = super().advance(State(state.codes[::-1], state.step), batches)
        return after._replace(codes=after.codes[::-1].copy()), {"hits": info["hits"][::-1]}


class WrongDtype(Good):
    def init(self, codes, seed):
        return State(codes.astype(np.float64), 0)


class Raises(Good):
    def update(self, codes, x, winners):
        codes[winners + 1] += self.step_size * (x - codes[winners])


class WrongHits(Good):
    def advance(self, state, batches):
        after, _ = super().advance(state, batches)
        return after, {"hits": np.ones(len(after.codes), int)}


class WrongDistortion(Good):
    """Of the codes after the update."""

    def advance(self, state, batches):
        after, info = super().advance(state, batches)
        return after, info | {"distortion": np.array([nearest(x, after.codes)[1].mean() for x in batches.x])}


class WrongStep(Good):
    def advance(self, state, batches):
        after, info = super().advance(state, batches)
        return after._replace(step=state.step + 1), info


class UndeclaredDisplacement(Good):
    def advance(self, state, batches):
        moved = 0 if batches.displacement is None else batches.displacement
        return super().advance(state, batches._replace(x=batches.x + moved))


class BoundToTheOrigin(Good):
    """Neither translation nor, beyond the clip, scaling."""

    def update(self, codes, x, winners):
        super().update(codes, np.clip(x, -1, 1), winners)


class AxisBound(Good):
    """One axis is slower."""

    def update(self, codes, x, winners):
        before = codes[:, 0].copy()
        super().update(codes, x, winners)
        codes[:, 0] = (codes[:, 0] + before) / 2


class OrderBound(Good):
    """The first code is slower."""

    def update(self, codes, x, winners):
        before = codes[0].copy()
        super().update(codes, x, winners)
        codes[0] = (codes[0] + before) / 2


class FullStepHoweverShort(Good):
    """Good, and makes a step of a gradient that is 0 but for its rounding, as Adam does in its first update."""

    fixed_point = None
    equivariances = frozenset({"translation"})

    def update(self, codes, x, winners):
        for k in set(winners.tolist()):
            gradient = (0.1 * x[winners == k] + 0.2 * x[winners == k] - 0.3 * codes[k]).sum(axis=0)
            codes[k] += 0.01 * gradient / (abs(gradient) + 1e-8)


@dataclass(frozen=True)
class Tracks(Good):
    """Says that it keeps up with any drift."""

    tracks_translation = True


@dataclass(frozen=True)
class KeepsBias(NSVQ):
    """As the bandwidth shrinks the bias does not."""

    fixed_point = "k-means as bandwidth -> 0"

    def advance(self, state, batches):
        return super().advance(state, batches._replace(x=1.001 * batches.x))


@dataclass(frozen=True)
class ForgetsLengths(NSVQ):
    lengths = ()


BAD = [
    (MovesUnselected(), "unselected codes", r"Code \d won nothing and went from"),
    (MutatesState(), "purity", "advance changes the state that it is given, in 'codes'"),
    (MutatesLatents(), "purity", "advance changes the x that it is given"),
    (DependsOnChunking(), "chunks", "'codes' after 2 updates differs from that after 1 and 1"),
    (UsesGlobalRandomness(), "global randomness", "The rule draws from a global random generator"),
    (UsesPythonRandomness(), "global randomness", "The rule draws from a global random generator"),
    (UsesEntropy(), "determinism", "init gives another 'codes' for the same arguments"),
    (SeedsGlobalRandomness(), "global randomness", "The rule draws from a global random generator"),
    (BiasedFixedPoint(), "fixed point", "each the mean of what it wins, the mean motion is"),
    (MedianFixedPoint(), "fixed point", "each the mean of what it wins, the mean motion is"),
    (NanOnDuplicates(), "finite", "'codes' is not finite"),
    (HiddenState(), "determinism", "advance gives another 'codes' for the same arguments"),
    (WrongTies(), "nearest code", r"The nearest codes have \[1 0\] hits. info\['hits'\] says \[0 1\]"),
    (WrongDtype(), "dtype", "init turns codes of dtype float32 into float64"),
    (Raises(), "info", "IndexError: index 1 is out of bounds"),
    (WrongHits(), "info", r"must be counts that sum to T B = 2. Got \[1\]"),
    (WrongDistortion(), "distortion", r"The distortion is .*. info says"),
    (WrongStep(), "state", "After advance the state's step must be 2. Got 1"),
    (UndeclaredDisplacement(), "displacement", "needs_displacement is not declared"),
    (BoundToTheOrigin(), "translation", "though the rule declares the equivariance"),
    (BoundToTheOrigin(), "scaling", "though the rule declares the equivariance"),
    (AxisBound(), "rotation", "though the rule declares the equivariance"),
    (OrderBound(), "permutation", "though the rule declares the equivariance"),
    (Tracks(), "tracks translation", "though the rule declares tracks_translation"),
    (KeepsBias(form="gaussian"), "fixed point", "with bandwidth a thousand times smaller: it does not go to 0"),
    (ForgetsLengths(0.25, bandwidth=1.0), "scaling", "though the rule declares the equivariance"),
]


@cache
def failures_of(rule):
    return {failure.check: failure.text for failure in check_rule(rule).failures}


@pytest.mark.parametrize(("rule", "check", "sentence"), BAD, ids=lambda value: type(value).__name__)
def test_catches_a_bad_rule(rule, check, sentence):
    found = failures_of(rule)
    assert check in found
    assert re.search(sentence, found[check]), found[check]


def test_catches_nothing_else_in_a_rule_with_one_fault():
    for rule, check in [(MutatesState(), "purity"), (DependsOnChunking(), "chunks"), (WrongDtype(), "dtype")]:
        assert list(failures_of(rule)) == [check]


def test_passes_a_good_rule():
    for rule in (Good(), FullStepHoweverShort()):
        report = check_rule(rule)
        assert report.ok, report


def test_checks_one_by_one_are_those_of_the_report():
    """The same names in the same order, and the one that fails raises what the report says."""
    report = check_rule(MovesUnselected(), examples=10)
    checks = rule_checks(MovesUnselected(), examples=10)
    assert tuple(check.__name__ for check in checks) == report.checked
    for check in checks:
        failures = [failure.text for failure in report.failures if failure.check == check.name]
        if failures:
            with pytest.raises(AssertionError, match=re.escape(failures[0])):
                check()
        else:
            check()
    assert not report.ok
    with pytest.raises(ValueError, match="an object with a method 'init'"):
        rule_checks(MovesUnselected)


def test_declared_claims_are_checked_and_others_are_not():
    assert {"unselected codes", "fixed point", "rotation"} <= set(check_rule(VQ(), examples=1).checked)
    assert not {"unselected codes", "fixed point", "permutation"} & set(check_rule(SimVQ(), examples=1).checked)
    assert "tracks translation" in check_rule(NSVQ(form="propagate"), examples=1).checked


def test_the_report_names_the_smallest_example():
    """One code or two, one latent, small numbers; as Python that can be pasted."""
    text = failures_of(MovesUnselected())["unselected codes"]
    example = dict(re.findall(r"^  (\w+) = (.*)$", text, re.MULTILINE))
    codes, x = eval(example["codes"]), eval(example["x"])
    assert codes.shape == (2, 1)
    assert x.shape == (1, 1, 1)
    assert np.abs(codes).max() <= 1 / 16


def test_the_report_reads_well():
    report = check_rule(WrongStep())
    assert [failure.check for failure in report.failures] == ["state", "chunks"]
    lines = str(report).splitlines()
    assert [*lines[:5], lines[-1]] == [
        "WrongStep(step_size=0.25): 2 of 18 checks failed",
        "  state: After advance the state's step must be 2. Got 1.",
        "    codes = np.array([[0.0]])",
        "    seed = 0",
        "    x = np.array([[[0.0]], [[0.0]]])",
        "  checked: " + ", ".join(report.checked),
    ]


def test_is_deterministic():
    for rule in (NanOnDuplicates(), VQ()):
        one, other = (check_rule(rule, examples=10) for _ in range(2))
        assert isinstance(one, Report)
        assert one == other


@pytest.mark.parametrize(
    ("attribute", "value", "sentence"),
    [
        ("equivariances", {"rotations"}, "must be among translation, rotation, scaling, permutation. Got rotations"),
        ("lengths", ("width",), "must be names of fields of the rule, a dataclass. Got width"),
        ("fixed_point", "k-medians", "must be None, 'k-means' or 'k-means as FIELD -> 0'. Got 'k-medians'"),
        ("fixed_point", "k-means as width -> 0", "Got 'k-means as width -> 0'"),
    ],
)
def test_unknown_declarations_are_a_failure(attribute, value, sentence):
    rule = dataclasses.make_dataclass("Own", [], bases=(Good,), frozen=True, namespace={attribute: value})()
    report = check_rule(rule, examples=2)
    assert [failure.check for failure in report.failures] == ["declarations"]
    assert sentence in str(report)


def test_a_rule_that_refuses_every_codebook():
    class Refuses(Good):
        def init(self, codes, seed):
            raise ValueError("no codes please")

    report = check_rule(Refuses(), examples=2)
    assert "init refuses every codebook; the last with: no codes please" in str(report)


@pytest.mark.parametrize("wrong", [Good, 3, object()])
def test_refuses_what_is_no_rule(wrong):
    with pytest.raises(ValueError, match="'rule' parameter of check_rule must be a rule, an object with a method 'init'"):
        check_rule(wrong)


class TestStrategies:
    @given(codebooks(max_codes=5, max_dim=2))
    def test_codebooks(self, codes):
        assert 1 <= len(codes) <= 5
        assert 1 <= codes.shape[1] <= 2
        assert (codes * 16 == np.round(codes * 16)).all()
        assert np.abs(codes).max() <= 4

    @given(codebooks(num_codes=4, dim=2, distinct=True, dtype=np.float32))
    def test_distinct_codebooks(self, codes):
        assert len(np.unique(codes, axis=0)) == 4
        assert codes.dtype == np.float32

    def test_latents_have_ties_and_duplicates_and_codes_have_duplicates(self):
        seen = {"tie": 0, "duplicate latents": 0, "duplicate codes": 0, "a code itself": 0, "flat": 0}

        @settings(database=None, derandomize=True, max_examples=100)
        @given(st.data())
        def look(data):
            codes = data.draw(codebooks(num_codes=4, dim=1))
            x = data.draw(latents(codes, steps=2, batch_size=3)).reshape(-1, 1)
            squared = np.sort((x - codes.T) ** 2, axis=1)
            seen["tie"] += (squared[:, 0] == squared[:, 1]).any()
            seen["duplicate latents"] += len(np.unique(x)) < 6
            seen["duplicate codes"] += len(np.unique(codes)) < 4
            seen["a code itself"] += (squared[:, 0] == 0).any()
            seen["flat"] += len(np.unique(x)) == 1

        look()
        assert min(seen.values()) >= 5, seen

    @given(schedule=schedules(0.0, 0.5), start=st.integers(0, 1000))
    def test_schedules_stay_in_range(self, schedule, start):
        found = values(schedule, start, 20)
        assert (found > 0).all()
        assert (found <= 0.5 * (1 + 1e-12)).all()

    @given(schedule=schedules(0.25, 0.5))
    def test_schedules_stay_above_a_floor(self, schedule):
        found = values(schedule, 0, 200)
        assert (found >= 0.25 * (1 - 1e-12)).all()

    @settings(suppress_health_check=[HealthCheck.too_slow])
    @given(drift=st.integers(1, 3).flatmap(lambda dim: st.tuples(st.just(dim), drifts(dim))))
    def test_drifts_move_a_source(self, drift):
        dim, drift = drift
        batches = Stream(Uniform(dim), drift).draw(0, 5, 2, 0)
        assert batches.x.shape == (5, 2, dim)
        assert np.isfinite(batches.x).all()


def test_says_what_to_install_where_hypothesis_is_missing():
    program = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import vqtheory as vq; vq.simulate\n"
        "try: vq.testing\nexcept ImportError as error: print(error)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "vqtheory.testing needs hypothesis. Install it: pip install 'hypothesis>=6.170'."
