"""Any quantizer, ours or another package's: where its codes are, how it sees latents, and how its codes are moved.

A quantizer of another package either has its codes among its parameters, which an optimizer trains, or makes them anew of
running sums `embed_avg` over counts `cluster_size`, as EMA is written in vector-quantize-pytorch and taming-transformers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vqtheory import rules
from vqtheory._base import check
from vqtheory.nn.adapters import TamingQuantizer
from vqtheory.nn.batches import tensors
from vqtheory.nn.ops.search import assign
from vqtheory.nn.ops.start import draw, warn_of_equal
from vqtheory.nn.quantize import Quantized, VectorQuantize, check_tensor
from vqtheory.nn.references import ReferenceQuantize
from vqtheory.nn.wrappers import quantizer_of
from vqtheory.protocols import Rule


def check_heads(owner: str, quantizer: Any) -> None:
    """Refuses a quantizer with several codebooks side by side."""
    if getattr(quantizer, "heads", 1) != 1:
        raise check.fail(owner, "quantizer", "one with a single head", f"heads={quantizer.heads}")


def finder(owner: str, quantizer: Any, otherwise: str = "") -> Callable[[], Tensor]:
    """What gives the codes [K, D] of a quantizer, each time that it is called; `otherwise` ends the refusal."""
    for name in ("codebook", "embedding", "embed"):
        codes = getattr(quantizer, name, None)
        if isinstance(codes, nn.Module):
            codes = getattr(codes, "weight", None)
            name = f"{name}.weight"
        if isinstance(codes, Tensor) and codes.ndim == 2:
            path = name.split(".")
            return lambda: getattr(getattr(quantizer, path[0]), path[1]) if len(path) > 1 else getattr(quantizer, path[0])
    raise check.fail(owner, "quantizer", f"a module with a codebook [K, D]{otherwise}", type(quantizer).__name__)


def quantizers_in(module: Any) -> dict[str, nn.Module]:
    """The quantizers in a module by their names, the outermost of each branch; of a quantizer itself the name is ""."""
    quantizers: dict[str, nn.Module] = {}
    for name, part in module.named_modules() if isinstance(module, nn.Module) else ():
        inside = any(outer == "" or name.startswith(f"{outer}.") for outer in quantizers)
        if not inside and _is_quantizer(part):
            quantizers[name] = part
    return quantizers


def _is_quantizer(part: nn.Module) -> bool:
    """Ours, or a class that calls itself one and has a codebook [K, D]; an embedding of words does not."""
    if not isinstance(part, VectorQuantize | ReferenceQuantize) and "quantiz" not in type(part).__name__.lower():
        return False
    codes: list[Any] = [getattr(part, name, None) for name in ("codebook", "embedding", "embed")]
    weights = [getattr(value, "weight", value) for value in codes]
    return any(isinstance(weight, Tensor) and weight.ndim == 2 for weight in weights)


def width_of(quantizer: Any, codes: Tensor) -> int:
    """Dimensions of the latents, before the quantizer's own projection."""
    if isinstance(quantizer, VectorQuantize | ReferenceQuantize):
        return quantizer.dim
    project = getattr(quantizer, "project_in", None)
    return project.in_features if isinstance(project, nn.Linear) else codes.shape[1]


def compared(quantizer: Any, latents: Tensor, codes: Tensor) -> Tensor:
    """Latents of any layout as they are compared with the codes, [n, D]."""
    if isinstance(quantizer, VectorQuantize):
        return quantizer._codebook.project(quantizer.project(latents))
    if isinstance(quantizer, ReferenceQuantize):
        return quantizer.project(latents)
    return _projected(quantizer, latents, width_of(quantizer, codes))


def _projected(quantizer: Any, latents: Tensor, width: int) -> Tensor:
    """Latents of a foreign quantizer as rows of D, by its own `project_in` if it has one."""
    project = getattr(quantizer, "project_in", None) or nn.Identity()
    if width not in latents.shape[1:]:
        raise ValueError(f"The latents of the quantizer must have an axis of {width}. Got {tuple(latents.shape)}.")
    first = (latents.ndim >= 4 and latents.shape[1] == width) or latents.shape[-1] != width
    rows = latents.movedim(1, -1) if first else latents
    rows = project(rows.reshape(-1, width))
    return nn.functional.normalize(rows, dim=-1) if getattr(quantizer, "use_cosine_sim", False) else rows


def stored(quantizer: nn.Module, codes: Tensor) -> bool:
    """Whether the codes are kept in the module, and not made by it from something else."""
    kept = [*quantizer.parameters(), *quantizer.buffers()]
    places = {part.untyped_storage().data_ptr() for part in kept if not part.is_meta}
    return codes.untyped_storage().data_ptr() in places


def check_codes(owner: str, quantizer: nn.Module) -> None:
    """Refuses a quantizer without one codebook that can be written to."""
    check_heads(owner, quantizer)
    if not stored(quantizer, finder(owner, quantizer)()):
        name = type(quantizer).__name__
        raise check.fail(owner, "quantizer", "one that keeps its codes, and does not make them of something else", name)


def carry(quantizer: Any, codes: Tensor, moves: Tensor) -> None:
    """Move the codes by `moves` [K, D], in place, and with them the averages from which EMA makes them anew."""
    if isinstance(quantizer, VectorQuantize):
        quantizer._codebook.carry(moves)
        return
    codes = codes.detach()
    codes.add_(moves)
    if getattr(quantizer, "use_cosine_sim", False):
        codes.copy_(nn.functional.normalize(codes, dim=-1))
    for part in averages(quantizer):
        part.embed_avg.data.add_(_smoothed(part)[..., None] * moves)


def place(quantizer: Any, codes: Tensor, rows: Tensor, latents: Tensor) -> None:
    """Put the codes with these numbers on latents [n, D], in place; each weighs in EMA's averages as much as one hit."""
    codes.detach()[rows] = latents.to(codes.dtype)
    for part in averages(quantizer):
        part.cluster_size.data[..., rows] = 1
        part.embed_avg.data[..., rows, :] = _smoothed(part)[..., rows, None] * latents.to(part.embed_avg.dtype)


@torch.no_grad()
def start_on(quantizer: nn.Module, latents: Tensor, seed: int = 0) -> None:
    """Start any quantizer on latents, in any of its layouts: K of them, distinct as far as there are enough.

    Of equal codes the first alone wins. `VectorQuantize` does so by itself, or by its `initialize`. A quantizer that would
    start by itself on its first batch, as with `kmeans_init` of vector-quantize-pytorch, does so no more. In a run of
    several processes all have to call it, and get the same codes. Fewer distinct latents than codes are a `UserWarning`.

    Examples
    --------
    >>> quantizer = nn.Module()
    >>> quantizer.embedding = nn.Embedding(4, 2)
    >>> latents = torch.arange(18.0).reshape(1, 9, 2)
    >>> start_on(quantizer, latents)
    >>> bool((torch.cdist(quantizer.embedding.weight, latents[0]).min(dim=1).values == 0).all())
    True
    """
    inner = quantizer_of(quantizer)
    if isinstance(inner, VectorQuantize):
        inner.initialize(inner.project(latents))
        return
    check_codes("start_on", inner)
    codes = finder("start_on", inner)().detach()
    rows = compared(inner, check_tensor("start_on", "latents", latents), codes)
    rows = draw(rows[rows.isfinite().all(dim=1)], len(codes), seed)
    if len(rows) == 0:  # in all processes
        raise ValueError("start_on needs at least one latent that is finite.")
    warn_of_equal(rows, "give start_on more latents than there are codes")
    place(inner, codes, torch.arange(len(codes), device=codes.device), rows)
    for part in inner.modules():
        if isinstance(getattr(part, "initted", None), Tensor):
            part.initted.fill_(True)


def averages(quantizer: nn.Module) -> list[Any]:
    """The parts that keep running sums and counts of EMA."""
    return [part for part in quantizer.modules() if isinstance(getattr(part, "embed_avg", None), Tensor)]


def _smoothed(part: Any) -> Tensor:
    """The counts by which an EMA codebook divides its sums, smoothed by epsilon."""
    counts, epsilon = part.cluster_size, getattr(part, "eps", 1e-5)
    total = counts.sum(dim=-1, keepdim=True)
    return (counts + epsilon) / (total + counts.shape[-1] * epsilon) * total


def package_of(quantizer: Any) -> str:
    """Whose quantizer it is: the package of its class, or "vqtheory.TamingQuantizer" for ours in that of taming's face."""
    inside = isinstance(quantizer, TamingQuantizer)
    return "vqtheory.TamingQuantizer" if inside else type(quantizer).__module__.partition(".")[0]


def is_codes(quantizer: Any, parameter: Tensor, codes: Tensor) -> bool:
    """Whether a parameter is what an optimizer trains of the quantizer's codes."""
    if isinstance(quantizer, VectorQuantize):
        return any(parameter is trained for trained in quantizer.codebook_parameters())
    return parameter.requires_grad and parameter.data_ptr() == codes.data_ptr()


def rule_of(quantizer: Any, codes: Tensor) -> Rule | None:
    """How the codes move, where that can be seen: by the rule of our layer, by EMA, or by the gradient of the loss."""
    if isinstance(quantizer, VectorQuantize):
        return quantizer.rule
    for part in averages(quantizer):
        decay = getattr(part, "decay", None)
        if getattr(part, "ema_update", True) and isinstance(decay, float) and 0 <= decay < 1:
            return rules.EMA(decay, smoothing=float(getattr(part, "eps", 1e-5)))
    trained = any(is_codes(quantizer, parameter, codes) for parameter in quantizer.parameters())
    return rules.VQ() if trained else None


def indices_in(quantizer: Any, latents: Tensor, codes: Tensor, output: Any) -> Tensor:
    """Which code each latent was given in a pass, [n]; -1 where masked, the nearest codes where none are returned."""
    if isinstance(output, Quantized):
        return output.indices.reshape(-1)
    rows = latents.numel() // width_of(quantizer, codes)
    whole = (value for value in tensors(output) if not value.is_floating_point() and value.numel() == rows)
    indices = next(whole, None)
    if indices is None:  # as where they are returned one-hot
        with torch.no_grad():
            indices = assign(compared(quantizer, latents, codes), codes)
    return indices.detach().reshape(-1)
