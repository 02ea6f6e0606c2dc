"""The rotation trick against straight-through: what it adds, and when that helps codes and when it hurts them.

Rotation pulls latents to the origin, `vqtheory.theory.rotation_pull`. Runs are of the closed loop, in which the encoder
learns through the quantizer. Its start is placed: all latents are stretched by a factor, then moved along the diagonal by a
distance, and the decoder undoes both, so that outputs are as before. EMA's codes start on latents; the slower they are, the
more a drift of the latents costs.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from vqtheory.assign import nearest
from vqtheory.claims.laws.provenance import DERIVED, MEASURED, SEEN
from vqtheory.claims.statement import Effort, Exact, Range, Scaling, claim
from vqtheory.rules import EMA
from vqtheory.streams import ClosedLoop, Gaussian
from vqtheory.streams.closed_loop import LoopState, turned_back
from vqtheory.theory import rotation_pull

LAW = "rotation trick"
INPUTS, DIM, HIDDEN = 8, 4, 32
CODES, BATCH, STEPS, STEP_SIZE = 128, 64, 1500, 0.01
SLOW = 0.999  # EMA's decay


class Trained(NamedTuple):
    """A closed loop and its codes after a run."""

    usage: float  # share of the codes used in the last tenth
    distortion: float  # of fresh latents, over their variance
    loss: float  # of the outputs
    growth: float  # of the latents' mean length since the start


def loop(estimator: str, step_size: float = STEP_SIZE) -> ClosedLoop:
    """The loop of all runs."""
    return ClosedLoop(Gaussian(dim=INPUTS), latent_dim=DIM, hidden=HIDDEN, step_size=step_size, estimator=estimator)


def placed(start: LoopState, stretch: float, distance: float) -> LoopState:
    """The start with latents stretched about the origin, then moved along the diagonal, and a decoder that undoes both."""
    encoder, decoder = start.encoder.copy(), start.decoder.copy()
    move, last = np.full(DIM, distance / np.sqrt(DIM)), HIDDEN * DIM + DIM
    encoder[-last:] *= stretch
    encoder[-DIM:] += move
    first = decoder[: HIDDEN * DIM].reshape(HIDDEN, DIM)  # a view
    first /= stretch
    decoder[HIDDEN * DIM : HIDDEN * (DIM + 1)] -= first @ move
    return start._replace(encoder=encoder, decoder=decoder, previous=encoder)


@cache
def trained(estimator: str, decay: float, stretch: float, distance: float, seed: int) -> Trained:
    """A run of the loop with EMA, from such a start."""
    stream, rule = loop(estimator), EMA(decay)
    state = placed(stream.init(seed), stretch, distance)
    length = np.linalg.norm(stream.at(state).sample(1024), axis=1).mean()
    codebook, hits = rule.init(stream.at(state).sample(CODES), seed), np.zeros(CODES, np.int64)
    with threadpool_limits(1, user_api="blas"):
        for step in range(STEPS):
            state, batches = stream.respond(state, codebook.codes, BATCH)
            codebook, info = rule.advance(codebook, batches)
            if step >= STEPS - STEPS // 10:
                hits += info["hits"]
    return measured(stream, state, codebook.codes, hits, float(length))


def measured(stream: ClosedLoop, state: LoopState, codes: np.ndarray, hits: np.ndarray, length: float) -> Trained:
    """On fresh samples."""
    samples = stream.source.sample(np.random.default_rng(int(state.seed)), 2048)
    latents = stream.encode(state.encoder, samples)
    squared = np.square(latents - codes[nearest(latents, codes)[0]]).sum(axis=1).mean()
    spread = np.square(latents - latents.mean(axis=0)).sum(axis=1).mean()
    loss, *_ = stream.loss(state, samples, codes)
    growth = np.linalg.norm(latents, axis=1).mean() / length
    error = loss - stream.commitment * squared
    return Trained(float(np.mean(hits > 0)), float(squared / spread), float(error), float(growth))


def gains(effort: Effort, seed: int, decay: float, stretch: float, distance: float, name: str = "rotation") -> list[float]:
    """Usage with rotation less that with straight-through, from the same starts."""
    seeds = [100 * seed + i for i in range(3 if effort == "quick" else 10)]
    runs = [[trained(estimator, decay, stretch, distance, i) for estimator in (name, "straight-through")] for i in seeds]
    return [rotation.usage - straight.usage for rotation, straight in runs]


@claim(
    key="rotation-is-a-pull",
    statement="For a gradient from latent to code the rotation trick is straight-through with a pull of the latent to the "
    "origin, |z - c|^2 / |z|^2 of it (relative difference)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(0.0, 1e-12),
)
def identities(effort: Effort, seed: int) -> list[float]:
    """In 1 to 16 dimensions, at latents that are near to their codes, and far from them."""
    errors, random = [], np.random.default_rng(seed)
    for dim in (1, 2, 16):
        for size in (0.1, 1.0, 10.0):
            latents, codes = random.normal(size=(500, dim)) + 0.5, size * random.normal(size=(8, dim))
            chosen = codes[nearest(latents, codes)[0]]
            opposite = np.sum(latents * chosen, axis=1) <= -0.999 * np.prod(
                np.linalg.norm([latents, chosen], axis=2), axis=0
            )
            straight, pull = 2 * (chosen - latents), rotation_pull(latents, codes)
            apart = turned_back(straight, latents, chosen) - straight - pull
            scale = np.linalg.norm(straight, axis=1) + np.linalg.norm(pull, axis=1)
            errors.append(float((np.linalg.norm(apart, axis=1) / scale)[~opposite].max()))
    return errors


@claim(
    key="rotation-far-from-the-origin",
    statement="What rotation adds to an update of the encoder falls with the distance of the latents from the origin "
    "(exponent)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Scaling("distance"),
    predict=-1.0,
    resolution=0.1,
)
def additions(effort: Effort, seed: int) -> dict[float, list[float]]:
    """How far apart the two gradients of the encoder are, over the size of one; latents of spread 1 at the start."""
    apart: dict[float, list[float]] = {}
    for i in range(10 if effort == "quick" else 40):
        straight, rotated = loop("straight-through"), loop("rotation")
        samples = straight.source.sample(np.random.default_rng([seed, i]), 256)
        for distance in (30.0, 100.0, 300.0):
            state = placed(straight.init(100 * seed + i), 1.0, distance)
            codes = straight.at(state).sample(CODES)
            one, other = (stream.loss(state, samples, codes)[1] for stream in (straight, rotated))
            apart.setdefault(distance, []).append(float(np.linalg.norm(other - one) / np.linalg.norm(one)))
    return apart


@claim(
    key="rotation-helps-growing-latents",
    statement="Where latents grow away from slow codes rotation keeps more of them (usage less straight-through's: EMA at "
    "0.999, a start at a tenth of the spread)",
    source=MEASURED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(0.2, 1.0),
    seen=SEEN,
)
def helped(effort: Effort, seed: int) -> list[float]:
    """Straight-through lets latents grow by tens, and rotation does not."""
    return gains(effort, seed, SLOW, 0.1, 0.0)


@claim(
    key="rotation-hurts-shrinking-latents",
    statement="Where latents shrink rotation shrinks them further, and loses codes (usage less straight-through's: EMA at "
    "0.999, a start at five times the spread)",
    source=MEASURED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(-1.0, -0.2),
    seen=SEEN,
)
def hurt(effort: Effort, seed: int) -> list[float]:
    """Straight-through keeps nearly all codes."""
    return gains(effort, seed, SLOW, 5.0, 0.0)


@claim(
    key="rotation-hurts-latents-off-the-origin",
    statement="Latents off the origin rotation moves towards it as a whole, which costs codes (usage less "
    "straight-through's: EMA at 0.999, a start three spreads away)",
    source=MEASURED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(-1.0, -0.2),
    seen=SEEN,
)
def moved(effort: Effort, seed: int) -> list[float]:
    """Straight-through does not know where the origin is."""
    return gains(effort, seed, SLOW, 1.0, 6.0)


@claim(
    key="rotation-about-the-mean",
    statement="About the mean of the codes rotation keeps codes of latents that grow wherever they are (usage less "
    "straight-through's: EMA at 0.999, a start at a tenth of the spread, thirty of that away)",
    source=MEASURED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(0.2, 1.0),
    seen=SEEN,
)
def centred(effort: Effort, seed: int) -> list[float]:
    """Where rotation about the origin keeps almost none."""
    return gains(effort, seed, SLOW, 0.1, 6.0, "rotation-centred")


@claim(
    key="rotation-and-fast-codes",
    statement="Codes fast enough to follow either way are kept by both (usage with rotation less straight-through's, EMA "
    "at 0.8, a start at a tenth of the spread)",
    source=MEASURED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(-0.1, 0.1),
    seen=SEEN,
)
def followed(effort: Effort, seed: int) -> list[float]:
    """Where slow codes profit most."""
    return gains(effort, seed, 0.8, 0.1, 0.0)


CLAIMS = [identities, additions, helped, hurt, moved, centred, followed]
