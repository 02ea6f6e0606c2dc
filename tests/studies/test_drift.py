"""Photograph patches under drift: the encoder moves as it says, and rules keep or lose their codes."""

import numpy as np
import polars as pl
import pytest

from simulations import drift
from simulations.lineup import LINEUP
from vqtheory.streams import Patches, Stream

DIRECT = {
    label for label, entry in LINEUP.items() if entry.family in ("VQ", "EMA", "NSVQ", "VQ with transport")
}  # take the codes given


@pytest.mark.parametrize(("kind", "speed"), [("brighter", 0.3), ("fainter", 0.05)])
def test_the_encoder_drifts_as_far_as_it_says_and_is_then_stationary(kind, speed):
    stream, stop = Stream(Patches(), drift.motion(kind, speed, steps=80)), drift.drifting(80)
    assert stop == 20
    moved = np.linalg.norm(stream.at(stop).mean - stream.at(0).mean)
    assert moved == pytest.approx(speed * stop if kind == "brighter" else 0, abs=1e-12)
    assert stream.at(stop).now.factor[0] == pytest.approx(1 if kind == "brighter" else np.exp(-speed * stop))
    for end in (stop + 1, 80):
        assert (stream.at(end).mean == stream.at(stop).mean).all()
        assert stream.at(end).now.factor == pytest.approx(stream.at(stop).now.factor)


def test_every_rule_drifts_and_only_cosine_vq_has_no_ratio(tables):
    table = tables["drift"]
    for _, of_drift in table.group_by("drift"):
        assert set(of_drift["rule"]) == set(drift.rules(80))
    assert set(table.filter(pl.col("ratio").is_null())["rule"]) == {"CosineVQ"}
    later = table.filter(pl.col("step") > 0).drop("ratio")
    assert later.null_count().sum_horizontal()[0] == 0
    direct = table.filter(pl.col("rule").is_in(DIRECT), step=0)
    assert len(direct) == 2 * len(DIRECT & set(drift.rules(80)))
    assert direct.group_by("drift").agg(pl.col("ratio", "dead").n_unique()).select("ratio", "dead").rows() == [(1, 1)] * 2


def test_a_fast_shift_kills_codes_of_vq_and_none_of_nsvq_propagate(tables):
    last = tables["drift"].filter(drift="brighter", step=80)
    dead = dict(last.select("rule", "dead").rows())
    assert dead["NSVQ propagate"] == 0
    assert dead["VQ"] > drift.CODES / 2
    assert last.filter(rule="NSVQ propagate")["ratio"][0] < last.filter(rule="VQ")["ratio"][0]
