"""What makes a claim hold, be refuted, or stay undecided; and that the claims at hand do not come out refuted."""

import numpy as np
import pytest

from vqtheory.claims import Claim, Exact, Interval, Limit, Range, Scaling, all_claims
from vqtheory.claims.statement import FAMILY_SIZE, estimate, judge, mean_interval
from vqtheory.claims.table import table


def claim(kind, predicted, found, resolution=0.5):
    return Claim("key", "A statement", "here", "law", kind, lambda: predicted, lambda effort, seed: found, resolution)


NOISE = np.random.default_rng(0).normal(size=1000)


@pytest.mark.parametrize(
    ("predicted", "interval", "outcome"),
    [
        (1.0, (0.9, 1.1), "holds"),
        (1.0, (1.01, 1.1), "refuted"),
        (1.0, (0.0, 2.0), "undecided"),
        (1.0, (float("nan"), 1.0), "refuted"),
        (1.0, (float("-inf"), float("inf")), "undecided"),
        (Range(0.0, 1.0), (0.2, 0.4), "holds"),
        (Range(0.0, 1.0), (0.9, 1.1), "undecided"),
        (Range(0.0, 1.0), (1.1, 1.2), "refuted"),
        (Range(0.0, 0.0), (0.0, 0.0), "holds"),
    ],
)
def test_outcomes(predicted, interval, outcome):
    assert judge(predicted, Interval(*interval), resolution=0.5) == outcome


def test_the_interval_covers_at_its_level():
    """Of 4,000 intervals for a true mean at the level 1 - .01/100 none or one misses; at 2 sigma 5 % would."""
    random = np.random.default_rng(1)
    missed = sum(not low <= 0 <= high for _, (low, high) in (mean_interval(random.normal(size=12)) for _ in range(4000)))
    assert missed <= 4


def test_a_false_prediction_is_refuted_and_a_true_one_holds():
    found = 2 + 0.1 * NOISE
    assert claim(Exact(), 2.0, found).verify().outcome == "holds"
    assert claim(Exact(), 2.1, found).verify().outcome == "refuted"
    assert claim(Exact(), 2.0, 2 + 100 * NOISE[:5]).verify().outcome == "undecided"


def test_a_limit_is_extrapolated_with_its_order():
    found = {value: 1 - 0.4 * value ** (2 / 3) + 1e-3 * NOISE[i::3][:50] for i, value in enumerate((0.1, 0.05, 0.02))}
    assert claim(Limit("step size", order=2 / 3), 1.0, found).verify().outcome == "holds"
    assert claim(Limit("step size", order=2.0), 1.0, found).verify().outcome == "refuted"


def test_a_power_law_gives_its_exponent_and_prefactor():
    found = {x: 3 * x**-0.5 * np.exp(1e-3 * NOISE[i::4][:20]) for i, x in enumerate((1.0, 2.0, 4.0, 8.0))}
    exponent, _, details = estimate(Scaling("x"), found)
    assert exponent == pytest.approx(-0.5, abs=1e-3)
    assert details["prefactor"][0] == pytest.approx(3, rel=1e-2)
    assert claim(Scaling("x"), -0.5, found).verify().outcome == "holds"
    assert claim(Scaling("x"), -0.6, found).verify().outcome == "refuted"


def test_rounding_and_worst_case():
    assert claim(Exact(error=1e-12), 1.0, 1.0 + 1e-13).verify().outcome == "holds"
    assert claim(Exact(error=1e-12), 1.0, 1.0 + 1e-11).verify().outcome == "refuted"
    assert claim(Exact(worst=True), Range(0.0, 0.0), [0.0, 0.0, 1.0]).verify().outcome == "refuted"


def test_keys_are_unique_and_the_family_is_large_enough():
    from importlib import import_module

    from vqtheory.claims import LAWS

    listed = [one.key for law in LAWS for one in import_module(f"vqtheory.claims.laws.{law}").CLAIMS]
    assert len(listed) == len(set(listed)) == len(all_claims()) <= FAMILY_SIZE


@pytest.mark.parametrize("key", ["lloyd-by-row-steps", "lloyd-by-ema", "macqueen-running-mean", "relaxation-rate-formula",
                                 "out-of-reach-stays-dead", "dead-now-is-not-dead-for-ever"])  # fmt: skip
def test_the_quickest_claims_hold(key):
    verdict = all_claims()[key].verify("quick", seed=1)
    assert verdict.outcome == "holds", table([verdict])


def test_the_page_of_verdicts_has_every_claim_as_it_stands():
    """`vqtheory verify --effort full --save docs/claims.md` makes it anew."""
    from pathlib import Path

    page = (Path(__file__).parents[2] / "docs/claims.md").read_text("utf-8")
    for claim in all_claims().values():
        statement = claim.statement.replace("|", "\\|")
        assert f"| `{claim.key}`: {statement}. *{claim.source}* |" in page
    assert page.count("| holds |") + page.count("| refuted |") + page.count("| undecided |") == len(all_claims())
