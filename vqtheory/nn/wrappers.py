"""What is inside the wrappers that people put around models and optimizers."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer

from vqtheory.nn.adapters import TamingQuantizer

_INSIDE = ("_orig_mod", "module", "_fsdp_wrapped_module")  # of torch.compile, of data parallelism and averages, of FSDP


def quantizer_of(module: Any) -> Any:
    """The quantizer in a `TamingQuantizer`, `DistributedDataParallel`, an average of weights, or what is compiled."""
    if isinstance(module, TamingQuantizer):
        return quantizer_of(module.quantizer)
    inside = [module._modules[name] for name in _INSIDE if isinstance(module, nn.Module) and name in module._modules]
    return quantizer_of(inside[0]) if inside else module


def model_of(module: nn.Module) -> nn.Module:
    """The model in `DistributedDataParallel`, which would communicate, or in what is compiled, which would compile again.

    Of other wrappers it is not known what they do to the inputs.
    """
    if isinstance(module, nn.parallel.DistributedDataParallel):
        return model_of(module.module)
    compiled = module._modules.get("_orig_mod")
    return module if compiled is None else model_of(compiled)


def optimizer_of(optimizer: Any) -> Any:
    """The optimizer in those of accelerate, Lightning and DeepSpeed, which do its steps."""
    inside = getattr(optimizer, "optimizer", None)
    return optimizer_of(inside) if isinstance(inside, Optimizer) else optimizer
