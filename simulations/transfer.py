"""Whether it helps GraphVQ that its frozen features have a structure: against Gaussian ones with the same singular values.

Structured features are clusters, of words that mean about the same. Both kinds of features are met on three graphs: nouns
with adjectives of their own cluster, with adjectives at random, and no edges; by latents in clusters, which know nothing of
the features', or in one Gaussian, that stay or move along the diagonal. A row per run: the share of
codes used and their perplexity in the last tenth, and the distortion over the latents' variance.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import product

import numpy as np
import polars as pl

import vqtheory as vq
from simulations.tables import run_all
from vqtheory.rules import GraphVQ
from vqtheory.rules._graph import edges_of_two_kinds
from vqtheory.streams import Gaussian, Mixture, Source, Stream, Translation

CODES, WIDTH, DIM, CLUSTERS = 256, 64, 8, 16
SCATTER = 0.3  # of features in a cluster, in units of the clusters' own scatter
SPEEDS = (0.0, 0.01)  # per update, in units of the latents' deviation
STEPS, STEPS_FAST = 2000, 800
SEEDS, SEEDS_FAST = 4, 1
FEATURES = ("structured", "gaussian")


def run(fast: bool = False) -> pl.DataFrame:
    """The table."""
    steps, seeds = (STEPS_FAST, SEEDS_FAST) if fast else (STEPS, SEEDS)
    return run_all(ended, product(LATENTS, SPEEDS, GRAPHS, FEATURES, range(seeds), [steps]), "transfer")


def ended(latents: str, speed: float, graph: str, kind: str, seed: int, steps: int) -> list[dict]:
    """One run."""
    random = np.random.default_rng(seed)
    source, labels = LATENTS[latents](random), random.integers(CLUSTERS, size=CODES)
    features = clustered(labels, random)
    if kind == "gaussian":
        features = with_spectrum_of(features, random)
    with warnings.catch_warnings():  # without edges that is said of every code
        warnings.simplefilter("ignore", UserWarning)
        rule = GraphVQ(features=features, edges=GRAPHS[graph](labels, random), width=WIDTH)
    still = Stream(source)
    x = still.draw(0, 1, 2**14, seed).x[0]
    deviation = float(np.sqrt(x.var(axis=0).mean()))
    stream = Stream(source, Translation(speed * deviation, [1.0] * DIM)) if speed else still
    history = vq.simulate(
        rule, stream, codes=x[:CODES], steps=steps, batch_size=256, seed=seed, records=10, progress=False
    ).history
    row = {"latents": latents, "speed": speed, "graph": graph, "features": kind, "seed": seed}
    found = {name: history[name][-1] for name in ("usage", "perplexity")}
    return [row | found | {"distortion": history["distortion"][-1] / (DIM * deviation**2)}]


def clustered(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Features [K, P] of clusters, of length about 1 and mean 0."""
    centres = random.standard_normal((CLUSTERS, WIDTH))
    features = centres[labels] + SCATTER * random.standard_normal((len(labels), WIDTH))
    return (features - features.mean(axis=0)) / WIDTH**0.5


def with_spectrum_of(features: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Gaussian features with the same singular values and right singular vectors, and mean 0: codes turned at random."""
    values, axes = np.linalg.svd(features, full_matrices=False)[1:]
    rows = random.standard_normal(features.shape)
    turned = np.linalg.qr(rows - rows.mean(axis=0))[0]
    return (turned * values) @ axes


def within_clusters(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Every noun joined to up to eight adjectives of its own cluster."""
    nouns = np.arange(CODES // 2, CODES)
    likes = [np.flatnonzero(labels[: CODES // 2] == labels[noun]) for noun in nouns]
    seen = [random.permutation(like)[:8] for like in likes]
    return np.array([(adjective, noun) for noun, like in zip(nouns, seen, strict=True) for adjective in like])


def at_random(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """The rule's own graph, which knows no clusters."""
    return edges_of_two_kinds(CODES)


def no_edges(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """None."""
    return np.empty((0, 2), np.int64)


def in_clusters(random: np.random.Generator) -> Source:
    """Latents about centres of their own."""
    return Mixture(means=2 * random.standard_normal((CLUSTERS, DIM)), scale=0.5)


def in_one_cloud(random: np.random.Generator) -> Source:
    """Gaussian latents."""
    return Gaussian(dim=DIM)


GRAPHS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "within clusters": within_clusters,
    "at random": at_random,
    "no edges": no_edges,
}
LATENTS: dict[str, Callable[[np.random.Generator], Source]] = {"clusters": in_clusters, "gaussian": in_one_cloud}
