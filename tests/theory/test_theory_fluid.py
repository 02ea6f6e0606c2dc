"""The mean-field equations, and the laws of EMA and NSVQ: against quadrature, against one another, and by simulation."""

import itertools
import re

import numpy as np
import pytest
from scipy import integrate, stats

import vqtheory as vq
from vqtheory import theory
from vqtheory.rules import EMA, NSVQ, VQ
from vqtheory.schedules import exponential
from vqtheory.streams import Gaussian, Ring, Stream, Translation, Uniform
from vqtheory.theory._attraction import attraction
from vqtheory.theory._line import Line, line

LAWS = [stats.uniform(1, 3), stats.norm(2, 0.5), stats.beta(2, 5), stats.expon(), stats.beta(0.5, 0.5)]
UNIFORM = stats.uniform()
NODES, WEIGHTS = np.polynomial.legendre.leggauss(200)


def grid(num_codes):
    return (np.arange(num_codes) + 0.5) / num_codes


def plain_critical_speed(num_codes):
    """v_c / eta of plain VQ and a uniform distribution: squared gaps rise by 8 a."""
    k = np.arange(1, num_codes)
    y = np.linspace(0, 1, 200_001)
    return 1 / (8 * np.min(-np.sqrt(y) / 2 + np.sqrt(y[:, None] + k).sum(axis=1) + np.sqrt(y + num_codes) / 2) ** 2)


def integral(function, cuts):
    options = {"epsabs": 1e-14, "epsrel": 1e-11, "limit": 200}
    return sum(integrate.quad(function, *ends, **options)[0] for ends in itertools.pairwise(cuts))


# Integrals over cells


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.dist.name)
def test_masses_and_pulls_are_the_integrals_over_the_cells(law):
    codes = law.ppf([0.05, 0.2, 0.6, 0.97])
    codes[0] = law.ppf(0.001) - 0.3
    borders = np.concatenate([[-np.inf], (codes[1:] + codes[:-1]) / 2, [np.inf]])
    mass, pull = line("test", law).cells(codes)
    np.testing.assert_allclose(mass, np.diff(law.cdf(borders)), atol=1e-7 if law.args == (0.5, 0.5) else 2e-15)
    ends = np.clip(borders, *law.ppf([1e-17, 1]))
    ends[-1] = min(ends[-1], law.mean() + 40 * law.std())
    exact = [integral(lambda x, c=c: (x - c) * law.pdf(x), pair) for c, *pair in zip(codes, ends, ends[1:], strict=False)]
    np.testing.assert_allclose(pull, exact, atol=1e-7 if law.args == (0.5, 0.5) else 1e-13)


def test_an_empty_cell_holds_exactly_nothing():
    for law in LAWS:
        low = law.support()[0]
        if np.isfinite(low):
            mass, pull = line("test", law).cells(np.array([low - 2, low - 1, law.mean()]))
            assert mass[0] == 0
            assert pull[0] == 0


@pytest.mark.parametrize(("form", "strength"), [("gaussian", 0.5), ("softmax", 0.01), ("softmax", 0.9)])
@pytest.mark.parametrize("bandwidth", [0.05, 0.4, 3.0])
@pytest.mark.parametrize("law", [UNIFORM, stats.norm(), stats.beta(2, 5)], ids=lambda law: law.dist.name)
def test_the_pull_from_other_cells_is_the_integral_of_the_simulators_weights(law, bandwidth, form, strength):
    codes = np.sort(law.ppf([0.1, 0.3, 0.45, 0.9])) - [0.4, 0, 0, 0]
    borders = (codes[1:] + codes[:-1]) / 2

    def weighted(x, k):
        squares = (x - codes) ** 2
        if np.argmin(squares) == k:
            return 0.0
        shares = np.exp(-(squares - squares.min()) / bandwidth**2)
        soft = min(1, strength * 4 * shares[k] / shares.sum())
        return (soft if form == "softmax" else strength * np.exp(-squares[k] / (2 * bandwidth**2))) * (x - codes[k])

    low, high = np.clip(law.support(), -9, 9)
    cuts = np.unique(np.clip([*np.linspace(low, high, 60), *borders], low, high))
    exact = [integral(lambda x, k=k: weighted(x, k) * law.pdf(x), cuts) for k in range(4)]
    rule = NSVQ(bandwidth=bandwidth, strength=strength, form=form)
    tolerance = 1e-12 if strength == 0.9 else 1e-13  # a kink where a weight reaches 1 is hard on the adaptive rule
    np.testing.assert_allclose(attraction(rule, line("test", law), codes, bandwidth), exact, atol=tolerance)
    if law is UNIFORM:  # the closed form, and the quadrature that any other law takes
        np.testing.assert_allclose(attraction(rule, Line("test", law), codes, bandwidth), exact, atol=tolerance)


# Fixed points


@pytest.mark.parametrize("law", [UNIFORM, stats.norm(3, 2), stats.beta(2, 5)], ids=lambda law: law.dist.name)
@pytest.mark.parametrize("rule", [VQ(), EMA(0.9)], ids=["VQ", "EMA"])
def test_without_drift_the_fixed_point_is_the_optimal_quantizer(law, rule):
    found = theory.fixed_point(rule, law, law.ppf(grid(8)))
    np.testing.assert_allclose(found, vq.reference.lloyd_max(law, 8).codes[:, 0], atol=1e-13 * (3 + law.std()))


def test_steady_states_of_a_drift():
    lag = 0.9 * plain_critical_speed(6)
    gaps = np.diff(theory.fixed_point(VQ(0.05), UNIFORM, grid(6), speed=0.05 * lag))
    np.testing.assert_allclose(np.diff(gaps**2), 8 * lag, rtol=1e-11)
    behind = theory.fixed_point(EMA(0.99), UNIFORM, grid(4), speed=3e-4)
    widths = np.diff([0, *(behind[1:] + behind[:-1]) / 2, 1])
    np.testing.assert_allclose(np.diff(widths), 4 * 3e-4 / 0.01, rtol=1e-11)
    with pytest.raises(ValueError, match="found no codes at rest"):
        theory.fixed_point(VQ(0.05), UNIFORM, grid(6), speed=0.051 * lag / 0.9)


@pytest.mark.parametrize("form", ["gaussian", "softmax"])
def test_fixed_points_with_a_kernel_are_balanced_to_rounding(form):
    rule = NSVQ(step_size=1.0, bandwidth=0.1, form=form)
    law = line("test", stats.beta(2, 5))
    codes = theory.fixed_point(rule, stats.beta(2, 5), grid(6))
    assert np.max(np.abs(law.cells(codes)[1] + attraction(rule, law, codes, 0.1))) <= 1e-14 * law.deviation


# Motion


def test_codes_that_a_bounded_law_has_left_fall_behind_exactly():
    speed = 3 * plain_critical_speed(16)
    motion = theory.mean_motion(VQ(1.0), UNIFORM, grid(16), 60_000, speed=speed)
    survivors = max(K for K in range(1, 17) if K == 1 or plain_critical_speed(K) >= speed)
    assert survivors == 11
    assert motion.alive[-1].sum() == survivors
    lost = motion.masses[-1] == 0
    assert lost.sum() == 16 - survivors
    fall = np.diff(motion.codes[50:, lost], axis=0)
    np.testing.assert_allclose(fall, -speed * motion.times[1], rtol=1e-11)


def test_the_order_of_codes_and_the_direction_do_not_matter():
    forward = theory.mean_motion(VQ(0.1), stats.norm(), [-1.0, 0.2, 0.9], 500, speed=1e-3, records=4)
    shuffled = theory.mean_motion(VQ(0.1), stats.norm(), [0.9, -1.0, 0.2], 500, speed=1e-3, records=4)
    backward = theory.mean_motion(VQ(0.1), stats.norm(), [1.0, -0.2, -0.9], 500, speed=-1e-3, records=4)
    np.testing.assert_allclose(shuffled.codes, forward.codes[:, [2, 0, 1]], atol=1e-9)
    np.testing.assert_allclose(backward.codes, -forward.codes, atol=1e-9)


@pytest.mark.parametrize(
    ("rule", "speed"),
    [
        (VQ(0.02), 2e-4),
        (NSVQ(0.02, bandwidth=0.2), 1e-3),
        (NSVQ(0.02, bandwidth=exponential(1.0, half_life=300)), 1e-3),
        (NSVQ(0.02, bandwidth=0.5, strength=0.3, form="softmax"), 1e-3),
        (NSVQ(0.02, form="propagate", strength=0.9, bandwidth=2.0), 1e-3),
    ],
    ids=str,
)
@pytest.mark.parametrize("source", [Uniform(1), Gaussian(1)], ids=["uniform", "normal"])
def test_a_simulation_with_large_batches_follows_the_mean_motion(rule, speed, source):
    start = source.distribution().ppf([0.1, 0.3, 0.5, 0.75])
    seen = []
    vq.simulate(
        rule,
        Stream(source, Translation(speed)),
        codes=start[:, None],
        steps=1200,
        batch_size=2048,
        records=6,
        progress=False,
        on_record=lambda step, codes, row: seen.append(codes[:, 0] - speed * step),
    )
    motion = theory.mean_motion(rule, source, start, 1200, speed=speed, records=6)
    np.testing.assert_allclose(seen, motion.codes, atol=4e-3 * source.distribution().std())


def test_a_simulation_of_ema_with_large_batches_follows_the_mean_motion():
    rule, stream, start = EMA(0.98), Stream(Uniform(1), Translation(1e-3)), np.array([0.1, 0.3, 0.5, 0.75])
    state, counts = rule.init(start[:, None]), np.array([0.4, 0.1, 0.3, 0.2])
    state = state._replace(counts=4096 * counts)
    motion = theory.mean_motion(rule, UNIFORM, start, 600, speed=1e-3, records=6, counts=counts)
    for t in range(0, 600, 100):
        state, _ = rule.advance(state, stream.draw(t, 100, 4096, seed=0))
        np.testing.assert_allclose(state.codes[:, 0] - 1e-3 * (t + 100), motion.codes[t // 100 + 1], atol=2e-3)


def test_plain_vq_stays_collapsed_when_the_drift_fades_and_nsvq_recovers():
    speed = exponential(0.0035, half_life=2000, begin=3000)  # at first 1.45 times what two codes can follow
    plain = theory.mean_motion(VQ(0.05), UNIFORM, grid(8), 60_000, speed=speed, records=20)
    assert plain.alive[0].sum() == 8
    assert plain.alive[-1].sum() == 1
    rule = NSVQ(0.05, bandwidth=exponential(1.0, half_life=3000, begin=30_000))
    cured = theory.mean_motion(rule, UNIFORM, grid(8), 100_000, speed=speed, records=20)
    assert cured.alive.sum(axis=1).min() < 8
    np.testing.assert_allclose(np.sort(cured.codes[-1]), grid(8), atol=1e-4)


# EMA


def ema_map(codes, counts, decay, speed):
    borders = np.concatenate([[0], (codes[1:] + codes[:-1]) / 2, [1]])
    mass, centroid = np.diff(borders), (borders[1:] + borders[:-1]) / 2
    counts = decay * counts + (1 - decay) * mass
    return np.concatenate([codes + (1 - decay) * mass / counts * (centroid - codes) - speed, counts])


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("num_codes", [2, 3, 5, 16])
def test_at_the_critical_speed_of_ema_a_disturbance_neither_grows_nor_dies(num_codes, decay):
    speed = theory.ema_critical_speed(num_codes, decay)
    codes = theory.fixed_point(EMA(decay), UNIFORM, grid(num_codes), speed=speed)
    state = np.concatenate([codes, np.diff([0, *(codes[1:] + codes[:-1]) / 2, 1])])

    def step(state):
        return ema_map(state[:num_codes], state[num_codes:], decay, speed)

    np.testing.assert_allclose(step(state), state, atol=1e-14)
    jacobian = np.array([step(state + 1e-30j * e).imag / 1e-30 for e in np.eye(2 * num_codes)])
    assert np.max(np.abs(np.linalg.eigvals(jacobian))) == pytest.approx(1, abs=1e-11)


@pytest.mark.parametrize("num_codes", [4, 5])
def test_ema_codes_live_just_below_the_critical_speed_and_not_just_above(num_codes):
    critical = theory.ema_critical_speed(num_codes, 0.9)
    for factor, survivors in ((0.998, num_codes), (1.003, num_codes - 1)):
        speed = factor * critical
        motion = theory.mean_motion(EMA(0.9), UNIFORM, grid(num_codes), 400 * num_codes**2, speed=speed)
        assert (motion.masses[-1] > 0).sum() == survivors


def test_a_larger_ema_codebook_is_left_with_the_surviving_codes():
    for survivors in (4, 6):
        speed = 0.98 * theory.ema_critical_speed(survivors, 0.9)
        assert theory.ema_surviving_codes(speed, 0.9) == survivors
        motion = theory.mean_motion(EMA(0.9), UNIFORM, grid(16), 5000 * survivors, speed=speed)
        assert (motion.masses[-1] > 0).sum() == survivors


def test_the_critical_speed_of_ema_in_figures():
    ratio = [theory.ema_critical_speed(K, 1 - 1e-6) / theory.ema_existence_speed(K, 1 - 1e-6) for K in (2, 4, 8, 16)]
    np.testing.assert_allclose(ratio, [np.sqrt(3) / 2, 0.952863, 0.979224, 0.990196], atol=1e-6)
    num_codes = np.arange(4, 65)
    rule_of_thumb = 0.01 / (2 * num_codes * (num_codes - 6 / 7))
    np.testing.assert_allclose(theory.ema_critical_speed(num_codes, 0.99), rule_of_thumb, rtol=2e-3)
    assert theory.ema_critical_speed(1, 0.99) == np.inf
    assert theory.ema_critical_speed(5, 0.0) == theory.ema_existence_speed(5, 0.0)
    assert theory.ema_critical_speed(5, 0.9, width=3.0) == pytest.approx(3 * theory.ema_critical_speed(5, 0.9))


def test_the_inverses_of_the_ema_law():
    speeds = np.geomspace(1e-7, 0.5, 60)
    for decay in (0.0, 0.6, 0.99):
        alive = theory.ema_surviving_codes(speeds, decay)
        assert np.all(theory.ema_critical_speed(alive, decay) >= speeds)
        assert np.all(theory.ema_critical_speed(alive + 1, decay) < speeds)
    decay = theory.ema_required_decay([1, 4, 64, 1000], 1e-6)
    assert decay[0] == 1
    assert np.isnan(decay[3])
    assert 0 < theory.ema_required_decay(4, 0.999 / 24) < 0.01
    assert np.isnan(theory.ema_required_decay(4, 1.001 / 24))
    np.testing.assert_allclose(theory.ema_critical_speed([4, 64], decay[1:3]), 1e-6, rtol=1e-9)


@pytest.mark.parametrize("num_codes", [4, 8])
def test_simulated_ema_codes_live_and_die_about_the_law_for_finite_batches(num_codes):
    critical = theory.ema_critical_speed(num_codes, 0.95, batch_size=256)
    for factor, alive in ((0.96, True), (1.04, False)):
        speed = factor * critical
        start = theory.fixed_point(EMA(0.95), UNIFORM, grid(num_codes), speed=min(speed, critical))[:, None]
        stream = Stream(Uniform(1), Translation(speed))
        steps = 240 * num_codes**2
        run = vq.simulate(EMA(0.95), stream, codes=start, steps=steps, batch_size=256, seed=1, records=2, progress=False)
        assert run.used.all() == alive


# NSVQ: capture


def force(u, sigma, law, sign=1):
    low, high = np.clip(law.support(), -12, 40)
    x, width = low + (high - low) * (NODES + 1) / 2, WEIGHTS * (high - low) / 2
    return sign * float(width * np.exp(-((x - u) ** 2) / (2 * sigma**2)) * (x - u) @ law.pdf(x))


@pytest.mark.parametrize(("law", "sign"), [(UNIFORM, 1), (stats.norm(), 1), (stats.expon(), 1), (stats.expon(), -1)])
def test_the_capture_speed_is_the_largest_pull(law, sign):
    found = theory.capture_speed(0.1, 0.7, strength=0.4, source=law, direction=sign) / (0.1 * 0.4)
    away = np.linspace(0, 3, 301)
    forces = [force(law.mean() - sign * y, 0.7, law, sign) for y in away]
    best = int(np.argmax(forces))
    assert max(forces) <= found * (1 + 1e-12)
    curve = np.polynomial.Polynomial.fit(away[best - 2 : best + 3], forces[best - 2 : best + 3], 4)
    assert found == pytest.approx(curve(away[best - 2] + np.linspace(0, 0.04, 4001)).max(), rel=1e-9)


def test_capture_speeds_in_closed_form():
    assert theory.capture_speed(0.1, 2.0) == pytest.approx(0.1 * 0.5 * 2 * np.exp(-0.5), rel=1e-14)
    for dim in (1, 3, 8):
        total = 1 + 1.5**2
        exact = 0.5 * (1.5**2 / total) ** (dim / 2 + 1) * np.sqrt(total) * np.exp(-0.5)
        assert theory.capture_speed(1.0, 1.5, source=Gaussian(dim)) == pytest.approx(exact, rel=1e-12)
    assert theory.capture_speed(1.0, 0.5, source=Gaussian(1)) == pytest.approx(
        theory.capture_speed(1.0, 0.5, source=stats.norm())
    )
    for crowd in (False, True):
        both = [theory.capture_speed(1.0, [0.05, 0.7], source=law, crowd=crowd) for law in (Uniform(1), UNIFORM)]
        np.testing.assert_allclose(*both, rtol=1e-9)
    assert theory.capture_speed(1.0, 1.0, source=Gaussian(1), crowd=True) == pytest.approx(0.1346411, rel=1e-6)


def test_capture_speeds_from_samples():
    generator = np.random.default_rng(3)
    for dim in (1, 3):
        normal, cube = generator.standard_normal((3000, dim)), generator.random((3000, dim))
        assert theory.capture_speed(1.0, 2.0, source=normal) == pytest.approx(
            theory.capture_speed(1.0, 2.0, source=Gaussian(dim)), rel=0.03
        )
        assert theory.capture_speed(1.0, 0.5, source=cube) == pytest.approx(
            theory.capture_speed(1.0, 0.5, source=Uniform(dim)), rel=0.02
        )
    two = np.array([[0.0, 0.0], [0.0, 2.0]])  # a code rests between them, at distance 1 from the axis of either
    assert theory.capture_speed(1.0, 3.0, 1.0, source=two) == pytest.approx(3 * np.exp(-0.5 - 1 / 18), rel=1e-9)
    ring = Ring().sample(generator, 2000)
    turned = theory.capture_speed(1.0, 1.0, source=ring @ [[0.6, 0.8], [-0.8, 0.6]], direction=[0.6, 0.8])
    assert turned == pytest.approx(theory.capture_speed(1.0, 1.0, source=ring), rel=1e-6)


def carried(rule, law, codes, speed, records=8):
    """Whether all codes are at rest in the frame of the cloud at the end of a long drift."""
    longest = 60 * (rule.bandwidth + law.std()) / speed
    motion = theory.mean_motion(rule, law, codes, longest, speed=speed, records=records)
    return np.max(np.abs(motion.codes[-1] - motion.codes[-2])) < 0.1 * speed * motion.times[1]


@pytest.mark.parametrize("num_codes", [4, 8])
@pytest.mark.parametrize("bandwidth", [0.3, 1.0, 3.0])
def test_whatever_their_number_codes_are_carried_up_to_the_capture_speed(num_codes, bandwidth):
    critical = theory.capture_speed(0.1, bandwidth, source=Uniform(1))
    rule = NSVQ(0.1, bandwidth=bandwidth)
    assert critical > plain_critical_speed(num_codes) * 0.1
    assert carried(rule, UNIFORM, grid(num_codes), 0.99 * critical)
    assert not carried(rule, UNIFORM, grid(num_codes), 1.01 * critical)


def test_behind_an_unbounded_cloud_the_threshold_lies_between_that_of_a_crowd_and_that_of_a_code_that_wins_nothing():
    start = np.linspace(-0.3, 0.3, 6)
    for bandwidth, measured in ((1.0, 0.1379), (0.5, 0.0198)):
        low, high = (theory.capture_speed(1.0, bandwidth, source=Gaussian(1), crowd=crowd) for crowd in (True, False))
        assert low < measured < high
        assert carried(NSVQ(1.0, bandwidth), stats.norm(), start, 0.99 * measured)
        assert not carried(NSVQ(1.0, bandwidth), stats.norm(), start, 1.01 * measured)


def test_a_code_within_reach_is_caught_up_and_one_beyond_is_lost():
    speed = 0.6 * theory.capture_speed(0.1, 0.5, source=Uniform(1))
    reach = theory.capture_reach(speed, 0.1, 0.5, source=Uniform(1))
    assert force(0.5 - reach, 0.5, UNIFORM) * 0.1 * 0.5 == pytest.approx(speed, rel=1e-9)
    for factor, caught in ((0.999, True), (1.001, False)):
        codes = np.array([0.5 - factor * reach, 0.45])
        assert carried(NSVQ(0.1, bandwidth=0.5), UNIFORM, codes, speed) == caught
    assert theory.capture_reach(0, 0.1, 0.5) == np.inf
    assert np.isnan(theory.capture_reach(2 * speed, 0.1, 0.5, source=Uniform(1)))


@pytest.mark.parametrize(("bandwidth", "alive"), [(3.0, 2), (10.0, 1)])
def test_captured_codes_strengthen_the_softmax_form(bandwidth, alive):
    law = theory.capture_speed(1.0, bandwidth, source=Uniform(1), form="softmax", captured=1 - alive / 8)
    lone = theory.capture_speed(1.0, bandwidth, source=Uniform(1), form="softmax")
    assert lone == pytest.approx(theory.capture_speed(1.0, bandwidth / np.sqrt(2), 0.01, source=Uniform(1)))
    assert law / lone == pytest.approx(8 / (alive + (8 - alive) * np.exp(-0.5)))
    rule = NSVQ(1.0, bandwidth=bandwidth, form="softmax")
    assert carried(rule, UNIFORM, grid(8), 0.985 * law)
    assert not carried(rule, UNIFORM, grid(8), 1.02 * law)
    motion = theory.mean_motion(rule, UNIFORM, grid(8), 60 * bandwidth / law, speed=0.985 * law, records=2)
    assert motion.alive[-1].sum() == alive


@pytest.mark.parametrize(("source", "bandwidth"), [(Uniform(1), 0.3), (Gaussian(1), 2.0), (Gaussian(4), 4.0)], ids=str)
def test_simulated_codes_are_carried_up_to_the_capture_speed(source, bandwidth):
    critical = theory.capture_speed(0.05, bandwidth, source=source)
    for factor, kept in ((0.94, True), (1.06, False)):
        speed, steps = factor * critical, int(60 * bandwidth / critical)
        stream, rule = Stream(source, Translation(speed)), NSVQ(0.05, bandwidth=bandwidth)
        start = source.mean + 0.3 * (source.sample(np.random.default_rng(0), 8) - source.mean)
        run = vq.simulate(rule, stream, codes=start, steps=steps, batch_size=16, seed=2, records=2, progress=False)
        behind = source.mean[0] + speed * steps - run.codes[:, 0].min()
        assert (behind < theory.capture_reach(min(speed, 0.94 * critical), 0.05, bandwidth, source=source)) == kept


# NSVQ: bias


@pytest.mark.parametrize("law", [UNIFORM, stats.norm(), stats.beta(2, 5)], ids=lambda law: law.dist.name)
def test_the_gaussian_forms_bias_is_bounded_and_falls_faster_than_any_power(law):
    best = vq.reference.lloyd_max(law, 4).codes[:, 0]
    bandwidths, biases = np.diff(best).min() * np.geomspace(0.4, 0.14, 6), []
    for bandwidth in bandwidths:
        codes = theory.fixed_point(NSVQ(bandwidth=bandwidth), law, best)
        pull = line("test", law).cells(codes)[1]
        gaps = np.diff(codes)
        radius = np.minimum([np.inf, *gaps], [*gaps, np.inf]) / 2
        assert np.all(np.abs(pull) <= theory.bias_bound(bandwidth, radius) + 1e-17)
        if law is UNIFORM:
            exact = theory.edge_bias(bandwidth, gaps[0] / 2, reach=1 - codes[0])
            assert -pull[0] == pytest.approx(exact, abs=2e-16)
        biases.append(np.max(np.abs(pull)))
    slopes = np.diff(np.log(biases)) / np.diff(np.log(bandwidths))
    assert np.all(np.diff(slopes) > 0)
    assert slopes[0] < 4.6
    assert slopes[-1] > 11


@pytest.mark.parametrize("law", [stats.norm(), stats.beta(2, 5)], ids=lambda law: law.dist.name)
@pytest.mark.parametrize("strength", [0.01, 0.9])
def test_the_softmax_forms_bias_is_linear_in_tau_with_the_constant_of_the_borders(law, strength):
    best = vq.reference.lloyd_max(law, 4).codes[:, 0]
    heights = np.array([0, *law.pdf((best[1:] + best[:-1]) / 2), 0])
    for bandwidth in np.diff(best).min() * np.array([0.04, 0.02]):
        rule = NSVQ(bandwidth=bandwidth, strength=strength, form="softmax")
        pull = line("test", law).cells(theory.fixed_point(rule, law, best))[1]
        borders = heights * theory.softmax_bias(bandwidth, 4, strength)
        np.testing.assert_allclose(pull, borders[:-1] - borders[1:], rtol=8 * (bandwidth / np.diff(best).min()) ** 2)


def test_the_next_term_of_the_softmax_bias():
    rule = NSVQ(bandwidth=0.0125, form="softmax")
    found = attraction(rule, line("test", UNIFORM), grid(4), 0.0125)[0] / theory.softmax_bias(0.0125, 4) - 1
    assert found == pytest.approx(np.pi**2 / (12 * np.log(2)) * (0.0125 * 4) ** 2, rel=1e-9)


@pytest.mark.parametrize("bandwidth", [0.15, 0.25])
def test_simulated_codes_come_to_the_biased_fixed_point(bandwidth):
    rule, seen = NSVQ(0.02, bandwidth=bandwidth), []
    vq.simulate(
        rule,
        Stream(Uniform(1)),
        codes=grid(4)[:, None],
        steps=40_000,
        batch_size=64,
        records=400,
        progress=False,
        on_record=lambda step, codes, row: seen.append(codes[:, 0]),
    )
    expected = theory.fixed_point(rule, UNIFORM, grid(4))
    assert np.max(np.abs(expected - grid(4))) > 0.02
    np.testing.assert_allclose(np.mean(seen[50:], axis=0), expected, atol=5e-4)


def test_a_kernel_that_never_shrinks_contracts_the_codebook():
    spans = [np.ptp(theory.fixed_point(NSVQ(bandwidth=s), UNIFORM, grid(8))) for s in (0.02, 0.2, 0.5, 3.0)]
    assert spans[0] == pytest.approx(7 / 8, abs=2e-4)
    assert np.all(np.diff(spans) < 0)
    assert spans[-1] < 0.2


# The door


def test_laws_broadcast():
    assert theory.ema_critical_speed([[2], [4]], [0.9, 0.99, 0.999]).shape == (2, 3)
    assert theory.capture_speed(0.1, [[0.3], [1.0]], [0.1, 0.5], source=Uniform(1)).shape == (2, 2)
    assert theory.capture_reach([1e-3, 2e-3], 0.1, 1.0).shape == (2,)
    assert theory.bias_bound([0.1, 0.2], [[0.1], [0.3]]).shape == (2, 2)
    assert theory.softmax_bias(0.1, [2, 500]).shape == (2,)
    assert isinstance(theory.ema_required_decay(4, 1e-4), float)
    assert isinstance(theory.ema_surviving_codes(1e-4, 0.9), int)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: theory.ema_critical_speed(4, 1.0),
            "The 'decay' parameter of ema_critical_speed must be a number >= 0 and < 1",
        ),
        (
            lambda: theory.ema_critical_speed(0, 0.9),
            "The 'num_codes' parameter of ema_critical_speed must be an int >= 1. Got 0",
        ),
        (lambda: theory.ema_surviving_codes(0, 0.9), "The 'speed' parameter of ema_surviving_codes must be a number > 0"),
        (lambda: theory.capture_speed(0.1, 0.0), "The 'bandwidth' parameter of capture_speed must be a number > 0. Got 0.0"),
        (lambda: theory.capture_speed(0.1, 1.0, form="soft"), "did you mean 'softmax'"),
        (
            lambda: theory.capture_speed(0.1, 1.0, source=stats.cauchy()),
            "The 'source' parameter of capture_speed must have a",
        ),
        (
            lambda: theory.capture_speed(0.1, 1.0, source=stats.norm(), direction=2),
            "1 or -1 for a cloud in one dimension. Got 2",
        ),
        (lambda: theory.capture_speed(0.1, 1.0, source=Ring(), direction=[0, 0]), "a vector of 2 finite numbers"),
        (lambda: theory.bias_bound(0.1, -1.0), "The 'radius' parameter of bias_bound must be a number >= 0. Got -1"),
        (lambda: theory.softmax_bias(0.1, 1), "The 'num_codes' parameter of softmax_bias must be an int >= 2. Got 1"),
        (
            lambda: theory.mean_motion("VQ", UNIFORM, [0.1], 10),
            "The 'rule' parameter of mean_motion must be a VQ, EMA or NSVQ",
        ),
        (lambda: theory.mean_motion(VQ(clock="wins"), UNIFORM, [0.1], 10), "clock='step', smoothing=0"),
        (lambda: theory.mean_motion(VQ(), UNIFORM, [0.1, 0.1], 10), "must be numbers that all differ"),
        (
            lambda: theory.mean_motion(VQ(), Ring(), [0.1], 10),
            "The 'density' parameter of mean_motion must be a distribution in one dimension",
        ),
        (
            lambda: theory.mean_motion(EMA(), UNIFORM, [0.1], 10, counts=[-1.0]),
            "The 'counts' parameter of mean_motion must be 1",
        ),
        (
            lambda: theory.fixed_point(VQ(exponential(1.0, 3)), UNIFORM, [0.1]),
            "The 'rule.step_size' parameter of fixed_point",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()
