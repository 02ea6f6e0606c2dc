"""The rules in torch: a layer for any VQ-VAE, VQGAN or tokenizer. Needs torch: ``pip install vqtheory[torch]``."""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError("vqtheory.nn needs torch, which is not installed: pip install torch.") from error

from vqtheory.nn.adapters import TamingQuantizer
from vqtheory.nn.evaluation.frechet import frechet_distance
from vqtheory.nn.monitor import Monitor
from vqtheory.nn.quantize import Info, Quantized, VectorQuantize, step_size
from vqtheory.nn.replacement import Replacement

__all__ = [
    "Info",
    "Monitor",
    "Quantized",
    "Replacement",
    "TamingQuantizer",
    "VectorQuantize",
    "frechet_distance",
    "step_size",
]
