"""What makes a claim hold, be refuted, or stay undecided; how strong it is; and that verdicts are the same everywhere."""

import re
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

import paper_figures.claims
from simulations.claims import PATH
from vqtheory.claims import Claim, Exact, Interval, Limit, Range, Scaling, all_claims, claim, in_order, verify
from vqtheory.claims.laws import LAWS
from vqtheory.claims.statement import FAMILY_SIZE, estimate, judge, mean_interval
from vqtheory.claims.table import frame, page, summary_of, table
from vqtheory.cli import verify as command

ROOT = Path(__file__).parents[2]


def claim_of(kind, predicted, replicates, **fields):
    """A claim whose experiment returns these replicates."""
    words = {"key": "mine", "statement": "A statement", "source": "here", "law": "my law", "strength": "law"}
    fields = {"resolution": 0.5} | words | fields
    return Claim(kind=kind, predict=predicted, experiment=lambda effort, seed: replicates, **fields)


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
    assert claim_of(Exact(), 2.0, found).verify().outcome == "holds"
    assert claim_of(Exact(), 2.1, found).verify().outcome == "refuted"
    assert claim_of(Exact(), 2.0, 2 + 100 * NOISE[:5]).verify().outcome == "undecided"


def test_a_limit_is_extrapolated_with_its_order():
    found = {value: 1 - 0.4 * value ** (2 / 3) + 1e-3 * NOISE[i::3][:50] for i, value in enumerate((0.1, 0.05, 0.02))}
    assert claim_of(Limit("step size", order=2 / 3), 1.0, found).verify().outcome == "holds"
    assert claim_of(Limit("step size", order=2.0), 1.0, found).verify().outcome == "refuted"


def test_a_power_law_gives_its_exponent_and_prefactor():
    found = {x: 3 * x**-0.5 * np.exp(1e-3 * NOISE[i::4][:20]) for i, x in enumerate((1.0, 2.0, 4.0, 8.0))}
    exponent, _, details = estimate(Scaling("x"), found)
    assert exponent == pytest.approx(-0.5, abs=1e-3)
    assert details["prefactor"][0] == pytest.approx(3, rel=1e-2)
    assert claim_of(Scaling("x"), -0.5, found).verify().outcome == "holds"
    assert claim_of(Scaling("x"), -0.6, found).verify().outcome == "refuted"


def test_rounding_and_worst_case():
    assert claim_of(Exact(error=1e-12), 1.0, 1.0 + 1e-13).verify().outcome == "holds"
    assert claim_of(Exact(error=1e-12), 1.0, 1.0 + 1e-11).verify().outcome == "refuted"
    assert claim_of(Exact(worst=True), Range(0.0, 0.0), [0.0, 0.0, 1.0]).verify().outcome == "refuted"


def test_keys_are_unique_no_claim_is_forgotten_and_the_family_is_large_enough():
    listed = [one for law in LAWS for one in law.CLAIMS]
    keys = [one.key for one in listed]
    assert len(keys) == len(set(keys)) == len(all_claims()) <= FAMILY_SIZE
    assert list(all_claims()) == keys
    assert all(value in listed for law in LAWS for value in vars(law).values() if isinstance(value, Claim))


def width(predicted):
    return predicted.high - predicted.low if isinstance(predicted, Range) else 0.0


@pytest.mark.parametrize("key", all_claims())
def test_a_claim_is_as_strong_as_it_says_and_has_a_resolution_where_it_decides(key):
    one = all_claims()[key]
    if one.strength != "law":
        assert isinstance(one.predict, Range)
        assert 0 < width(one.predict) < np.inf
    assert one.seen or one.strength != "description"
    if isinstance(one.kind, Exact) and (one.kind.worst or one.kind.error is not None):
        assert one.resolution is None  # what is as predicted is as narrow as the prediction
    elif isinstance(one.predict, Range):
        assert one.resolution is None or one.resolution < width(one.predict)
    sharing = [other for other in all_claims().values() if one.runs and other.runs == one.runs]
    assert {other.seen for other in sharing} <= {one.seen}


def test_seeds_that_were_seen_are_not_given_to_the_experiment():
    seeds = []
    fields = {"predict": Range(0.0, 1.0), "kind": Exact(worst=True), "seen": range(8)}
    words = {"key": "mine", "statement": "A statement", "source": "here", "law": "my law", "strength": "description"}

    @claim(**fields, **words)
    def mine(effort, seed):
        seeds.append(seed)
        return [0.5]

    assert [mine.verify(seed=seed).outcome for seed in range(3)] == ["holds"] * 3
    assert seeds == [8, 9, 10]


def test_a_number_needs_a_resolution_and_a_strength_has_a_name():
    with pytest.raises(ValueError, match="'resolution' parameter of Claim must be given where one number is predicted"):
        claim_of(Scaling("x"), -1.0, {}, resolution=None)
    with pytest.raises(ValueError, match="did you mean 'description'"):
        claim_of(Exact(), 1.0, [], strength="descripton")


def test_a_claim_of_your_own_is_verified_and_appears_in_the_table():
    """In other processes; the verdict holds the claim itself, not the copy that was sent there."""
    replicates = 1 + 0.01 * NOISE
    mine = claim_of(Exact(), 1.0, replicates)
    verdicts = in_order(verify([mine, "threshold-of-two"]))
    assert [verdict.claim for verdict in verdicts] == [all_claims()["threshold-of-two"], mine]
    assert verdicts[1].claim is mine
    assert frame(verdicts).select("law", "claim", "strength", "outcome").row(1) == ("my law", "mine", "law", "holds")
    assert "HOLDS      mine (law)" in table(verdicts)
    assert page(frame(verdicts)).startswith("# Claims\n\n2 laws hold.\n")
    with pytest.raises(ValueError, match="did you mean 'threshold-of-two'"):
        next(verify([mine, "threshold-of-too"]))


def test_what_has_been_judged_is_shown_and_kept_when_the_command_is_stopped(monkeypatch, tmp_path, capsys):
    def stopped(keys, effort, seed, backend):
        yield claim_of(Exact(worst=True), Range(0.0, 1.0), [2.0], strength="tolerance", resolution=None).verify()
        raise KeyboardInterrupt

    monkeypatch.setattr("vqtheory.claims.verify", stopped)
    with pytest.raises(KeyboardInterrupt, match=f"1 of {len(all_claims())} claims were judged"):
        command.verify(save=tmp_path / "verdicts.csv")
    assert capsys.readouterr().out.endswith("\n1 tolerance is refuted\n")
    assert pl.read_csv(tmp_path / "verdicts.csv")["outcome"].to_list() == ["refuted"]


@pytest.mark.parametrize("key", ["lloyd-by-row-steps", "lloyd-by-ema", "macqueen-running-mean", "relaxation-rate-formula",
                                 "out-of-reach-stays-dead", "dead-now-is-not-dead-for-ever"])  # fmt: skip
def test_the_quickest_claims_hold(key):
    verdict = all_claims()[key].verify("quick", seed=1)
    assert verdict.outcome == "holds", table([verdict])


class TestCommittedVerdicts:
    """`python -m simulations.claims` makes the table anew, `python -m paper_figures claims` the page and the picture."""

    rows = pl.read_parquet(PATH)

    def test_are_of_the_claims_as_they_stand(self):
        assert self.rows["claim"].to_list() == list(all_claims())
        for row, one in zip(self.rows.iter_rows(named=True), all_claims().values(), strict=True):
            predicted = one.predict() if callable(one.predict) else one.predict
            low, high = predicted if isinstance(predicted, Range) else (predicted, predicted)
            assert (row["predicted_low"], row["predicted_high"]) == pytest.approx((low, high), rel=1e-9), one.key
            words = ("law", "statement", "source", "strength", "resolution")
            assert {name: row[name] for name in words} == {name: getattr(one, name) for name in words}

    def test_are_told_the_same_by_page_picture_and_readme(self, tmp_path):
        counts = summary_of(self.rows)
        assert sum(map(int, re.findall(r"\d+", counts))) == len(all_claims())
        assert (ROOT / "docs/claims.md").read_text("utf-8") == page(self.rows)
        assert counts in " ".join((ROOT / "README.md").read_text("utf-8").split())
        drawn = tmp_path / "claims.png"
        paper_figures.claims.draw(self.rows)(drawn)
        assert (tmp_path / "claims.md").read_text("utf-8") == page(self.rows)
        for picture in (drawn, ROOT / "docs/claims.png"):
            with Image.open(picture) as image:
                assert image.info["Title"] == counts
