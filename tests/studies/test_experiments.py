"""The tables of the experiments on the laws: what was simulated is near what is predicted beside it."""

import numpy as np
import polars as pl
import pytest

from simulations import dimensions, hysteresis, phase, transfer
from vqtheory.claims.laws import collapse
from vqtheory.theory import critical_speed


def test_survivors_are_as_many_as_the_law_has_and_noise_lowers_a_threshold(tables):
    drifting = tables["survivors"].drop_nulls("distribution")
    assert len(drifting) == sum(len(cloud.directions) for cloud in collapse.CLOUDS.values())
    assert (drifting["simulated"] - drifting["fluid"]).abs().max() <= 1
    assert tables["survivors"].drop_nulls("step_size")["share"].is_between(0.05, 0.5).all()


def test_nsvq_has_more_codes_than_vq_after_the_swell(tables):
    ends = tables["hysteresis"].group_by("rule", "run").tail(1)
    assert (ends.filter(rule="NSVQ gaussian")["alive"] > ends.filter(rule="VQ")["alive"]).all()


def test_the_swell_moves_at_its_speed_and_stops():
    drift, period = hysteresis.Swell(1000), 1000
    shift = drift.motion(0, 1200, 1, seed=0).shift[:, 0] / critical_speed(hysteresis.CODES, hysteresis.STEP_SIZE)
    speed = [hysteresis.speed(t + 0.5, period) for t in range(1199)]
    np.testing.assert_allclose(np.diff(shift), speed, rtol=1e-5, atol=1e-4)
    assert shift[-1] == pytest.approx(hysteresis.FASTEST * period / 2)


def test_every_dimension_has_survivors_and_those_with_a_measured_offset_a_profile(tables):
    table = tables["dimensions"]
    assert table.drop_nulls("survivors").group_by("dim").len()["len"].to_list() == [4] * len(dimensions.SIZES)
    assert set(table.drop_nulls("x")["dim"]) == set(dimensions.OFFSET)
    assert table.drop_nulls("x").select(pl.col("x").is_between(0, 1).all()).item()


def test_all_codes_are_alive_below_the_predicted_boundary_and_not_at_twice_its_speed(tables):
    for rule, codes, speed, alive in tables["phase"].iter_rows():
        boundary = phase.law_of_case(phase.CASES[rule])
        law = np.nan if boundary is None else boundary(codes)
        assert speed > law or alive == codes or np.isnan(law), (rule, codes, speed)
        assert speed < 2 * law or alive < codes or np.isnan(law), (rule, codes, speed)


def test_an_eigenvalue_is_over_their_mean(tables):
    """The trace is one number per coordinate; a map of fewer parameters than that has zeros beside them."""
    sums = tables["tangent"].drop_nulls("eigenvalue").group_by("rule").agg(pl.col("eigenvalue").sum())
    assert sums["eigenvalue"].to_list() == pytest.approx([32.0] * 8)


def test_without_positions_transvq_moves_some_coordinates_a_thousand_times_less(tables):
    table = tables["tangent"]
    smallest = dict(table.drop_nulls("eigenvalue").group_by("rule").agg(pl.col("eigenvalue").min()).rows())
    assert smallest["TransVQ without positions"] < 1e-3 * smallest["TransVQ"]


def test_simvq_rests_where_its_own_gradient_is_zero_and_transvq_goes_on(tables):
    """After as many updates |J^T G| of SimVQ has fallen far more than |G|, which hardly falls any more."""
    first, last = (tables["tangent"].filter(update=update) for update in (1, 300))
    fallen = first.join(last, on="rule").select(
        "rule", pl.col("residual", "pulled") / pl.col("residual_right", "pulled_right")
    )
    residual, pulled = (dict(fallen.select("rule", column).rows()) for column in ("residual", "pulled"))
    for rule in ("SimVQ", "SimVQ without bias"):
        assert pulled[rule] > 1e3 > 3 > residual[rule]
    assert residual["TransVQ"] > 3


def test_the_simulated_bias_is_the_computed_one(tables):
    simulated = tables["bias"].drop_nulls()
    assert len(simulated) == 16
    assert simulated["simulated"].mean() == pytest.approx(simulated["distance"][0], rel=0.02)


def test_the_largest_speed_that_is_recovered_is_the_law_s(tables):
    table = tables["capture"]
    assert sorted(table["bandwidth"]) == [0, 0.2, 0.3]
    assert (table["speed"] / table["law"]).to_list() == pytest.approx([1, 1, 1], abs=0.1)


def test_rotation_helps_latents_that_grow_and_hurts_those_off_the_origin(tables):
    table = tables["rotation"]
    usage = {row[:2]: row[2] for row in table.select("estimator", "distance", "usage").iter_rows()}
    assert usage["rotation", 0] > usage["straight-through", 0] + 0.2
    assert usage["rotation", 6] < usage["straight-through", 6] - 0.5
    assert usage["rotation", 6] < usage["rotation-centred", 6] - 0.3
    growth = {row[0]: row[1] for row in table.filter(distance=0).select("estimator", "growth").iter_rows()}
    assert growth["rotation"] < growth["straight-through"] / 5


def test_claims_have_a_row_each(tables):
    assert set(tables["claims"]["outcome"]) == {"holds"}


def test_clusters_of_features_keep_codes_for_clusters_of_latents_unless_edges_mix_them(tables):
    usage = {(graph, kind): value for graph, kind, value in tables["transfer"].select("graph", "features", "usage").rows()}
    for graph in ("within clusters", "no edges"):
        assert usage[graph, "structured"] > usage[graph, "gaussian"] + 0.15
    assert usage["at random", "structured"] == pytest.approx(usage["at random", "gaussian"], abs=0.1)


def test_gaussian_features_have_the_spectrum_of_the_structured_ones():
    random = np.random.default_rng(0)
    features = transfer.clustered(random.integers(transfer.CLUSTERS, size=transfer.CODES), random)
    other = transfer.with_spectrum_of(features, random)
    np.testing.assert_allclose(other.T @ other, features.T @ features, atol=1e-12)
    assert np.abs(other.mean(axis=0)).max() < 1e-12
    assert np.linalg.norm(other - features) > 0.5 * np.linalg.norm(features)


def test_a_drift_empties_a_stack_from_the_top_and_steps_too_wide_from_the_bottom(tables):
    """And the replay of each level alone says which."""
    table = tables["stacks"].filter(step=tables["stacks"]["step"].max())
    drifting, still = table.filter(drift="translating"), table.filter(drift="stationary")
    for rule in ("EMA", "VQ with Adam"):
        for column in ("used", "replayed"):
            assert drifting.filter(rule=rule).sort(column)["level"][0] == 0
        speeds = drifting.filter(rule=rule)["speed"]
        assert speeds[0] > 2 * speeds[1] > 2 * speeds[2]
    assert still.filter(rule="EMA")["used"].min() > 0.9 * 64
    assert drifting.filter(rule="EMA, first level carried")["used"].min() > 0.9 * 64
    wide = still.filter(rule="VQ with Adam, ten times the rate")
    for column in ("used", "replayed"):
        assert wide.sort(column)["level"][0] == 2
