"""A closed loop: an encoder that is itself trained through the quantizer, so that its drift answers the codes.

With s a sample of the source, c the code nearest to its latent and sg(.) held constant,

    z = E(s),   z_q = z + sg(c - z),   loss = mean |D(z_q) - s|^2 + beta mean |z - sg(c)|^2

over a batch (van den Oord et al., arXiv 1711.00937). The gradient of the first term passes
the quantizer as if it were not there (straight through). Encoder E and decoder D have one
hidden layer each, x -> B tanh(A x + a) + b, and descend by plain SGD.

With the rotation trick (Fifty et al., arXiv 2410.06424) z_q = sg(|c| / |z| R) z, where R is the rotation about the origin
that turns z / |z| to c / |c|, and a gradient g of the first term reaches z as |c| / |z| R^T g.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from vqtheory import schedules
from vqtheory._base import check
from vqtheory._base.config import Configured
from vqtheory._base.randomness import Purpose, generator
from vqtheory.protocols import Batches, Diverged
from vqtheory.streams.base import Snapshot, Source

ESTIMATORS = ("straight-through", "rotation", "rotation-centred")
_MEAN_SAMPLES = 1024  # samples that estimate the mean of a law


class LoopState(NamedTuple):
    """Where a closed loop stands.

    Attributes
    ----------
    step : int
        Steps done.
    seed : int
    encoder, decoder : float [P_e], [P_d]
        Weights as one vector: A by rows, a, B by rows, b.
    previous : float [P_e]
        The encoder's weights one step ago.
    """

    step: Any
    seed: Any
    encoder: np.ndarray
    decoder: np.ndarray
    previous: np.ndarray


@dataclass(frozen=True, repr=False)
class ClosedLoop(Configured):
    """Latents of an encoder that learns through the quantizer, one step per update of the codebook.

    Parameters
    ----------
    source : Source
        What the encoder sees.
    latent_dim : int, default 2
        D, the dimension of the latents.
    hidden : int, default 32
        Width of the hidden layers.
    step_size : float or schedule, default 0.05
        SGD step of encoder and decoder. The loss sums over the source's dimensions: with many of
        them it must be smaller.
    commitment : float, default 0.25
        beta, the weight of the term that pulls latents to their codes.
    quantize_from : int, default 0
        The first step that quantizes. Until then z_q = z, and nothing pulls latents to codes: the encoder drifts as that of
        an autoencoder does. The rule meets its latents from step 0 on. (Deferred quantization: arXiv 2603.17052.)
    estimator : {"straight-through", "rotation", "rotation-centred"}, default "straight-through"
        How the decoder's gradient passes the quantizer; centred, the rotation is about the mean of the codes.

    Examples
    --------
    >>> from vqtheory.streams import Uniform
    >>> loop = ClosedLoop(Uniform(dim=3))
    >>> state = loop.init(seed=0)
    >>> state, batches = loop.respond(state, codes=np.zeros((4, 2)), batch_size=5)
    >>> batches.x.shape, state.step
    ((1, 5, 2), 1)
    """

    source: Source
    latent_dim: int = 2
    hidden: int = 32
    step_size: Any = 0.05
    commitment: float = 0.25
    quantize_from: int = 0
    estimator: str = "straight-through"
    _positional: ClassVar[int] = 1

    def __post_init__(self) -> None:
        check.instance("ClosedLoop", "source", self.source, Source, "a source such as Uniform(dim=2)")
        self._keep(latent_dim=check.integer("ClosedLoop", "latent_dim", self.latent_dim))
        self._keep(hidden=check.integer("ClosedLoop", "hidden", self.hidden))
        self._keep(step_size=schedules.validate("ClosedLoop", "step_size", self.step_size, 0))
        self._keep(commitment=check.number("ClosedLoop", "commitment", self.commitment, 0))
        self._keep(quantize_from=check.integer("ClosedLoop", "quantize_from", self.quantize_from, 0))
        check.choice("ClosedLoop", "estimator", self.estimator, ESTIMATORS)

    @property
    def dim(self) -> int:
        """D, the dimension of the latents."""
        return self.latent_dim

    def init(self, seed: int) -> LoopState:
        """Weights from N(0, 1 / inputs) and biases 0: latents of spread near 1 from samples of spread 1."""
        seed = check.seed("ClosedLoop.init", seed)
        random = generator(seed, Purpose.LOOP)
        encoder, decoder = (_start(random, *sizes) for sizes in (self._encoder_sizes, self._decoder_sizes))
        return LoopState(0, seed, encoder, decoder, encoder)

    def respond(self, state: LoopState, codes: np.ndarray, batch_size: int) -> tuple[LoopState, Batches]:
        """The latents of a fresh batch, and the state after one SGD step on it through the quantizer at these codes.

        The batch holds x [1, B, D], from before that step, and displacement [1, B, D], how far the
        step before it moved these samples' latents (0 at step 0); both in the codes' dtype. Raises
        `ValueError` for codes that are not a finite [K, D] array, and `Diverged`, which is one, when
        the weights diverge.
        """
        check.instance("ClosedLoop.respond", "state", state, LoopState, "a state that ClosedLoop.init has made")
        codes = check.matrix("ClosedLoop.respond", "codes", codes, columns=self.dim)
        batch_size = check.integer("ClosedLoop.respond", "batch_size", batch_size)
        step, seed = int(state.step), int(state.seed)
        samples = self.source.part(seed, step, batch_size)
        latents = self.encode(state.encoder, samples)
        moved = latents - self.encode(state.previous, samples)
        with np.errstate(over="ignore", invalid="ignore"):  # of weights that diverge, which is reported below
            _, encoder_slope, decoder_slope = self.loss(state, samples, codes)
        rate = schedules.values(self.step_size, step, 1)[0]
        after = LoopState(
            step + 1, seed, state.encoder - rate * encoder_slope, state.decoder - rate * decoder_slope, state.encoder
        )
        if not (np.isfinite(after.encoder).all() and np.isfinite(after.decoder).all()):
            raise Diverged(f"ClosedLoop diverged at step {step}: make its step_size smaller. It was {rate:g}.")
        return after, Batches(latents[None].astype(codes.dtype), moved[None].astype(codes.dtype))

    def encode(self, encoder: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """Latents [B, D] of source samples, by these weights of the encoder."""
        return _forward(encoder, self._encoder_sizes, samples)[0]

    def loss(self, state: LoopState, samples: np.ndarray, codes: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """The loss on source samples, and its gradients by the encoder's and the decoder's weights."""
        from vqtheory.assign import nearest  # streams load without numba and scipy

        latents, encoder_hidden = _forward(state.encoder, self._encoder_sizes, samples)
        chosen = codes[nearest(latents, codes)[0]] if int(state.step) >= self.quantize_from else latents
        outputs, decoder_hidden = _forward(state.decoder, self._decoder_sizes, chosen)
        error, gap = outputs - samples, latents - chosen
        loss = (np.sum(error**2) + self.commitment * np.sum(gap**2)) / len(samples)
        d_outputs, d_gap = 2 * error / len(samples), 2 * self.commitment * gap / len(samples)
        decoder_slope, d_chosen = _backward(state.decoder, self._decoder_sizes, chosen, decoder_hidden, d_outputs)
        if self.estimator != "straight-through":
            centre = codes.mean(axis=0) if self.estimator == "rotation-centred" else 0.0
            d_chosen = turned_back(d_chosen, latents - centre, chosen - centre)
        encoder_slope, _ = _backward(state.encoder, self._encoder_sizes, samples, encoder_hidden, d_chosen + d_gap)
        return float(loss), encoder_slope, decoder_slope

    def at(self, state: LoopState) -> LoopSnapshot:
        """Where the latents of the next response are."""
        return LoopSnapshot(self, state)

    @property
    def _encoder_sizes(self) -> tuple[int, int, int]:
        return self.source.dim, self.hidden, self.latent_dim

    @property
    def _decoder_sizes(self) -> tuple[int, int, int]:
        return self.latent_dim, self.hidden, self.source.dim


@dataclass(frozen=True)
class LoopSnapshot(Snapshot):
    """Where a closed loop is at one step. Its mean and velocity are known from 1024 samples only."""

    loop: ClosedLoop
    state: LoopState

    @property
    def mean(self) -> np.ndarray:
        """The mean of the latents, [D], estimated."""
        return self.sample(_MEAN_SAMPLES).mean(axis=0)

    @property
    def velocity(self) -> np.ndarray:
        """The move of the mean since the step before, [D], estimated on the same samples; 0 at step 0."""
        return self.mean - self.loop.encode(self.state.previous, self._samples(_MEAN_SAMPLES)).mean(axis=0)

    def sample(self, size: int) -> np.ndarray:
        """Latents [size, D] of fresh source samples, none of which a run with this seed meets."""
        return self.loop.encode(self.state.encoder, self._samples(check.integer("sample", "size", size)))

    def _samples(self, size: int) -> np.ndarray:
        return self.loop.source.sample(generator(int(self.state.seed), Purpose.PROBE, int(self.state.step)), size)


def turned_back(gradient: np.ndarray, latents: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """|c| / |z| R^T g of gradients g [N, D] by the chosen codes c [N, D], for latents z [N, D].

    With e and q the directions of z and c, and h of e + q, R^T = (1 - 2 e e') (1 - 2 h h'). The gradient is left as it is
    where the two are opposite up to rounding, and where a squared length is 0, too small for all its digits, or too large.
    """
    latents, chosen = np.asarray(latents, np.float64), np.asarray(chosen, np.float64)
    shortest = np.finfo(np.float64).tiny ** 0.5
    with np.errstate(over="ignore"):
        length, reach = (np.linalg.norm(x, axis=1, keepdims=True) for x in (latents, chosen))
    both = (length > shortest) & (reach > shortest) & np.isfinite(length) & np.isfinite(reach)
    length, reach = np.where(both, length, 1), np.where(both, reach, 1)
    e, q = np.where(both, latents, 0) / length, np.where(both, chosen, 0) / reach
    h = _between(e, q)
    turned = reach / length * _reflected(_reflected(gradient, h), e)
    return np.where(h.any(axis=1, keepdims=True), turned, gradient)


def _between(e: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The direction of e + q of unit vectors [N, D], which is at right angles to e - q; 0 where it is rounding alone."""
    h, across = e + q, e - q
    h -= _products(h, across) / np.maximum(_products(across, across), 1) * across
    length = np.linalg.norm(h, axis=1, keepdims=True)
    return np.where(length > 4 * np.finfo(h.dtype).eps, h / np.where(length > 0, length, 1), 0)


def _reflected(x: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """(1 - 2 w w') x of vectors [N, D] by unit vectors w [N, D]."""
    return x - 2 * axis * _products(axis, x)


def _products(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of rows, [N, 1]."""
    return np.sum(one * other, axis=1, keepdims=True)


def _start(random: np.random.Generator, inputs: int, hidden: int, outputs: int) -> np.ndarray:
    first = random.standard_normal((hidden, inputs)) / np.sqrt(inputs)
    second = random.standard_normal((outputs, hidden)) / np.sqrt(hidden)
    return np.concatenate([first.ravel(), np.zeros(hidden), second.ravel(), np.zeros(outputs)])


def _layers(weights: np.ndarray, inputs: int, hidden: int, outputs: int) -> tuple[np.ndarray, ...]:
    """A [hidden, inputs], a [hidden], B [outputs, hidden], b [outputs] of a weight vector."""
    cuts = np.cumsum([hidden * inputs, hidden, outputs * hidden])
    first, bias_first, second, bias_second = np.split(weights, cuts)
    return first.reshape(hidden, inputs), bias_first, second.reshape(outputs, hidden), bias_second


def _forward(weights: np.ndarray, sizes: tuple[int, int, int], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """B tanh(A x + a) + b of x [N, inputs], and the tanh."""
    first, bias_first, second, bias_second = _layers(weights, *sizes)
    hidden = np.tanh(x @ first.T + bias_first)
    return hidden @ second.T + bias_second, hidden


def _backward(
    weights: np.ndarray, sizes: tuple[int, int, int], x: np.ndarray, hidden: np.ndarray, slope: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients by the weights and by x, given that by the outputs, slope [N, outputs]."""
    first, _, second, _ = _layers(weights, *sizes)
    inner = (slope @ second) * (1 - hidden**2)
    parts = (inner.T @ x, inner.sum(axis=0), slope.T @ hidden, slope.sum(axis=0))
    return np.concatenate([part.ravel() for part in parts]), inner @ first
