"""`rule_checks` and `check_rule`: every contract, every claim that is declared, one by one or as a report."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky, HypothesisException, Unsatisfiable

from vqtheory._base import check
from vqtheory.protocols import Rule
from vqtheory.rules.base import declared
from vqtheory.testing import _contracts, _declared
from vqtheory.testing._trial import Broken, Trial

CONTRACTS: dict[str, Callable[[Trial], None]] = {
    "state": _contracts.state,
    "info": _contracts.info,
    "nearest code": _contracts.nearest_code,
    "distortion": _contracts.distortion,
    "purity": _contracts.purity,
    "determinism": _contracts.determinism,
    "global randomness": _contracts.global_randomness,
    "chunks": _contracts.chunks,
    "dtype": _contracts.dtype,
    "finite": _contracts.finite,
}
REFUSED = "no example that the rule accepts was found"


@dataclass(frozen=True)
class Failure:
    """A check that a rule does not pass: its name, and what was wrong with the smallest example found."""

    check: str
    text: str

    def __str__(self) -> str:
        return f"{self.check}: {self.text}"


@dataclass(frozen=True)
class Report:
    """What `check_rule` found.

    Attributes
    ----------
    rule : str
        Its repr.
    checked : tuple of str
        The checks that were made, in order.
    failures : tuple of Failure
        One for each that failed.
    """

    rule: str
    checked: tuple[str, ...]
    failures: tuple[Failure, ...]

    @property
    def ok(self) -> bool:
        """Whether no check failed."""
        return not self.failures

    def __str__(self) -> str:
        what = f"{len(self.failures)} of {len(self.checked)} checks failed" if self.failures else "ok"
        failures = [textwrap.indent(str(failure), "  ") for failure in self.failures]
        return "\n".join([f"{self.rule}: {what}", *failures, f"  checked: {', '.join(self.checked)}"])


def check_rule(rule: Rule, *, examples: int = 30) -> Report:
    """Hold a rule to its contract, and to what it claims of itself.

    Checked of every rule: the shapes of its state and its info; that latents which have not moved are assigned to the
    nearest code of its state, ties to the lowest index, and that the distortion, if it states one, is of that; that it
    changes nothing that it is given; the same bits for the same arguments; no use of the global random
    generators; the same bits however the updates are cut into calls; the dtype; no NaN on equal latents
    and equal codes. And of what it declares as attributes:

    ===================  ==========================================================================
    moves_unselected     False: a code that wins nothing stays, to the bit
    fixed_point          "k-means": where each code is the mean of what it wins, the mean motion is 0;
                         "k-means as FIELD -> 0": it goes to 0 with that field of the rule
    equivariances        of "translation", "rotation", "scaling", "permutation": the image of the data
                         gives the image of the codes
    lengths              fields that are scaled with the data in the check of "scaling"
    needs_displacement   False, or not declared: the samples' own moves make no difference
    tracks_translation   True: a fast rigid translation takes every code along
    ===================  ==========================================================================

    Examples are drawn by hypothesis, always the same ones, and the smallest one that fails is in the report.

    Parameters
    ----------
    rule : rule
        A frozen dataclass with `init` and `advance`; see `vqtheory.rules`.
    examples : int, default 30
        Tried in each check. The package's own rules take about two seconds, `TransVQ` at full width twenty.

    Examples
    --------
    >>> from vqtheory.rules import VQ
    >>> report = check_rule(VQ(step_size=0.5), examples=10)
    >>> print(report)
    VQ(step_size=0.5): ok
      checked: state, info, nearest code, distortion, purity, determinism, global randomness, chunks, dtype, finite,
      declarations, displacement, unselected codes, fixed point, translation, rotation, scaling, permutation
    """
    checks = rule_checks(rule, examples=examples)
    failures = [Failure(one.name, text) for one in checks if (text := one.problem())]
    return Report(repr(rule), tuple(one.name for one in checks), tuple(failures))


@dataclass(frozen=True)
class Check:
    """One check of one rule; called, it raises `AssertionError` with what is wrong with the smallest example that fails.

    Attributes
    ----------
    name : str
        As in the report of `check_rule`; pytest names its item so.
    rule : rule
        What is checked.
    problem : callable () -> str
        The same as a text, "" if nothing is wrong.
    """

    name: str
    rule: Rule
    problem: Callable[[], str] = field(repr=False)

    @property
    def __name__(self) -> str:
        """What pytest calls it."""
        return self.name

    def __call__(self) -> None:
        """Raise `AssertionError` if something is wrong."""
        if text := self.problem():
            raise AssertionError(f"{self.rule!r}: {self.name}: {text}")


def rule_checks(rule: Rule, *, examples: int = 30) -> list[Check]:
    """The checks of `check_rule`, one by one, for a test of your own: each is a function without parameters.

    Parameters
    ----------
    rule : rule
        As of `check_rule`.
    examples : int, default 30
        Tried in each check.

    Returns
    -------
    list of Check
        In the order of the report. Of a rule that refuses every codebook, and of one whose declarations are none, those
        that can be made.

    Raises
    ------
    ValueError
        For an object that is no rule.

    Examples
    --------
    With ``@pytest.mark.parametrize("check", rule_checks(MyRule()))`` above ``def test_my_rule(check): check()`` pytest has
    an item for each, such as ``test_my_rule[nearest code]``.

    >>> from vqtheory.rules import VQ
    >>> checks = rule_checks(VQ(step_size=0.5), examples=5)
    >>> [check.name for check in checks][:4]
    ['state', 'info', 'nearest code', 'distortion']
    >>> checks[0]()
    """
    for name in ("init", "advance"):
        if isinstance(rule, type) or not callable(getattr(rule, name, None)):
            raise check.fail("check_rule", "rule", f"a rule, an object with a method {name!r}", rule)
    check.integer("check_rule", "examples", examples)
    if not _accepts(rule):
        text = f"init refuses every codebook; the last with: {Trial.refusal}"
        return [Check("init", rule, lambda: text)]
    problem = _declared.problem_with_declarations(rule)
    own = set() if declared(rule, "assigns_nearest") else {"nearest code", "distortion"}  # of another assignment
    contracts = {name: function for name, function in CONTRACTS.items() if name not in own}
    checks = [_check(name, rule, function, examples) for name, function in contracts.items()]
    checks.append(Check("declarations", rule, lambda: problem))
    if not problem:
        checks += [_check(name, rule, function, examples) for name, function in _chosen(rule).items()]
    return checks


def _check(name: str, rule: Rule, function: Callable[[Trial], None], examples: int) -> Check:
    return Check(name, rule, lambda: _run(function, rule, examples))


def _accepts(rule: Rule) -> bool:
    """Whether there are codes that a rule can start from."""
    return _run(lambda trial: trial.start(trial.codes(), trial.seed()), rule, 10) != REFUSED


def _chosen(rule: Rule) -> dict[str, Callable[[Trial], None]]:
    """The checks of what the rule declares."""
    options = {
        "displacement": (not declared(rule, "needs_displacement"), _contracts.displacement),
        "unselected codes": (not declared(rule, "moves_unselected"), _declared.unselected),
        "fixed point": (declared(rule, "fixed_point") is not None, _declared.fixed_point),
    }
    for name in _declared.EQUIVARIANCES:
        options[name] = (name in declared(rule, "equivariances"), getattr(_declared, name))
    options["tracks translation"] = (declared(rule, "tracks_translation"), _declared.tracks_translation)
    return {name: check for name, (applies, check) in options.items() if applies}


def _run(check: Callable[[Trial], None], rule: Rule, examples: int) -> str:
    """What is wrong with the smallest example that fails, "" if none does."""

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        verbosity=Verbosity.quiet,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(st.data())
    def attempt(data: Any) -> None:
        trial = Trial(rule, data.draw)
        try:
            check(trial)
        except (Broken, HypothesisException):
            raise
        except Exception as error:
            raise Broken(trial.text(f"{type(error).__name__}: {error}")) from error

    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # what a rule warns of is not what is asked here, whatever the filters
            attempt()
    except Broken as broken:
        return str(broken)
    except Unsatisfiable:
        return REFUSED
    except Flaky as flaky:
        return f"fails at one time and not at another, on the same example: {flaky}"
    return ""
