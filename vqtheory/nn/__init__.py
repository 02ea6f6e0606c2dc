"""The rules in torch: a layer for any VQ-VAE, VQGAN or tokenizer. Needs the extra "torch"."""

from vqtheory._base.extras import missing

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(missing("vqtheory.nn", "torch", "torch")) from error

from vqtheory.nn.adapters import TamingQuantizer
from vqtheory.nn.codebooks import Codebook
from vqtheory.nn.evaluation.frechet import frechet_distance
from vqtheory.nn.evaluation.measure import compare, evaluate
from vqtheory.nn.foreign import start_on
from vqtheory.nn.monitor import ModelMonitor, Monitor
from vqtheory.nn.quantize import Info, Quantized, VectorQuantize, step_size
from vqtheory.nn.rates import FollowingRate, parameter_groups
from vqtheory.nn.replacement import Replacement
from vqtheory.nn.restoration import restore
from vqtheory.nn.stacks import GroupedQuantize, MultiHeadQuantize, MultiScaleQuantize, ResidualQuantize, tuple_usage
from vqtheory.nn.training.loop import resume, train
from vqtheory.nn.transport import Transport

__all__ = [
    "Codebook",
    "FollowingRate",
    "GroupedQuantize",
    "Info",
    "ModelMonitor",
    "Monitor",
    "MultiHeadQuantize",
    "MultiScaleQuantize",
    "Quantized",
    "Replacement",
    "ResidualQuantize",
    "TamingQuantizer",
    "Transport",
    "VectorQuantize",
    "compare",
    "evaluate",
    "frechet_distance",
    "parameter_groups",
    "restore",
    "resume",
    "start_on",
    "step_size",
    "train",
    "tuple_usage",
]
