"""GraphVQ: two graph convolutions over frozen features make all codes (Zhang et al., VQCT, arXiv 2403.10071).

    H = relu(A E W + b)                    features E [K, P], W [P, M]
    C = A H V + v_0                        V [M, D]
    A = N^-1/2 (I + edges) N^-1/2          N the number of neighbours of each code, itself among them

In the paper the codes are words: E are features of a text model, and edges join adjectives and nouns that were seen
together. Gradient descent acts on W, b, V and v_0 alone. With G_k = p_k (c_k - m_k), a step of the second layer moves the
codes by -eta (F F^T + 1 1^T) G, F = A H: codes with like neighbours move together. Dropout in the hidden layer, of which the
published code has one half, would make another codebook at every step: there is none here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory._base import check
from vqtheory._kernels.jit import kernel
from vqtheory.rules._graph import (
    FEATURES,
    Graph,
    Neighbours,
    checked,
    features_of_two_kinds,
    neighbours_of_two_kinds,
    nouns_in,
    read,
)
from vqtheory.rules._layers import sum_rows
from vqtheory.rules.maps import MapRule, MapState, backward, forward


@dataclass(frozen=True, repr=False, eq=False)
class GraphVQ(MapRule):
    """A codebook that two graph convolutions make of frozen features.

    Start, from the seed of `init`: weights ~ U(-b, b), b = sqrt(6 / (inputs + outputs)), and biases 0.

    Parameters
    ----------
    step_size : float or schedule, default 5e-4
        eta, for the loss E|x - c_q(x)|^2 / 2. A matched start with scale s measures the loss in units of s^2, as in
        `TransVQ`.
    features : array [K, P] or path, optional
        The features of the codes, whose number they fix. Or a file that holds features and edges: a .npz file with the
        arrays "features" and "edges"; or a .parquet file with a row for each code and the columns "features", lists of
        numbers, and "edges", lists of the numbers of its neighbours. For the two branches of `vqtheory.nn.models.VQCT` it
        has "kind" as well, "adjective" or "noun" for each code. It is read when it is first needed. By default a graph
        of two kinds, for any number of codes: half of them are nouns, each seen with up to eight of the other half, the
        adjectives; and Gaussian features from the seed of `init`.
    edges : array [edges, 2], optional
        The numbers of the codes that each edge joins, in whatever order; with an array of features only. A code without an
        edge is made from its own features. An edge counts once: repeated ones are merged, with a warning.
    width : int, default 256
        M, of the hidden layer.
    optimizer : {"adam", "sgd"}, default "adam"
        Adam has betas 0.9 and 0.999 and epsilon 1e-8; the published code has 0.5 and 0.9.
    start : {"matched", "published"}, default "matched"
        "matched" scales the map's output by one number and shifts it, by constants, to the mean and the root mean square
        spread of the codes given; "published" leaves it.

    Raises
    ------
    ValueError
        For values out of range; for features that are not finite, with the index of the first; for edges to codes that are
        not there; for a file that cannot be read; from `init` for a number of codes that the features do not have, and
        where a matched start is given codes without spread; from `advance` for latents that do not fit the codes or are not
        finite.
    FileNotFoundError
        For a file that is not there.

    Examples
    --------
    >>> rule = GraphVQ(features=np.eye(3), edges=[[0, 2], [1, 2]], width=4)
    >>> state = rule.init(np.array([[1.0, 2.0], [3.0, 2.0], [2.0, 5.0]]), seed=0)
    >>> np.round(state.codes.mean(axis=0), 12)
    array([2., 3.])
    >>> {name: array.shape for name, array in rule.parameters(state).items()}
    {'inner': (3, 4), 'inner_bias': (4,), 'outer': (4, 2), 'outer_bias': (2,)}
    """

    step_size: Any = 5e-4
    features: Any = None
    edges: Any = None
    width: int = 256
    optimizer: str = "adam"
    start: str = "matched"

    key: ClassVar[str] = "graph"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._keep(width=check.integer("GraphVQ", "width", self.width))
        from_file = isinstance(self.features, (str, Path))
        if from_file and Path(check.path("GraphVQ", "features", self.features)).suffix not in (".npz", ".parquet"):
            requirement = "an array or the path of a .npz or .parquet file"
            raise check.fail("GraphVQ", "features", requirement, str(self.features))
        if (self.edges is None) != (from_file or self.features is None):
            requirement = "given with an array of features, and only then"
            raise check.fail("GraphVQ", "edges", requirement, self.edges)
        if from_file:
            self._keep(features=str(self.features))
        elif self.features is not None:
            graph = checked("GraphVQ", self.features, self.edges)
            self._keep(features=graph.features, edges=graph.edges)

    def __eq__(self, other: object) -> bool:
        """Whether the other one has the same text, which names arrays by their content."""
        return type(other) is GraphVQ and repr(other) == repr(self)

    def __hash__(self) -> int:
        return hash(repr(self))

    @property
    def files(self) -> tuple[str, ...]:
        """The path of the graph, where it is in a file."""
        return (self.features,) if isinstance(self.features, str) else ()

    @cached_property
    def _graph(self) -> Graph | None:
        """Features and edges; None for those of two kinds, which depend on the number of codes."""
        if isinstance(self.features, str):
            return checked(f"GraphVQ({self.features!r})", *read(self.features))
        return None if self.features is None else Graph(self.features, self.edges)

    def neighbours(self, num_codes: int) -> Neighbours:
        """Which codes are joined, for so many."""
        if self._graph is None:
            return neighbours_of_two_kinds(num_codes)
        nodes = len(self._graph.features)
        if num_codes != nodes:
            raise ValueError(f"The codes of {self!r} must be as many as its features have rows: {nodes}. Got {num_codes}.")
        return self._graph.neighbours

    def nouns(self, num_codes: int) -> np.ndarray:
        """Which codes are nouns, bool [K], of so many; the others are adjectives."""
        if isinstance(self.features, str):
            return nouns_in(self.features, num_codes)
        if self.features is not None:
            requirement = "left out, or a file with the kind of each code, which tells adjectives from nouns"
            raise check.fail("GraphVQ", "features", requirement, self.features)
        return np.arange(num_codes) >= num_codes // 2

    def base_width(self, dim: int) -> int:
        return FEATURES if self._graph is None else self._graph.features.shape[1]

    def draw_base(self, num_codes: int, dim: int, random: np.random.Generator) -> np.ndarray:
        """A E, all that the map needs of the features."""
        first, other, root = self.neighbours(num_codes)
        features = features_of_two_kinds(num_codes, random) if self._graph is None else self._graph.features
        return root[:, None] * np.add.reduceat((root[:, None] * features)[other], first[:-1], axis=0)

    def shapes(self, num_codes: int, dim: int) -> GraphParameters:
        self.neighbours(num_codes)  # refuses another number of codes than the graph has
        return GraphParameters(
            inner=(self.base_width(dim), self.width),
            inner_bias=(self.width,),
            outer=(self.width, dim),
            outer_bias=(dim,),
        )

    def draw(self, parameters: GraphParameters, random: np.random.Generator) -> None:
        for array in (parameters.inner, parameters.outer):
            bound = math.sqrt(6 / sum(array.shape))
            array[...] = random.uniform(-bound, bound, array.shape)

    def workspace(self, state: MapState) -> GraphWorkspace:
        (num_codes, dim), dtype = state.codes.shape, state.base.dtype
        first, other, root = self.neighbours(num_codes)
        hidden, mixed = np.empty((num_codes, self.width), dtype), np.empty((num_codes, dim), dtype)
        return GraphWorkspace(first, other, root.astype(dtype), hidden, mixed)


class GraphParameters(NamedTuple):
    """Views of theta."""

    inner: Any  # [P, M], W
    inner_bias: Any  # [M], b
    outer: Any  # [M, D], V
    outer_bias: Any  # [D], v_0


class GraphWorkspace(NamedTuple):
    """The graph, and what forward leaves for backward."""

    first: Any  # [K + 1]
    other: Any
    root: Any  # [K]
    hidden: Any  # [K, M], H
    mixed: Any  # [K, D]


@forward.register(GraphParameters)
@kernel
def _forward(parameters, base, work, raw):
    """IN parameters (p), base [K, P], which is A E; OUT work, raw [K, D]."""
    p, hidden = parameters, work.hidden
    np.dot(base, p.inner, hidden)
    for k in range(hidden.shape[0]):
        for j in range(hidden.shape[1]):
            hidden[k, j] = max(hidden[k, j] + p.inner_bias[j], 0)
    np.dot(hidden, p.outer, work.mixed)
    _spread(work, work.mixed, raw)
    raw += p.outer_bias


@backward.register(GraphParameters)
@kernel
def _backward(parameters, base, work, gradient, pulled):
    """IN parameters, base, work, gradient [K, D] of raw; OUT pulled, the gradient of the parameters."""
    hidden, dmixed = work.hidden, work.mixed
    sum_rows(gradient, pulled.outer_bias)
    _spread(work, gradient, dmixed)  # A is symmetric
    np.dot(hidden.T, dmixed, pulled.outer)
    dhidden = np.dot(dmixed, parameters.outer.T)
    for k in range(hidden.shape[0]):
        for j in range(hidden.shape[1]):
            if not hidden[k, j] > 0:
                dhidden[k, j] = 0
    np.dot(base.T, dhidden, pulled.inner)
    sum_rows(dhidden, pulled.inner_bias)


@kernel
def _spread(work, rows, result):
    """OUT result [K, D]: A rows."""
    result[:] = 0
    for k in range(len(rows)):
        for i in range(work.first[k], work.first[k + 1]):
            other = work.other[i]
            weight = work.root[k] * work.root[other]
            for d in range(rows.shape[1]):
                result[k, d] += weight * rows[other, d]
