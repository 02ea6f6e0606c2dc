"""The estimator: scikit-learn's own checks, what its rule does to the codes, and what it refuses."""

import pickle
import re
from typing import NamedTuple

import numpy as np
import polars as pl
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from vqtheory import Batches
from vqtheory.cluster import OnlineKMeans
from vqtheory.rules import EMA, IBQ, NSVQ, VQ, CosineVQ, Replacement, Transport

EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "the order of the samples is drawn, as in scikit-learn's own KMeans"
}
CLOUD = np.random.default_rng(0).normal(size=(600, 3))
START = CLOUD[:5].copy()


def nearest(samples, codes):
    return np.argmin(np.sum((samples[:, None] - codes) ** 2, axis=2), axis=1)


@pytest.mark.filterwarnings("ignore:.* codes win no sample", "ignore:Skipping check")
@parametrize_with_checks(
    [OnlineKMeans(), OnlineKMeans(rule=VQ(0.5)), OnlineKMeans(rule=EMA(0.9)), OnlineKMeans(rule=NSVQ())],
    expected_failed_checks=lambda _: EXPECTED,
)
def test_scikit_learn_finds_nothing(estimator, check):
    check(estimator)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_batch_by_macqueen_is_a_step_of_lloyd(dtype):
    model = OnlineKMeans(5, init=START).partial_fit(CLOUD.astype(dtype))
    means = [CLOUD[nearest(CLOUD, START) == k].mean(axis=0) for k in range(5)]
    assert model.cluster_centers_.dtype == model.transform(CLOUD.astype(dtype)).dtype == dtype
    np.testing.assert_allclose(model.cluster_centers_, means, rtol=0, atol=600 * np.finfo(dtype).eps)


def test_batches_by_macqueen_are_those_of_mini_batch_kmeans():
    """Without its reassignment of rarely chosen codes."""
    ours = OnlineKMeans(5, init=START)
    theirs = MiniBatchKMeans(5, init=START, n_init=1, reassignment_ratio=0)
    for day in range(20):
        batch = CLOUD[30 * day :][:30] + 0.05 * day
        np.testing.assert_allclose(ours.partial_fit(batch).cluster_centers_, theirs.partial_fit(batch).cluster_centers_)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)


@pytest.mark.parametrize("scale", [1, 1e-3, 1e6])
def test_a_sample_is_met_as_often_as_it_weighs(scale):
    """Here w / mean(w) is 0, 1 or 2, so that nothing is rounded at random."""
    weight = np.tile([0, 1, 2, 1], 150)
    mean = np.average(CLOUD, axis=0, weights=weight)
    for model in (OnlineKMeans(1, max_iter=1), OnlineKMeans(1, batch_size=7, max_iter=3)):
        model.fit(CLOUD, sample_weight=scale * weight)
        np.testing.assert_allclose(model.cluster_centers_[0], mean, rtol=0, atol=1e-12)
        inertia = scale * np.sum(weight[:, None] * (CLOUD - mean) ** 2)
        assert -model.score(CLOUD, sample_weight=scale * weight) == pytest.approx(inertia) == model.inertia_
    model = OnlineKMeans(1).partial_fit(CLOUD, sample_weight=scale * weight)
    np.testing.assert_allclose(model.cluster_centers_[0], mean, rtol=0, atol=1e-12)


def test_weights_that_are_rounded_are_right_on_average():
    """Of 4,000 passes over two samples the light one, of weight 1 to 3, is met in half."""
    random = np.random.RandomState(0)
    model = OnlineKMeans(1, rule=Spy(), random_state=random, max_iter=4000, tol=None)
    model.fit([[0.0], [1.0]], sample_weight=[1, 3])
    assert np.mean(model.rule.latents()) == pytest.approx(0.75, abs=4 * np.sqrt(1 / 16 / 4000))


@pytest.mark.parametrize("init", ["random", "k-means++"])
def test_a_heavy_sample_is_one_of_the_first_codes(init):
    X = np.random.default_rng(0).normal(size=(20, 2))
    weight = np.where(np.arange(20) == 3, 60.0, 1.0)
    codes = OnlineKMeans(20, init=init)._start(X, weight, np.random.RandomState(1)).codes
    assert len(np.unique(codes, axis=0)) == 20


def test_fit_comes_near_lloyd():
    digits = load_digits().data
    lloyd = KMeans(10, n_init=1, random_state=0).fit(digits)
    start = KMeans(10, n_init=1, random_state=0, max_iter=1).fit(digits).cluster_centers_
    model = OnlineKMeans(10, init=start, random_state=0).fit(digits)
    assert 0.99 < model.inertia_ / lloyd.inertia_ < 1.02
    assert 5 < model.n_iter_ < 40
    labels = model.predict(digits)
    np.testing.assert_array_equal(labels, model.labels_)
    np.testing.assert_array_equal(labels, np.argmin(model.transform(digits), axis=1))
    np.testing.assert_array_equal(labels, clone(model).fit_predict(digits))
    assert model.inertia_ == -model.score(digits) == pytest.approx(np.sum(model.transform(digits).min(axis=1) ** 2))


def test_more_starts_and_passes_are_better():
    inertia = [OnlineKMeans(20, n_init=n, random_state=0).fit(CLOUD).inertia_ for n in (1, 2, 8)]
    assert inertia == sorted(inertia, reverse=True)
    assert inertia[-1] < inertia[0]
    longer = OnlineKMeans(20, random_state=0, tol=None, max_iter=60).fit(CLOUD)
    assert longer.n_iter_ == 60
    assert longer.inertia_ < inertia[0]


@pytest.mark.parametrize("init", ["k-means++", "random"])
def test_the_same_seed_gives_the_same_bits(init):
    one, other, third = (OnlineKMeans(8, init=init, random_state=seed).fit(CLOUD).cluster_centers_ for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, other)
    assert not np.array_equal(one, third)


class Counted(NamedTuple):
    codes: np.ndarray
    step: int


class Spy:
    """A rule of one's own, without a base class, that keeps what it is given and moves nothing."""

    def __init__(self):
        self.batches = []

    def init(self, codes, seed):
        return Counted(codes, 0)

    def advance(self, state, batches):
        self.batches += list(batches.x)
        return Counted(state.codes, state.step + len(batches.x)), {"hits": np.zeros(len(state.codes), int)}

    def latents(self):
        return np.concatenate(self.batches)


def test_a_pass_meets_every_sample_once_in_batches_as_equal_as_they_can_be():
    model = OnlineKMeans(5, rule=Spy(), batch_size=250, max_iter=1, init=START).fit(CLOUD[:599])
    assert sorted(map(len, model.rule.batches)) == [199, 200, 200]
    assert model.n_steps_ == 3
    met = model.rule.latents()
    assert not np.array_equal(met, CLOUD[:599])
    np.testing.assert_array_equal(np.sort(met, axis=0), np.sort(CLOUD[:599], axis=0))


@pytest.mark.parametrize("rule", [VQ(0.5), NSVQ(), Replacement(EMA(), every=2)], ids=repr)
def test_partial_fit_carries_the_state_of_the_rule(rule):
    days = [CLOUD[:100], CLOUD[100:350], CLOUD[350:], CLOUD[:1]]
    model = OnlineKMeans(5, rule=rule, init=START, random_state=3)
    state = None
    for day in days:
        model = pickle.loads(pickle.dumps(model)).partial_fit(day)
        state = state or rule.init(START, np.random.RandomState(3).randint(2**31 - 1))
        state, _ = rule.advance(state, Batches(day[None]))
        np.testing.assert_array_equal(model.cluster_centers_, state.codes)
        np.testing.assert_array_equal(model.labels_, model.predict(day))
    assert model.n_steps_ == 4
    fitted = OnlineKMeans(5, rule=rule, batch_size=600, max_iter=1).fit(CLOUD)
    assert fitted.partial_fit(CLOUD.astype("float32")).n_steps_ == 2
    assert fitted.cluster_centers_.dtype == np.float64
    assert not hasattr(clone(fitted), "state_")


def test_codes_follow_a_drift_as_their_rule_does():
    """One code on days that move by v: the mean of all days is v (n - 1) / 2 behind the last, VQ is v (1 - eta) / eta."""
    days = [CLOUD - CLOUD.mean(axis=0) + 0.1 * day for day in range(60)]
    behind = {}
    for rule, lag in {None: 0.1 * 59 / 2, VQ(0.25): 0.1 * 0.75 / 0.25}.items():
        model = OnlineKMeans(1, rule=rule, init=days[0].mean(axis=0, keepdims=True))
        for day in days:
            model.partial_fit(day)
        np.testing.assert_allclose(days[-1].mean(axis=0) - model.cluster_centers_[0], lag, rtol=1e-6)
        behind[rule] = lag
    assert behind[None] > 9 * behind[VQ(0.25)]


def test_rules_that_compare_elsewhere_are_asked():
    """On the sphere scale does not matter; by dot product a long code wins what a short one is nearer to."""
    sphere = OnlineKMeans(5, rule=CosineVQ(0.5), random_state=0).fit(CLOUD)
    np.testing.assert_array_equal(sphere.predict(CLOUD), sphere.predict(7 * CLOUD))
    np.testing.assert_allclose(sphere.transform(CLOUD), sphere.transform(7 * CLOUD), atol=1e-12)
    np.testing.assert_array_equal(sphere.predict(CLOUD), np.argmin(sphere.transform(CLOUD), axis=1))
    product = OnlineKMeans(2, rule=IBQ(1e-9), init=[[1.0, 0.0], [9.0, 0.0]]).partial_fit([[1.0, 0.0]])
    assert product.predict([[1.0, 0.0]]) == [1]


@pytest.mark.parametrize("kind", ["polars", "pandas"])
def test_frames_keep_their_names_and_their_float32(kind):
    library = pytest.importorskip(kind)
    names = ["width", "height", "depth"]
    frame = library.DataFrame(dict(zip(names, CLOUD.astype("float32").T, strict=True)))
    model = OnlineKMeans(4, random_state=0).set_output(transform=kind)
    for fit in (model.fit, model.partial_fit):
        fit(frame)
        assert list(model.feature_names_in_) == names
        assert model.cluster_centers_.dtype == np.float32
    assert list(model.transform(frame).columns) == [f"onlinekmeans{k}" for k in range(4)]
    np.testing.assert_array_equal(model.get_feature_names_out(), model.transform(frame).columns)
    with pytest.raises(ValueError, match="same order"):
        model.partial_fit(frame[names[::-1]])


def test_it_takes_its_place_in_a_pipeline_and_a_search():
    frame = pl.DataFrame(CLOUD)
    search = GridSearchCV(OnlineKMeans(6, random_state=0), {"rule": [VQ(1e-4), VQ(0.5)], "n_init": [2]}, cv=2)
    pipeline = make_pipeline(StandardScaler(), search).fit(frame)
    assert search.best_params_["rule"] == VQ(0.5)
    assert set(pipeline.predict(frame)) == set(range(6))
    assert pipeline.transform(frame).shape == (600, 6)


BAD = [
    ({"n_clusters": 0}, "The 'n_clusters' parameter of OnlineKMeans must be an int >= 1. Got 0."),
    ({"n_clusters": 601}, "must be at most the number of samples to start from, n_samples=600. Got 601."),
    ({"batch_size": 0.5}, "The 'batch_size' parameter of OnlineKMeans must be an int >= 1. Got 0.5."),
    ({"n_init": -1}, "The 'n_init' parameter of OnlineKMeans must be an int >= 1. Got -1."),
    ({"max_iter": None}, "The 'max_iter' parameter of OnlineKMeans must be an int >= 1. Got None."),
    ({"tol": -1e-4}, "The 'tol' parameter of OnlineKMeans must be a number >= 0 and <= 1. Got -0.0001."),
    ({"init": "kmeans++"}, "Got 'kmeans++' (known: k-means++, random; did you mean 'k-means++'?)."),
    ({"init": START[:4]}, "The 'init' parameter of OnlineKMeans must be n_clusters=8 codes. Got (4, 3)."),
    ({"init": START[:, :2]}, "The 'init' parameter of OnlineKMeans must be a [rows, 3] array of numbers"),
    ({"rule": "nsvq"}, "The 'rule' parameter of OnlineKMeans must be a rule such as VQ(0.05)"),
    ({"rule": NSVQ}, "Got the class NSVQ."),
    ({"rule": Transport(VQ())}, "must be a rule that does not need to know how far each sample has moved"),
    ({"n_clusters": 1, "rule": VQ(30.0), "batch_size": 1}, "grew beyond what a number can hold. Make its step_size smaller"),
]


@pytest.mark.parametrize(("parameters", "sentence"), BAD, ids=str)
def test_bad_parameters_are_refused(parameters, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        OnlineKMeans(**parameters).fit(CLOUD)


@pytest.mark.parametrize("weight", [np.zeros(600), np.full(600, -1.0), np.ones(599), np.full(600, np.nan)], ids=str)
def test_bad_weights_are_refused(weight):
    for method in (OnlineKMeans().fit, OnlineKMeans().partial_fit, OnlineKMeans().fit(CLOUD).score):
        with pytest.raises(ValueError, match="The 'sample_weight' parameter of OnlineKMeans must be"):
            method(CLOUD, sample_weight=weight)


def test_sparse_data_are_refused():
    with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is required"):
        OnlineKMeans().fit(sparse.csr_array(CLOUD))


def test_codes_that_win_nothing_are_said():
    with pytest.warns(ConvergenceWarning, match="3 of the 5 codes win no sample"):
        OnlineKMeans(5).fit(np.repeat([[0.0], [1.0]], 10, axis=0))
