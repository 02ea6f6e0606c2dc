"""A stationary encoder: exact measures, rates of relaxation, and rules that come nearer to k-means."""

import numpy as np
import polars as pl
import pytest

import vqtheory as vq
from simulations import convergence
from simulations.lineup import LINEUP
from vqtheory.reference.density import Density

DIRECT = {
    label for label, entry in LINEUP.items() if entry.family in ("VQ", "EMA", "NSVQ", "VQ with transport")
}  # take the codes given


@pytest.mark.parametrize("name", convergence.DENSITIES)
def test_exact_measures_agree_with_those_of_a_large_sample(name):
    source = convergence.DENSITIES[name]
    latents = source.sample(np.random.default_rng(0), 400_000)
    codes = np.random.default_rng(1).permutation(latents[:8])
    residual, distortion = convergence.exact(Density("test", source.distribution()), codes)
    assert residual == pytest.approx(vq.measure.residual(latents, codes, unbiased=True), rel=0.02)
    assert distortion == pytest.approx(vq.measure.distortion(latents, codes), rel=0.02)


@pytest.mark.parametrize("name", convergence.DENSITIES)
def test_the_optimum_has_residual_zero_and_ratio_one(name):
    optimum = vq.reference.lloyd_max(convergence.DENSITIES[name].distribution(), convergence.NUM_CODES[name])
    row = convergence.describe(optimum.codes, convergence.truth_of(name, False, 1), ends=True)
    assert row["residual"] < 1e-12
    assert row["ratio"] == pytest.approx(1, abs=1e-12)


def test_a_code_without_mass_adds_nothing():
    density = Density("test", convergence.DENSITIES["uniform"].distribution())
    alone = convergence.exact(density, np.array([[0.4]]))
    assert convergence.exact(density, np.array([[9.0], [0.4]])) == pytest.approx(alone)
    assert alone == pytest.approx((0.01, 1 / 12 + 0.01))


def test_relaxation_rates():
    num_codes = convergence.NUM_CODES["uniform"]
    assert convergence.relaxation_rate("uniform") == pytest.approx(np.pi**2 / (4 * num_codes**3), rel=0.02)
    assert abs(convergence.relaxation_rate("Laplace")) < 1e-6


def test_codes_off_the_optimum_come_back_at_the_relaxation_rate():
    """The mean motion by small steps, once all but the slowest mode has faded."""
    distribution = convergence.DENSITIES["Gaussian"].distribution()
    density, best = Density("test", distribution), vq.reference.lloyd_max(distribution, 8).codes[:, 0]
    codes, step, distance = best + 0.01, 0.5, []
    for _ in range(1500):
        codes = codes + step * density.cells(codes).pull
        distance.append(np.linalg.norm(codes - best))
    rate = -np.polyfit(step * np.arange(750, 1500), np.log(distance[750:]), 1)[0]
    assert rate == pytest.approx(convergence.relaxation_rate("Gaussian"), rel=0.02)


def test_lloyd_settles_where_the_residual_is_zero():
    points = np.random.default_rng(0).normal(size=(500, 3))
    codes = convergence.settle(points, points[:5], lambda x: x)
    residual, distortion = convergence.of_points(points, codes, lambda x: x)
    assert residual < 1e-16
    assert distortion < vq.measure.distortion(points, points[:5])


def test_decades_end_at_the_last_update_and_do_not_overlap():
    assert convergence.decades(10_000) == [(-1, 10), (10, 100), (100, 1000), (1000, 10_000)]


def test_slope_of_a_power_law():
    steps = np.arange(1, 1001)
    rows = pl.DataFrame({"step": np.tile(steps, 2), "residual": np.concatenate([1.0 / steps, 3.0 / steps])})
    assert convergence.slope(rows, pl.col("residual")) == pytest.approx(-1)


def test_every_rule_converges_on_every_distribution(tables):
    table = tables["convergence"]
    for name in convergence.DISTRIBUTIONS:
        assert set(table.filter(distribution=name)["rule"]) == set(convergence.rules(name))
    values = table.select("residual", "ratio").to_numpy()
    assert np.isfinite(values).all()
    assert (values > 0).all()
    assert table.filter(pl.col("distribution") != "patches")["ratio"].min() > 1 - 1e-12


@pytest.mark.parametrize("name", convergence.DISTRIBUTIONS)
def test_direct_rules_start_from_the_same_codes(tables, name):
    start = tables["convergence"].filter(pl.col("rule").is_in(DIRECT), distribution=name, step=0)
    assert set(start["rule"]) == DIRECT & set(convergence.rules(name))
    assert len(start.select("residual", "ratio").unique()) == 1


@pytest.mark.parametrize("name", convergence.DISTRIBUTIONS)
def test_on_a_stationary_encoder_propagate_is_vq_and_vq_gets_nearer(tables, name):
    table = tables["convergence"].filter(distribution=name)
    vq_rows, propagate = (table.filter(rule=rule).drop("rule") for rule in ("VQ", "NSVQ propagate"))
    assert vq_rows.equals(propagate)
    first, last = vq_rows.filter(step=0), vq_rows.filter(pl.col("step") == vq_rows["step"].max())
    assert last["residual"][0] < first["residual"][0] / 2
    assert last["ratio"][0] < first["ratio"][0]


def on_sphere(latents):
    return vq.rules.CosineVQ().project(latents)


def test_cosine_vq_is_measured_on_the_sphere():
    points = on_sphere(np.random.default_rng(0).normal(size=(400, 3)))
    codes = convergence.settle(points, points[:4], on_sphere)
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1)
    assert convergence.of_points(points, codes, on_sphere)[0] < 1e-12
