"""Streams: latents that drift. Sources say where samples come from, drifts how they move.

`Stream` puts the two together; `Recorded` plays back a real encoder's latents; `ClosedLoop` trains
an encoder through the quantizer as the codebook learns.
"""

from vqtheory.streams._stream import Law, Stream
from vqtheory.streams.closed_loop import ClosedLoop
from vqtheory.streams.drifts import (
    Drift,
    Fading,
    Jump,
    Oscillation,
    RandomWalk,
    Rotation,
    Scaling,
    Stationary,
    Translation,
)
from vqtheory.streams.photographs import Latents, Patches
from vqtheory.streams.recorded import Recorded
from vqtheory.streams.sources import Distribution, Gaussian, Mixture, Ring, Source, Uniform

__all__ = [
    "ClosedLoop",
    "Distribution",
    "Drift",
    "Fading",
    "Gaussian",
    "Jump",
    "Latents",
    "Law",
    "Mixture",
    "Oscillation",
    "Patches",
    "RandomWalk",
    "Recorded",
    "Ring",
    "Rotation",
    "Scaling",
    "Source",
    "Stationary",
    "Stream",
    "Translation",
    "Uniform",
]
