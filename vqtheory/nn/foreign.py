"""Any quantizer, ours or another package's: where its codes are, how it sees latents, and how its codes are moved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from vqtheory._base import check
from vqtheory.nn.quantize import VectorQuantize
from vqtheory.nn.references import ReferenceQuantize


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


def carry(quantizer: Any, codes: Tensor, moves: Tensor) -> None:
    """Move the codes by `moves` [K, D], in place, and with them the averages from which EMA makes them anew."""
    if isinstance(quantizer, VectorQuantize):
        quantizer._codebook.carry(moves)
        return
    codes = codes.detach()
    codes.add_(moves)
    if getattr(quantizer, "use_cosine_sim", False):
        codes.copy_(nn.functional.normalize(codes, dim=-1))
    for part in quantizer.modules():
        if isinstance(getattr(part, "embed_avg", None), Tensor):
            _carry_sums(part, moves)


def _carry_sums(part: Any, moves: Tensor) -> None:
    """The sums M of an EMA codebook, whose codes are M over counts smoothed by epsilon."""
    counts, epsilon = part.cluster_size, getattr(part, "eps", 1e-5)
    total = counts.sum(dim=-1, keepdim=True)
    smoothed = (counts + epsilon) / (total + counts.shape[-1] * epsilon) * total
    part.embed_avg.data.add_(smoothed[..., None] * moves)
