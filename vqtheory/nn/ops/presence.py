"""Which rows of a batch are latents: those that are not masked, and whose squared length is a finite number.

All other rows are filled with the first latent that there is, so that nothing in them reaches a sum or a gradient. No
step of it waits for an accelerator.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vqtheory.nn.ops.mode import transformed


def wide(values: Tensor) -> Tensor:
    """In float32 at least."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def finite(rows: Tensor) -> Tensor:
    """Of rows [N, D] those whose squared length is finite: bool [N]."""
    rows = rows.detach()
    dtype = torch.float64 if rows.dtype == torch.float64 else torch.float32
    return torch.linalg.vector_norm(rows, dim=1, dtype=dtype).square().isfinite()


def fill(rows: Tensor, keep: Tensor) -> Tensor:
    """Rows [N, D] with the first that is kept in place of all that are not; zeros where there is none."""
    if rows.shape[0] == 0 or whole(keep):
        return rows
    first = keep.int().argmax().reshape(1)
    filler = torch.where(keep.index_select(0, first)[:, None], rows.detach().index_select(0, first), 0)
    return torch.where(keep[:, None], rows, filler)


def restore(rows: Tensor, keep: Tensor, original: Tensor) -> Tensor:
    """Rows [N, D] with the original ones in place of those that are not kept."""
    return rows if whole(keep) else torch.where(keep[:, None], rows, original)


def mean(values: Tensor, keep: Tensor) -> Tensor:
    """The mean of values [N] over the rows that are kept; 0 where there are none."""
    return torch.where(keep, values, 0).sum() / keep.sum().clamp_min(1)


def whole(keep: Tensor) -> bool:
    """Whether all rows are known to be kept: on a CPU, where to look costs nothing."""
    return keep.is_cpu and not torch.compiler.is_compiling() and not transformed() and bool(keep.all())
