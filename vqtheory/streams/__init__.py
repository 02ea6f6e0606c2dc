"""Streams: latents that drift. Sources say where samples come from, drifts how they move."""

from vqtheory.streams._stream import Law, Stream
from vqtheory.streams.drifts import Drift, Stationary, Translation
from vqtheory.streams.sources import Gaussian, Source, Uniform

__all__ = ["Drift", "Gaussian", "Law", "Source", "Stationary", "Stream", "Translation", "Uniform"]
