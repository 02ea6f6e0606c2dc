"""Transport: codes that ride on the encoder. What it keeps, by how much it errs, and what it does not do.

Where it says "tiny step size" the rule inside is plain VQ with a step that moves nothing, so that what is seen is
transport alone.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import quad

from vqtheory.claims.laws.provenance import DERIVED, OBSERVED, SEEN
from vqtheory.claims.statement import Effort, Exact, Range, Scaling, claim
from vqtheory.measure import cells
from vqtheory.protocols import Batches
from vqtheory.rules import VQ, Transport
from vqtheory.simulation.alive import count_alive, optimum
from vqtheory.simulation.follow import follow
from vqtheory.streams import Distribution, Gaussian, Latents, Recorded, Stream, Translation, Uniform
from vqtheory.streams import Scaling as Growth

LAW = "transport"
TINY = Transport(VQ(1e-15))
LINE, CENTRED = Uniform(dim=1), Distribution("uniform", loc=-0.5)  # about 0 a cloud that shrinks keeps all its digits


@claim(
    key="transport-translation",
    statement="With transport all codes live during a translation at any speed, and by single samples too (usage, K = 16 "
    "and 64, up to 10 widths per update)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=1.0,
)
def translated(effort: Effort, seed: int) -> list[float]:
    """Usage in the last tenth. Plain VQ keeps one code from 0.012 widths per update on."""
    usage = []
    for num_codes in (16,) if effort == "quick" else (16, 64):
        for speed in (1e-3, 0.1, 10.0):
            for batch_size in (1, 32):
                stream, steps = Stream(LINE, Translation(speed)), 500 * num_codes // batch_size
                end = follow(Transport(VQ(0.1)), stream, optimum(num_codes), steps, seed, batch_size)
                usage.append(float(np.mean(end.hits > 0)))
    return usage


@claim(
    key="transport-error",
    statement="A code that a shrinking cloud carries errs by the distance to its nearest latent: in the plane as B^(-1/2) "
    "(exponent in the samples B)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Scaling("samples"),
    predict=-0.5,
    resolution=0.1,
)
def errors(effort: Effort, seed: int) -> dict[float, list[float]]:
    """The mean distance of carried codes in the middle of a square from where the flow takes them, over the rate."""
    rate, runs = 0.1, 40 if effort == "quick" else 200
    codes = np.random.default_rng(seed).uniform(0.3, 0.7, size=(64, 2))
    stream = Stream(Uniform(dim=2), Growth(-rate))
    exact = 0.5 + np.exp(-rate) * (codes - 0.5)
    found: dict[float, list[float]] = {}
    for batch_size in (64, 256, 1024):
        for i in range(runs):
            state = TINY.advance(TINY.init(codes), stream.draw(1, 1, batch_size, seed * 1000 + i, displacement=True))[0]
            found.setdefault(batch_size, []).append(np.linalg.norm(state.codes - exact, axis=1).mean() / rate)
    return found


def carrying_codes(batch_size: int, rate: float) -> float:
    """K_live, how many codes live in a cloud that shrinks at a rate, by the law of every smooth drift.

    A code at u from the edge of the unit interval is left behind by the rate times the mean of z - u, z the nearest of B
    latents: F = rate (u (1 - 2u)^B + (1 - 2u)^(B+1) / (B + 1)), which the edge alone feels. With Phi its integral from the
    edge, K = int (eta / 12 Phi)^(1/3); eta is 1. The noise of batches lowers the rate that K codes bear, as it does v_c.
    """

    def potential(u: float) -> float:
        left, n = 1 - 2 * u, batch_size + 1
        return rate * (3 * (1 - left ** (n + 1)) / (4 * n * (n + 1)) - u * left**n / (2 * n))

    whole, _ = quad(lambda s: 1.5 * s**0.5 * (12 * potential(s**1.5)) ** (-1 / 3), 0, 0.5 ** (2 / 3))  # u = s^1.5
    return 2 * whole * (1 - 0.445 * (np.log(2000) / batch_size) ** (2 / 3)) ** (1 / 3)


@claim(
    key="transport-survivors",
    statement="In a cloud that shrinks, codes carried by the nearest of B samples live up to K_live of the error that is "
    "left (survivors over the law's, to a tenth, B = 8 and 16)",
    source=DERIVED,
    law=LAW,
    strength="tolerance",
    kind=Exact(worst=True),
    predict=Range(0.9, 1.1),
    seen=SEEN,
)
def survivors(effort: Effort, seed: int) -> list[float]:
    """From 48 codes on; plain VQ keeps half as many, or fewer: 11 at the rate 1e-3, where the law says 20 and 31."""
    cases = [(16, 3e-3, 40_000)]
    if effort == "full":
        cases += [(8, 1e-3, 60_000), (16, 1e-3, 80_000)]
    ratios = []
    for batch_size, rate, steps in cases:
        stream = Stream(CENTRED, Growth(-rate))
        end = follow(Transport(VQ(1.0)), stream, stream.at(0, seed).sample(48), steps, seed, batch_size)
        ratios.append(count_alive(stream, end.codes, steps - 1) / carrying_codes(batch_size, rate))
    return ratios


@claim(
    key="transport-fixed-probe",
    statement="Carried by a fixed probe no code gets farther from its nearest latent, whatever the latents do (largest "
    "increase)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=Range(0.0, 1e-9),
)
def increases(effort: Effort, seed: int) -> list[float]:
    """Of the distance to the nearest latent in an update; each latent walks at random by itself."""
    times = 100 if effort == "quick" else 1000
    latents = np.random.default_rng(seed).normal(size=(times, 64, 2)).cumsum(axis=0)
    stream, state = Recorded(latents), TINY.init(latents[0, :32] + np.random.default_rng(seed + 1).normal(size=(32, 2)))
    distances = []
    for t in range(times):
        state, _ = TINY.advance(state, stream.draw(t, 1, 64, seed, displacement=True))
        distances.append(np.linalg.norm(state.codes[:, None] - latents[t], axis=2).min(axis=1))
    return [max(0.0, float(np.diff(distances, axis=0).max()))]


@claim(
    key="transport-fresh-probe",
    statement="Carried by fresh samples codes also walk at random by the scatter of single moves (distance: exponent in the "
    "updates)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Scaling("updates"),
    predict=0.5,
    resolution=0.1,
)
def wanderings(effort: Effort, seed: int) -> dict[float, list[float]]:
    """How far codes have come, root mean square, in a cloud that stands while each latent moves by itself."""
    found: dict[float, list[float]] = {}
    for i in range(20 if effort == "quick" else 60):
        random = np.random.default_rng([seed, i])
        x, moved = random.normal(size=(2, 400, 64, 2))
        codes = random.normal(size=(64, 2))
        state = TINY.init(codes)
        for start, stop in ((0, 25), (25, 100), (100, 400)):
            state, _ = TINY.advance(state, Batches(x[start:stop], 0.01 * moved[start:stop]))
            found.setdefault(stop, []).append(float(np.sqrt(np.square(state.codes - codes).sum(axis=1).mean())))
    return found


@claim(
    key="transport-stationary",
    statement="Where no latent moves, transport leaves a rule alone (largest difference of codes from plain VQ's)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=0.0,
)
def differences(effort: Effort, seed: int) -> list[float]:
    """To the bit, whatever the neighbours."""
    stream, found = Stream(Gaussian(dim=2)), []
    codes = stream.at(0, seed).sample(16)
    plain = follow(VQ(0.5), stream, codes, 200, seed, 32).codes
    for neighbours in (1, 4):
        carried = follow(Transport(VQ(0.5), neighbours), stream, codes, 200, seed, 32).codes
        found.append(float(np.abs(carried - plain).max()))
    return found


@claim(
    key="transport-does-not-revive",
    statement="A code outside of the cloud stays outside: transport does not revive it (its usage in a translation)",
    source=DERIVED,
    law=LAW,
    strength="law",
    kind=Exact(worst=True),
    predict=0.0,
)
def revived(effort: Effort, seed: int) -> list[float]:
    """Of 16 codes half are three widths away, on either side."""
    codes = optimum(16) + 3.0 * np.array([[-1.0], [0.0], [0.0], [1.0]]).repeat(4, axis=0)
    usage = []
    for speed in (0.01, 1.0):
        hits = follow(Transport(VQ(0.1)), Stream(LINE, Translation(speed)), codes, 1000, seed, 32).hits
        usage.append(float(np.mean(hits[[0, 1, 2, 3, 12, 13, 14, 15]] > 0)))
    return usage


def of_random_codes(num_codes: int) -> float:
    """The mean distortion of n uniform codes on the unit interval over the optimum's: 6 for many."""
    n = num_codes
    return 6 * n**2 * (n + 7) / ((n + 1) * (n + 2) * (n + 3))


@claim(
    key="transport-of-latents-that-swap",
    statement="Where latents swap places in a cloud that stays as it is, carried codes come to lie as latents at random "
    "(distortion over the optimum's)",
    source=DERIVED,
    law=LAW,
    strength="law",
    predict=of_random_codes(16),
    resolution=1.5,
)
def swapped(effort: Effort, seed: int) -> list[float]:
    """16 codes that start on the latents nearest to the optimum, at a tiny step size; plain VQ stays there."""
    found, points = [], (np.arange(512)[:, None] + 0.5) / 512
    for i in range(40 if effort == "quick" else 120):
        random = np.random.default_rng([seed, i])
        frames = np.array([points, *(random.permutation(points) for _ in range(50))])
        stream, state, ratios = Recorded(frames), TINY.init(points[16::32]), []
        for t in range(1, len(frames)):
            state, _ = TINY.advance(state, stream.draw(t, 1, 512, 0, displacement=True))
            ratios.append(cells(points, state.codes).distortion * 12 * 16**2)
        found.append(float(np.mean(ratios)))
    return found


@claim(
    key="transport-of-the-toy",
    statement="The toy's cloud that shrinks by 3 % per update, in which TransVQ loses most of 16 codes: VQ with transport "
    "loses one at most (share alive at the end)",
    source=OBSERVED,
    law=LAW,
    strength="description",
    kind=Exact(worst=True),
    predict=Range(15 / 16, 1.0),
    seen=SEEN,
)
def of_the_toy(effort: Effort, seed: int) -> list[float]:
    """66 updates of shrinking and 134 without, batches of 128, of whose latents none may be near a code in the tail."""
    points, alive = np.random.default_rng(7).normal(size=(4000, 2)), []
    stream = Stream(Latents(points), Growth(-0.03, limit=float(np.exp(-0.03 * 66))))
    for i in range(2 if effort == "quick" else 10):
        codes = stream.at(0, seed * 100 + i).sample(16)
        end = follow(Transport(VQ(4.0)), stream, codes, 200, seed * 100 + i, 128)
        support = stream.at(200).support
        assert support is not None
        alive.append(float(np.mean(cells(support, end.codes).hits > 0)))
    return alive


CLAIMS = [
    translated,
    errors,
    survivors,
    increases,
    wanderings,
    differences,
    revived,
    swapped,
    of_the_toy,
]
