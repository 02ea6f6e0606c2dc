"""The rules of `vqtheory.rules.interpretations`: their steps are gradients of the losses that they say."""

import numpy as np
import pytest
from scipy.special import softmax
from twins import hyperbolic_logits

import vqtheory as vq
from vqtheory import Batches, measure
from vqtheory.rules import CVQ, GRITVQ, IBQ, VQ, EntropyVQ, HyperVQ, SimVQ, Sinkhorn
from vqtheory.rules.interpretations import gritvq
from vqtheory.streams import Gaussian, Stream
from vqtheory.testing import check_rule


def slope(function, values, h):
    """The gradient by central differences of fourth order."""
    result = np.zeros_like(values)
    for place in np.ndindex(values.shape):
        ends = []
        for step in (1, -1, 2, -2):
            moved = values.copy()
            moved[place] += step * h
            ends.append(function(moved))
        result[place] = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * h)
    return result


@pytest.mark.parametrize("rule", [HyperVQ(), HyperVQ(curvature=0.2, temperature=0.5)], ids=repr)
def test_a_step_of_hypervq_is_the_gradient_of_its_distortion(rule):
    """The error of a step of 1e-3 in lengths is of order 1e-12; a direction's is tangent, by its projection."""
    random, eta = np.random.default_rng(0), 1e-6
    x, codes = 0.5 * random.normal(size=(1, 9, 3)), 0.5 * random.normal(size=(5, 3))
    rule = HyperVQ(eta, rule.curvature, rule.temperature)
    state = rule.init(codes)
    after, _ = rule.advance(state, Batches(x))
    places = [state.directions, state.offsets, state.gains]

    def loss(values, place):
        moved = [values if i == place else part for i, part in enumerate(places)]
        moved[0] = moved[0] / np.linalg.norm(moved[0], axis=1, keepdims=True)
        share = softmax(hyperbolic_logits(x[0], *moved, rule.curvature) / rule.temperature, axis=1)
        return (share * ((x[0][:, None] - moved[1][:, None] * moved[0]) ** 2).sum(axis=2)).sum() / 2 / len(x[0])

    for place, name in enumerate(("directions", "offsets", "gains")):
        gradient = (places[place] - getattr(after, name)) / eta  # loses six digits
        wanted = slope(lambda values, place=place: loss(values, place), places[place], 3e-4)
        if name == "directions":  # a step along the sphere falls short by its square
            gradient -= (gradient * state.directions).sum(axis=1, keepdims=True) * state.directions
        np.testing.assert_allclose(gradient, wanted, rtol=0, atol=1e-8, err_msg=name)


def test_a_code_lies_on_its_own_border():
    """Its own logit is 0, and the code is what is decoded: the logarithm of the hyperplane's point nearest to the center."""
    random = np.random.default_rng(1)
    for curvature in (0.1, 1.0, 4.0):
        rule = HyperVQ(curvature=curvature)
        state, root = rule.init(0.5 * random.normal(size=(20, 4))), curvature**0.5
        logits = hyperbolic_logits(state.codes, state.directions, state.offsets, state.gains, curvature)
        own, size = np.diag(logits), np.exp(2 * 2 * root * np.abs(state.offsets))
        assert (np.abs(own) <= 1e-15 * 4 * size).all()
        point = np.tanh(root * state.offsets)[:, None] / root * state.directions
        length = np.linalg.norm(point, axis=1, keepdims=True)
        np.testing.assert_allclose(np.arctanh(root * length) * point / (root * length), state.codes, rtol=1e-12)
        others = logits - np.diag(np.full(20, np.inf))
        lost = (others.max(axis=1) > 0).mean()
        assert measure.idempotence(rule, state) == pytest.approx(1 - lost)
        assert 0 < lost < 1


def test_idempotence_of_rules_that_assign_the_nearest_code():
    codes = np.random.default_rng(0).normal(size=(12, 3))
    for rule in (VQ(), SimVQ(), IBQ(similarity="l2")):
        assert measure.idempotence(rule, rule.init(codes)) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_latents_and_codes_far_beyond_the_ball_s_bend_do_not_overflow(dtype):
    """Where sinh would. There a code sees latents under almost no angle, and the shortest one wins all others."""
    rule = HyperVQ(0.1)
    state = rule.init(np.array([[300.0, 0.0], [0.0, 500.0]], dtype))
    after, info = rule.advance(state, Batches(np.array([[[900.0, 1.0], [1.0, 900.0]]], dtype)))
    assert info["assignment"].tolist() == [0, 0]
    assert all(np.isfinite(part).all() for part in after)


def test_grit_without_a_radius_is_simvq_from_another_start():
    """And a decoder whose radius is the distance doubles its step."""
    x, codes = np.random.default_rng(0).normal(size=(4, 16, 3)), np.random.default_rng(1).normal(size=(6, 3))
    simvq, plain = SimVQ(0.1, bias=False, start="published"), GRITVQ(0.1, radius=0.0, start="published")
    state = plain.init(codes)
    same = simvq.init(codes)._replace(theta=state.theta, codes=state.codes)
    np.testing.assert_array_equal(state.base, same.base)
    (one, _), (other, _) = plain.advance(state, Batches(x)), simvq.advance(same, Batches(x))
    np.testing.assert_allclose(one.codes, other.codes, rtol=1e-12, atol=1e-13)
    doubled, info = GRITVQ(0.05, start="published").advance(state, Batches(x))
    np.testing.assert_allclose(doubled.codes, one.codes, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(info["distortion"], plain.advance(state, Batches(x))[1]["distortion"], rtol=1e-12)


def test_a_radius_is_a_length():
    report = check_rule(GRITVQ(0.25, radius=0.5, rank=1), examples=10)
    assert report.ok, report


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_radius_beyond_the_range_of_a_type_is_its_limit(dtype):
    """No warning, and a latent on its code is within any radius above 0."""
    distance = np.array([0, 1e-20, 1, np.inf, np.nan], dtype)
    for radius, wanted in ((1e-300, [1, 0, 0, 0, 0]), (1e300, [1, 1, 1, 0, 0]), (np.float32("inf"), [1, 1, 1, 0, 0])):
        rule = GRITVQ(radius=radius)
        work = rule.workspace(rule.init(np.eye(2, dtype=dtype)))
        assert [gritvq.slope(one, work.radius) for one in distance] == wanted
        assert eval(repr(rule), {"GRITVQ": GRITVQ}) == rule


BAD = [
    (lambda: HyperVQ(curvature=0), "The 'curvature' parameter of HyperVQ must be a number > 0. Got 0."),
    (lambda: HyperVQ(temperature=-1), "The 'temperature' parameter of HyperVQ must be a number > 0. Got -1."),
    (lambda: HyperVQ().init(np.zeros((2, 2))), "HyperVQ needs codes of length > 0"),
    (lambda: GRITVQ(radius=-1), "The 'radius' parameter of GRITVQ must be a number >= 0. Got -1."),
    (lambda: GRITVQ(features=False), "an int >= 1 with features=False, which leaves nothing to train. Got 0."),
    (lambda: IBQ(temperature=0), "The 'temperature' parameter of IBQ must be a number > 0. Got 0."),
    (lambda: IBQ(entropy_temperature=-0.1), "The 'entropy_temperature' parameter of IBQ must be a number > 0. Got -0.1."),
    (lambda: IBQ(temperature=1e-50), "The 'temperature' parameter of IBQ must be a number >= 1.2e-38. Got 1e-50."),
    (lambda: Sinkhorn(temperature=1e-50), "The 'temperature' parameter of Sinkhorn must be a number >= 1.2e-38. Got 1e-50."),
    (lambda: IBQ(similarity="doot"), "did you mean 'dot'"),
]


@pytest.mark.parametrize(("make", "sentence"), BAD)
def test_bad_input_gets_one_clear_sentence(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


LEAST = 1.2e-38  # which float32 can divide by
SHARPEST = [
    HyperVQ(temperature=LEAST),
    IBQ(temperature=LEAST, entropy_temperature=LEAST),
    IBQ(similarity="l2", temperature=LEAST, entropy_temperature=LEAST),
    EntropyVQ(temperature=LEAST),
    CVQ(temperature=LEAST),
    Sinkhorn(temperature=LEAST),
]


@pytest.mark.parametrize("rule", SHARPEST, ids=repr)
def test_the_least_temperature_has_finite_codes_in_float32(rule):
    end = vq.simulate(rule, Stream(Gaussian(dim=3)), codes=8, steps=20, batch_size=16, dtype="float32", progress=False)
    assert end.codes.dtype == np.float32
    assert np.isfinite(end.codes).all()
