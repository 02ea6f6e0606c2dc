"""The codebook loss is online k-means: exact identities, up to rounding."""

from __future__ import annotations

import numpy as np

from vqtheory.assign import nearest
from vqtheory.claims.laws.provenance import PAPER
from vqtheory.claims.statement import Effort, Exact, Range, claim
from vqtheory.protocols import Batches
from vqtheory.rules import EMA, VQ
from vqtheory.schedules import harmonic

LAW = "online k-means"
ROUNDING = Range(0.0, 1e-12)  # a few hundred operations on numbers of order one


def problems(effort: Effort, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Random codes [K, D] and batches [B, D], large and small."""
    random = np.random.default_rng(seed)
    shapes = [(2, 1, 8), (16, 2, 128), (5, 7, 64), (64, 3, 20)] * (1 if effort == "quick" else 25)
    return [(random.normal(size=(k, d)), random.normal(size=(b, d))) for k, d, b in shapes]


def lloyd_step(codes: np.ndarray, batch: np.ndarray) -> np.ndarray:
    """Every code that wins something at the mean of what it wins."""
    assignment, _ = nearest(batch, codes)
    moved = codes.copy()
    for k in np.unique(assignment):
        moved[k] = batch[assignment == k].mean(axis=0)
    return moved


@claim(
    key="lloyd-by-row-steps",
    statement="With per-row step 1 / (n_k / B) one VQ step is a Lloyd step (largest difference)",
    source=PAPER,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=ROUNDING,
)
def row_steps(effort: Effort, seed: int) -> list[float]:
    """Distance from a Lloyd step of a VQ step whose rows are divided by n_k / B."""
    distances = []
    for codes, batch in problems(effort, seed):
        rule = VQ(step_size=1.0)
        after, info = rule.advance(rule.init(codes), Batches(batch[None]))
        share = np.maximum(info["hits"], 1)[:, None] / len(batch)
        distances.append(np.abs(codes + (after.codes - codes) / share - lloyd_step(codes, batch)).max())
    return distances


@claim(
    key="lloyd-by-ema",
    statement="EMA with decay 0 and no smoothing is a Lloyd step (largest difference)",
    source=PAPER,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=ROUNDING,
)
def ema_steps(effort: Effort, seed: int) -> list[float]:
    """Distance from a Lloyd step of an EMA update without memory."""
    rule, distances = EMA(decay=0.0), []
    for codes, batch in problems(effort, seed):
        after, _ = rule.advance(rule.init(codes), Batches(batch[None]))
        distances.append(np.abs(after.codes - lloyd_step(codes, batch)).max())
    return distances


@claim(
    key="macqueen-running-mean",
    statement="Gain 1/n_k on each code's own count leaves it at the mean of all it has won (largest difference)",
    source="MacQueen 1967",
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=ROUNDING,
)
def running_means(effort: Effort, seed: int) -> list[float]:
    """Distance of MacQueen's codes from the mean of all that they have won."""
    rule, distances = VQ(harmonic(1.0), clock="wins"), []
    for codes, batch in problems(effort, seed):
        state, won = rule.init(codes), [[] for _ in codes]  # type: ignore[var-annotated]
        for sample in batch:
            state, info = rule.advance(state, Batches(sample[None, None]))
            won[info["assignment"][0]].append(sample)
        means = [np.mean(samples, axis=0) if samples else code for samples, code in zip(won, codes, strict=True)]
        distances.append(np.abs(state.codes - means).max())
    return distances


CLAIMS = [row_steps, ema_steps, running_means]
