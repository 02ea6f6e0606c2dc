"""The toy shows what the README says of it."""

import numpy as np
import pytest

from simulations import shrinking, toy

ENDS = [
    ("VQ", "translating", range(12), (1.5, 99)),
    ("VQ", "shrinking", range(12), (1.5, 99)),
    ("VQ", "expanding", [16], (1, 1.15)),
    ("NSVQ gaussian", "translating", [16], (1, 1.15)),
    ("NSVQ gaussian", "shrinking", [16], (1, 1.2)),
    ("NSVQ gaussian", "expanding", [16], (1, 1.15)),
    *((rule, drift, [16], (1, 1.15)) for rule in ("NSVQ", "VQ with transport") for drift in toy.drifts()),
    ("TransVQ", "translating", [16], (1, 1.15)),
    ("TransVQ", "expanding", [16], (1, 1.15)),
]


@pytest.fixture(scope="module")
def ends(tables):
    """The records of every run at step size 4."""
    table = tables["toy"].sort("step").group_by("rule", "drift", maintain_order=True)
    return {key: rows.to_dicts() for key, rows in table}


@pytest.mark.parametrize(("rule", "drift", "alive", "ratio"), ENDS)
def test_the_toy_ends_as_the_paper_says(ends, rule, drift, alive, ratio):
    last = ends[rule, drift][-1]
    assert last["alive"] in alive
    assert ratio[0] <= last["ratio"] <= ratio[1]


def test_plain_vq_does_not_regain_what_it_lost(ends):
    """From the record after the drift on, no more codes come alive than the two that were at the edge."""
    for drift in ("translating", "shrinking"):
        after = [row["alive"] for row in ends["VQ", drift] if row["step"] > toy.DRIFTING]
        assert after[-1] <= after[0] + 2


def test_all_rules_start_alike(ends):
    direct = [ends[rule, "translating"][0]["codes"] for rule in ("VQ", "EMA", "NSVQ", "VQ with transport")]
    assert all(codes == direct[0] for codes in direct)
    given, made = (np.reshape(ends[rule, "translating"][0]["codes"], (-1, 2)) for rule in ("VQ", "TransVQ"))
    np.testing.assert_allclose(made.mean(axis=0), given.mean(axis=0), atol=1e-12)


def test_the_shrinking_encoder_reaches_the_same_size_at_every_rate():
    for rate in (0.06, 0.01):
        drifting = int(np.ceil(shrinking.LOG_FACTOR / rate))
        limit = toy.drifts(drifting, rate)["shrinking"].limit
        assert limit == pytest.approx(np.exp(-shrinking.LOG_FACTOR), rel=rate)


def test_a_cloud_that_shrinks_more_slowly_costs_plain_vq_and_ema_fewer_codes(tables):
    for rule in ("VQ", "EMA"):
        fast, slow = (tables["shrinking"].filter(rule=rule, rate=rate)["alive"].item() for rate in (0.06, 0.03))
        assert fast < slow
    for rule in ("NSVQ", "NSVQ gaussian", "VQ with transport"):
        assert set(tables["shrinking"].filter(rule=rule)["alive"]) == {16}
