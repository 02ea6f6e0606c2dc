"""A graph of codes: features of each code, and which codes are neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np

from vqtheory._base import check
from vqtheory._base.files import load_columns
from vqtheory._base.randomness import Purpose, generator

KINDS = ("adjective", "noun")
FEATURES = 64  # of a code in a graph of two kinds
_DEGREE = 8  # adjectives that a noun is seen with, at most


class Neighbours(NamedTuple):
    """(A + I) by its rows, as a kernel reads them, and what normalises it."""

    first: np.ndarray  # int [K + 1], where each code's neighbours begin
    other: np.ndarray  # int, the neighbours, each code its own first one
    root: np.ndarray  # float [K], 1 / sqrt(degree), the degree with the edge to itself


@dataclass(frozen=True, eq=False)
class Graph:
    """Of K codes."""

    features: np.ndarray  # float [K, P]
    edges: np.ndarray  # int [E, 2], the smaller number first, each edge once

    @cached_property
    def neighbours(self) -> Neighbours:
        """As kernels read them."""
        return _neighbours(self.edges, len(self.features))


def read(path: str) -> tuple[Any, Any]:
    """Features and edges of a file: the arrays of a .npz file; of a .parquet file a row for each code, a list of numbers
    and a list of its neighbours."""
    features, edges = load_columns(path, ("features", "edges"))
    if not path.lower().endswith(".parquet"):
        return features, edges
    for code, others in enumerate(edges):
        if not isinstance(others, (list, type(None))):
            requirement = "a list of the numbers of its neighbours for each code"
            raise ValueError(f"The 'edges' of {path!r} must be {requirement}. Got {check.short(others)} for code {code}.")
    return features, [(code, other) for code, others in enumerate(edges) for other in others or []]


def nouns_in(path: str, num_codes: int) -> np.ndarray:
    """Which codes a file calls nouns, bool [K]; its other codes are adjectives."""
    (column,) = load_columns(path, ("kind",))
    kinds = np.asarray(column, dtype=object)
    if kinds.shape != (num_codes,):
        raise ValueError(f"The 'kind' of {path!r} must be one for each of {num_codes} codes. Got shape {kinds.shape}.")
    for code, kind in enumerate(kinds):
        if kind not in KINDS:
            raise ValueError(f"The 'kind' of {path!r} must be one of {', '.join(KINDS)}. Got {kind!r} for code {code}.")
    return kinds == "noun"


def checked(owner: str, features: Any, edges: Any) -> Graph:
    """The graph of these features [K, P] and edges [E, 2]; says which edges it merges, and which codes have none."""
    features = check.matrix(owner, "features", features)
    edges = np.sort(_pairs(owner, edges, len(features)), axis=1)
    single = np.unique(edges[edges[:, 0] != edges[:, 1]], axis=0).astype(np.int64)
    alone = np.setdiff1d(np.arange(len(features)), single)
    if len(alone):
        check.warn(
            f"{len(alone)} of the {len(features)} codes of {owner} have no edge, the first of them code {alone[0]}: each is "
            "made from its own features alone."
        )
    return Graph(features, single)


def _pairs(owner: str, edges: Any, num_codes: int) -> np.ndarray:
    requirement = f"an array [edges, 2] of ints >= 0 and < {num_codes}, the numbers of the two codes"
    pairs = check.array(owner, "edges", edges, requirement)
    if pairs.size == 0:
        return np.empty((0, 2), np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise ValueError(
            f"The 'edges' parameter of {owner} must be {requirement}. Got shape {pairs.shape} and dtype {pairs.dtype}."
        )
    outside = np.argwhere((pairs < 0) | (pairs >= num_codes))
    if len(outside):
        row, column = outside[0].tolist()
        raise ValueError(
            f"The 'edges' parameter of {owner} must be {requirement}. Got {pairs[row, column]} at index ({row}, {column})."
        )
    repeated = len(pairs) - len(np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0))
    if repeated:
        check.warn(
            f"{repeated} of the {len(pairs)} edges of {owner} are repeated or lead from a code to itself: each counts once, "
            "and every code has an edge to itself as it is."
        )
    return pairs


def _neighbours(edges: np.ndarray, num_codes: int) -> Neighbours:
    """Both ends of every edge, by code."""
    codes = np.arange(num_codes)
    here = np.concatenate([codes, edges[:, 0], edges[:, 1]])
    there = np.concatenate([codes, edges[:, 1], edges[:, 0]])
    order = np.argsort(here, kind="stable")
    degree = np.bincount(here, minlength=num_codes)
    return Neighbours(np.concatenate([[0], np.cumsum(degree)]), there[order], degree**-0.5)


def edges_of_two_kinds(num_codes: int) -> np.ndarray:
    """A graph in which every noun is seen with up to eight adjectives: edges [E, 2], the same for the same K.

    The first half of the codes are adjectives, of which some are far more common than others. Two codes alone are not
    joined: both would be one.
    """
    adjectives, random = num_codes // 2, generator(num_codes, Purpose.RULE, 2)
    if num_codes <= 2:
        return np.empty((0, 2), np.int64)
    seen = (adjectives * random.random((num_codes - adjectives, _DEGREE)) ** 2).astype(np.int64)
    nouns = np.broadcast_to(np.arange(adjectives, num_codes)[:, None], seen.shape)
    return np.unique(np.stack([seen.ravel(), nouns.ravel()], axis=1), axis=0)


@lru_cache(maxsize=4)
def neighbours_of_two_kinds(num_codes: int) -> Neighbours:
    """In the graph of two kinds, as kernels read them."""
    return _neighbours(edges_of_two_kinds(num_codes), num_codes)


def features_of_two_kinds(num_codes: int, random: np.random.Generator) -> np.ndarray:
    """Gaussian features [K, P] about the mean of each kind, itself Gaussian, of a length of about 1."""
    kind = (np.arange(num_codes) >= num_codes // 2).astype(int)
    features = random.standard_normal((2, FEATURES))[kind] + random.standard_normal((num_codes, FEATURES))
    return features / (2 * FEATURES) ** 0.5
