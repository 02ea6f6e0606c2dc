"""The motion that a probe was seen to make, with fresh latents at every step.

A probe is a thousand latents or so, about as many as there are codes, and a training shows its codebook new latents in each
batch. On the same ones over and over a codebook would settle on single latents. So a step shows points between neighbours of
the probe, drawn anew each time, and each moves as its two latents were seen to move: with z_i and z_j neighbours and u
uniform on [0, 1],

    x(t) = (1 - u) z_i(t) + u z_j(t).

Between two times latents go straight ahead. One step may stand for several updates: for few where the latents move far,
measured by their spread, and for more where they hardly move.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vqtheory._base.randomness import Purpose, generator
from vqtheory.diagnosis.recording import Recording
from vqtheory.protocols import Batches

_NEIGHBOURS = 4
_ANCHORS = 8  # times at which neighbours are looked for


class Film:
    """Latents of about so many steps from the first time of a recording to its last.

    Attributes
    ----------
    times : float [steps + 1]
        The updates done before the first step and after each.
    """

    def __init__(self, recording: Recording, steps: int, seed: int = 0) -> None:
        self.seed = seed
        self._latents = recording.probe.astype(np.result_type(recording.latents.dtype, np.float32), copy=False)
        self._seen = recording.steps
        parts = zip(self._seen[:-1], self._seen[1:], _shares(recording, steps).tolist(), strict=True)
        self.times = np.concatenate([[self._seen[0]], *(np.linspace(*part[:2], part[2] + 1)[1:] for part in parts)])
        self._near = lru_cache(maxsize=_ANCHORS)(self._neighbours)

    @property
    def steps(self) -> int:
        """How many there are."""
        return len(self.times) - 1

    def updates(self, step: int) -> float:
        """How many updates the step after so many stands for."""
        return float(np.round(self.times[step + 1] - self.times[step], 9))

    def since(self, steps: np.ndarray) -> np.ndarray:
        """How many updates after the first time the film is after so many steps."""
        return np.interp(steps, np.arange(len(self.times)), self.times - self.times[0])

    def shown(self, start: int, stop: int) -> Batches:
        """The latents of steps start + 1 to stop, [T, N, D], and how far each has moved since the step before."""
        pairs = [self._shown(step) for step in range(start + 1, stop + 1)]
        latents, before = (np.stack(parts) for parts in zip(*pairs, strict=True))
        return Batches(latents, latents - before)

    def first(self) -> np.ndarray:
        """Latents before the first step, [N, D]."""
        return self._shown(1)[1]

    def _shown(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """The same latents at a step and at the one before."""
        random, rows = generator(self.seed, Purpose.PROBE, step), np.arange(self._latents.shape[1])
        near = self._near(_ANCHORS * (step - 1) // self.steps)
        partners = near[rows, random.integers(near.shape[1], size=len(rows))]
        share = random.random((len(rows), 1)).astype(self._latents.dtype)
        here, before = self._at(step), self._at(step - 1)
        return tuple(np.add(z, share * (z[partners] - z)) for z in (here, before))

    def _at(self, step: int) -> np.ndarray:
        """The probe at a step."""
        i = int(np.clip(np.searchsorted(self._seen, self.times[step], side="right") - 1, 0, len(self._seen) - 2))
        along = self._latents.dtype.type((self.times[step] - self._seen[i]) / (self._seen[i + 1] - self._seen[i]))
        return self._latents[i] + along * (self._latents[i + 1] - self._latents[i])

    def _neighbours(self, anchor: int) -> np.ndarray:
        """The nearest other latents of each latent at an anchor, [N, few]."""
        z = self._at(round((anchor + 0.5) * self.steps / _ANCHORS)).astype(np.float64)
        z = z - z.mean(axis=0)
        squares = np.sum(z**2, axis=1)
        distances = squares - 2 * z @ z.T  # up to what is the same for a row
        np.fill_diagonal(distances, np.inf)
        few = min(_NEIGHBOURS, len(z) - 1)
        return np.argpartition(distances, few - 1, axis=1)[:, :few]


def _shares(recording: Recording, steps: int) -> np.ndarray:
    """Steps for each stretch, [T - 1]: half by how far latents move in it, half by its length; at most its updates."""
    motion, updates = recording.motion, np.diff(recording.steps)
    spread = np.maximum(motion.spread[1:], np.finfo(float).tiny)
    path = np.minimum(motion.moved * updates / spread, 1e6)
    weight = updates / updates.sum() + path / max(float(path.sum()), np.finfo(float).tiny)
    low, high = 0.0, float(updates.max() / weight.min())
    for _ in range(50):  # the scale at which capped shares add up to the steps
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(middle * weight, updates).sum() < steps else (low, middle)
    return np.maximum(1, np.minimum(np.round(high * weight), updates)).astype(int)
