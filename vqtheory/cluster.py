"""Online k-means for scikit-learn: an estimator whose codebook moves by any rule of the package."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.cluster import kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from vqtheory._base import check
from vqtheory.protocols import Batches, Rule, State
from vqtheory.rules import VQ
from vqtheory.rules.base import assign, declared
from vqtheory.schedules import harmonic
from vqtheory.simulation.contract import held_answer, held_state
from vqtheory.simulation.summary import cure

__all__ = ["OnlineKMeans"]

_MACQUEEN = VQ(harmonic(1.0), clock="wins")
_CALL = 2**22  # numbers that are copied for one call of `advance`


class OnlineKMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator):
    """K-means on samples that come one batch after the other, by any rule of `vqtheory.rules`.

    By default the rule is MacQueen's, as in the `partial_fit` of scikit-learn's MiniBatchKMeans: the code c_k nearest to a
    sample x goes towards it,

        c_k <- c_k + (x - c_k) / n_k,

    with n_k the samples that it has won, this one included, so that a code is the mean of all that it has ever won. Its
    steps end, which is right for data that stay where they are. For data that drift take a rule whose steps do not end,
    such as ``VQ(0.5)``, or one that moves the codes which win nothing as well, such as ``NSVQ()``.

    Parameters
    ----------
    n_clusters : int, default 8
        K, the number of codes.
    rule : Rule, optional
        How the codes move; by default ``VQ(harmonic(1.0), clock="wins")``. A rule that needs to know how far each sample
        has moved by itself is refused.
    batch_size : int, default 1024
        `fit` cuts the data into batches of at most so many samples, as equal as they can be. `partial_fit` takes what it
        is given as one batch.
    n_init : int, default 1
        `fit` starts so often, and keeps the codes of the lowest inertia.
    random_state : int, RandomState or None, default None
        Of the first codes, of the order of the samples, and of what the rule draws. An int gives the same bits again.
    init : {"k-means++", "random"} or array [K, D], default "k-means++"
        The first codes: samples that lie far apart, any samples, or these. They are chosen among at most
        max(20 K, 3 batch_size) samples.
    max_iter : int, default 100
        The most passes over the data in `fit`. The default ends only rules that do not come to rest.
    tol : float or None, default 1e-4
        `fit` ends after the first pass that lowers the inertia by less than this fraction of it; None for `max_iter`
        passes. The inertia ends it, and not the moves of the codes, because a rule whose steps do not end moves for ever.
        MacQueen's steps fall as 1 / passes, and the default ends it after 2 to 30 passes: with separate clusters at the
        inertia of scikit-learn's KMeans from the same start, 1 % above it on its digits in 10 clusters, and 3 % above it
        on a Gaussian cloud in 64.

    Attributes
    ----------
    cluster_centers_ : float [K, D]
        The codes, in the dtype of the data, float32 or float64.
    labels_ : int64 [N]
        The code of each sample of the last `fit` or `partial_fit`.
    inertia_ : float
        Their sum of squared distances to their codes, by weight.
    n_iter_ : int
        Passes over the data in `fit`.
    n_steps_ : int
        Updates of the codebook so far, one for each batch.
    state_ : State
        The state of the rule, from which `partial_fit` goes on.
    n_features_in_ : int
        D.
    feature_names_in_ : str [D]
        Names of the columns, of a data frame.

    Notes
    -----
    A sample of weight w is met w / mean(w) times in a pass, or in a batch of `partial_fit`, rounded at random to one of
    the two neighbouring whole numbers by systematic sampling. The step of every rule is then the step that it has without
    weights. A weight inside the rule would throw a code past the first sample that it wins, by MacQueen's gain 1 / n_k.

    References
    ----------
    MacQueen 1967, Some methods for classification and analysis of multivariate observations.

    Examples
    --------
    >>> import numpy as np
    >>> days = [np.array([[0.0], [0.2], [10.0], [10.2]]) + 0.1 * day for day in range(20)]
    >>> model = OnlineKMeans(2, random_state=0)
    >>> for day in days:
    ...     model = model.partial_fit(day)
    >>> np.sort(model.cluster_centers_.ravel()).round(3)  # the means of all twenty days
    array([ 1.05, 11.05])

    A rule whose steps do not end stays near the last day, whose means are 2 and 12:

    >>> model = OnlineKMeans(2, rule=VQ(1.0), random_state=0)
    >>> for day in days:
    ...     model = model.partial_fit(day)
    >>> np.sort(model.cluster_centers_.ravel()).round(3)
    array([ 1.9, 11.9])
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        rule: Rule | None = None,
        batch_size: int = 1024,
        n_init: int = 1,
        random_state: Any = None,
        init: Any = "k-means++",
        max_iter: int = 100,
        tol: float | None = 1e-4,
    ) -> None:
        self.n_clusters = n_clusters
        self.rule = rule
        self.batch_size = batch_size
        self.n_init = n_init
        self.random_state = random_state
        self.init = init
        self.max_iter = max_iter
        self.tol = tol

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Start anew, and pass over the data [N, D] until the inertia hardly falls.

        Raises `ValueError` for parameters out of range, data that are not finite or sparse, fewer samples than codes,
        negative weights, and a rule that diverges. Warns where codes are left that win no sample.
        """
        self._check_parameters()
        X = self._data(X, reset=True)
        weight = _weights(sample_weight, len(X))
        random = check_random_state(self.random_state)
        best = min((self._run(X, weight, random) for _ in range(self.n_init)), key=lambda run: run.inertia)
        self.n_iter_, self._random = best.passes, random
        return self._keep(*best[1:])._warned()

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """One update of the codes by one batch [N, D], from where `fit` or the call before has left the rule.

        The first call chooses the first codes among its samples. Raises `ValueError` as `fit` does.
        """
        self._check_parameters()
        first = not hasattr(self, "state_")
        X = self._data(X, reset=first)
        weight = _weights(sample_weight, len(X))
        if first:
            self._random = check_random_state(self.random_state)
        state = self._start(X, weight, self._random) if first else self.state_
        batch = X if sample_weight is None else X[_drawn(weight, self._random)]
        state = self._advanced(state, batch[None].astype(state.codes.dtype, copy=False))
        return self._keep(state, *self._sorted_in(X, weight, state))

    def predict(self, X: Any) -> np.ndarray:
        """The code of each sample [N, D] as the rule assigns in evaluation, int64 [N]: the nearest one by most rules."""
        check_is_fitted(self)
        return assign(self._rule, self._data(X), self.state_)

    def transform(self, X: Any) -> np.ndarray:
        """Euclidean distances of samples [N, D] to all codes, float [N, K], in the dtype of the samples."""
        check_is_fitted(self)
        X = self._data(X)
        return cdist(self._compared(X), self.cluster_centers_).astype(X.dtype, copy=False)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Minus the sum of squared distances of samples [N, D] to their codes, by weight: the higher, the better."""
        check_is_fitted(self)
        X = self._data(X)
        return -self._sorted_in(X, _weights(sample_weight, len(X)), self.state_)[1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        """For the names of what `transform` returns."""
        return len(self.cluster_centers_)

    @property
    def _rule(self) -> Rule:
        return _MACQUEEN if self.rule is None else self.rule

    def _check_parameters(self) -> None:
        owner = type(self).__name__
        for name in ("n_clusters", "batch_size", "n_init", "max_iter"):
            check.integer(owner, name, getattr(self, name))
        if self.tol is not None:
            check.real(owner, "tol", self.tol, 0, 1)
        if isinstance(self.init, str):
            check.choice(owner, "init", self.init, ["k-means++", "random"])
        for method in ("init", "advance"):
            if isinstance(self._rule, type) or not callable(getattr(self._rule, method, None)):
                raise check.fail(owner, "rule", f"a rule such as VQ(0.05), with a method {method!r}, or None", self.rule)
        if declared(self._rule, "needs_displacement"):
            requirement = "a rule that does not need to know how far each sample has moved; vqtheory.simulate runs those"
            raise check.fail(owner, "rule", requirement, self.rule)

    def _data(self, X: Any, reset: bool = False) -> np.ndarray:
        """Samples as the kernels read them: float32 or float64, in order, and writable, for which they are compiled."""
        X = validate_data(self, X, reset=reset)
        return np.require(X, X.dtype if X.dtype == np.float32 else np.float64, ["C", "W"])

    def _compared(self, X: np.ndarray) -> np.ndarray:
        """Samples where the rule compares them with its codes."""
        return declared(self._rule, "project")(X)

    def _run(self, X: np.ndarray, weight: np.ndarray, random: np.random.RandomState) -> _Outcome:
        """Passes over the data from one start, until the inertia hardly falls."""
        state, last = self._start(X, weight, random), np.inf
        for passes in range(1, self.max_iter + 1):
            for batches in _cut(X, random.permutation(_drawn(weight, random)), self.batch_size):
                state = self._advanced(state, batches)
            outcome = _Outcome(passes, state, *self._sorted_in(X, weight, state))
            if self.tol is not None and outcome.inertia >= (1 - self.tol) * last:
                break
            last = outcome.inertia
        return outcome

    def _start(self, X: np.ndarray, weight: np.ndarray, random: np.random.RandomState) -> State:
        """The state of the rule at its first codes."""
        rows = random.permutation(_drawn(weight, random))
        is_random = isinstance(self.init, str) and self.init == "random"
        if is_random or len(np.unique(rows)) < self.n_clusters:
            rows = _distinct(np.concatenate([rows, np.flatnonzero(weight)]))
        rows = rows[: max(20 * self.n_clusters, 3 * self.batch_size)]
        codes = self._first_codes(X[rows], random).astype(X.dtype)
        owner = f"{type(self._rule).__name__}.init"
        return held_state(owner, self._rule.init(codes, int(random.randint(2**31 - 1))), codes.shape)

    def _first_codes(self, X: np.ndarray, random: np.random.RandomState) -> np.ndarray:
        """Codes [K, D] as given, or chosen among these samples, which are in random order."""
        owner = type(self).__name__
        if not isinstance(self.init, str):
            codes = check.matrix(owner, "init", self.init, columns=X.shape[1])
            if len(codes) != self.n_clusters:
                raise check.fail(owner, "init", f"n_clusters={self.n_clusters} codes", codes.shape)
            return codes
        if self.n_clusters > len(X):
            requirement = f"at most the number of samples to start from, n_samples={len(X)}"
            raise check.fail(owner, "n_clusters", requirement, self.n_clusters)
        if self.init == "random":
            return X[: self.n_clusters]
        return kmeans_plusplus(X, self.n_clusters, random_state=random)[0]

    def _advanced(self, state: State, batches: np.ndarray) -> State:
        """The state after updates by batches [T, B, D]."""
        state, _ = held_answer(self._rule, self._rule.advance(state, Batches(batches)), state.codes)
        if not np.isfinite(state.codes).all():
            raise ValueError(f"The codes of {self._rule!r} grew beyond what a number can hold. {cure(self._rule)}")
        return state

    def _sorted_in(self, X: np.ndarray, weight: np.ndarray, state: State) -> tuple[np.ndarray, float]:
        """The code of each sample, and the sum of squared distances by weight."""
        labels = assign(self._rule, X, state)
        squared = np.sum((self._compared(X) - state.codes[labels]) ** 2, axis=1, dtype=np.float64)
        return labels, float(weight @ squared)

    def _keep(self, state: State, labels: np.ndarray, inertia: float) -> Self:
        self.state_, self.cluster_centers_, self.n_steps_ = state, state.codes, int(state.step)
        self.labels_, self.inertia_ = labels, inertia
        return self

    def _warned(self) -> Self:
        """The same, after a warning where codes win no sample."""
        dead = len(self.cluster_centers_) - len(np.unique(self.labels_))
        if dead:
            message = f"{dead} of the {self.n_clusters} codes win no sample: take fewer, or a larger n_init."
            warnings.warn(message, ConvergenceWarning, stacklevel=3)
        return self


class _Outcome(NamedTuple):
    """Where a run from one start has ended."""

    passes: int
    state: State
    labels: np.ndarray
    inertia: float


def _weights(sample_weight: Any, size: int) -> np.ndarray:
    """Weights [N], float64; 1 where none are given."""
    if sample_weight is None:
        return np.ones(size)
    weight = check.vector("OnlineKMeans", "sample_weight", sample_weight, size)
    if weight.min() < 0 or not weight.any():
        raise check.fail("OnlineKMeans", "sample_weight", "numbers >= 0, not all zero", sample_weight)
    return weight


def _drawn(weight: np.ndarray, random: np.random.RandomState) -> np.ndarray:
    """As many rows as there are weights: row i about weight_i / mean(weight) times, and once each where all are equal."""
    ends = np.cumsum(weight) / weight.mean()
    rows = np.searchsorted(ends, random.uniform() + np.arange(len(weight)), side="right")
    return np.minimum(rows, np.flatnonzero(weight)[-1])  # the last end may be rounded down


def _distinct(rows: np.ndarray) -> np.ndarray:
    """Each row once, in the order in which they come: a sample of large weight is one code, not several equal ones."""
    return rows[np.sort(np.unique(rows, return_index=True)[1])]


def _cut(X: np.ndarray, rows: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """The rows as batches [T, B, D] of at most `most` samples, as equal as they can be."""
    count = -(-len(rows) // most)
    size, larger = divmod(len(rows), count)
    cut = larger * (size + 1)
    for part in (rows[:cut].reshape(larger, size + 1), rows[cut:].reshape(count - larger, size)):
        at_once = max(1, _CALL // (part.shape[1] * X.shape[1]))
        for first in range(0, len(part), at_once):
            yield X[part[first : first + at_once]]
