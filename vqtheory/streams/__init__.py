"""Streams: latents that drift. Sources say where samples come from, drifts how they move.

`Stream` puts the two together; `Recorded` plays back a real encoder's latents; `Batched` takes the batches that a program
makes; `ClosedLoop` trains an encoder through the quantizer as the codebook learns.
"""

from vqtheory.streams._stream import Stream, StreamSnapshot
from vqtheory.streams.base import Drift, Snapshot, Source
from vqtheory.streams.batched import Batched
from vqtheory.streams.closed_loop import ClosedLoop
from vqtheory.streams.drifts import Fading, Jump, Oscillation, RandomWalk, Rotation, Scaling, Stationary, Translation
from vqtheory.streams.motion import Motion
from vqtheory.streams.photographs import Latents, Patches
from vqtheory.streams.recorded import Recorded
from vqtheory.streams.sources import Distribution, Gaussian, Mixture, Ring, Uniform

Law = StreamSnapshot  # its name until version 0.1

__all__ = [
    "Batched",
    "ClosedLoop",
    "Distribution",
    "Drift",
    "Fading",
    "Gaussian",
    "Jump",
    "Latents",
    "Law",
    "Mixture",
    "Motion",
    "Oscillation",
    "Patches",
    "RandomWalk",
    "Recorded",
    "Ring",
    "Rotation",
    "Scaling",
    "Snapshot",
    "Source",
    "Stationary",
    "Stream",
    "Translation",
    "Uniform",
]
