"""The latents that a codebook starts on."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from vqtheory.nn.ops import processes


def draw(latents: Tensor, num_codes: int, seed: int) -> Tensor:
    """Latents [num_codes, D], distinct as far as there are, of [N, D] in the process that has most; the same in all.

    None at all, [0, D], where no process has a latent.
    """
    source = processes.fullest(len(latents), latents.device)
    if source is None:
        return latents[:0]
    codes = latents.new_zeros(num_codes, latents.shape[1])
    if source == processes.rank():
        codes.copy_(_distinct(latents, num_codes, seed))
    processes.share(codes, source)
    return codes


def warn_of_equal(codes: Tensor, how: str, stacklevel: int = 3) -> None:
    """Say so where codes that start on latents are not distinct."""
    distinct = len(codes.unique(dim=0))
    if distinct < len(codes):
        warnings.warn(
            f"The codebook of {len(codes)} codes starts on {distinct} distinct latents, and of equal codes the first alone "
            f"wins: {how}.",
            stacklevel=stacklevel,
        )


def _distinct(latents: Tensor, num_codes: int, seed: int) -> Tensor:
    """In a random order the first distinct latents [num_codes, D], and over again where there are fewer."""
    order = torch.randperm(len(latents), generator=torch.Generator().manual_seed(seed), device="cpu").to(latents.device)
    size = 2 * num_codes
    while True:
        rows = latents[order[:size]]
        first = _first_of_equals(rows)
        if len(first) >= num_codes or size >= len(order):
            break
        size *= 4
    places = first[np.arange(num_codes) % len(first)]
    return rows[torch.from_numpy(places).to(rows.device)]


def _first_of_equals(rows: Tensor) -> np.ndarray:
    """Where each distinct row is first."""
    _, which = torch.unique(rows, dim=0, return_inverse=True)
    return np.sort(np.unique(which.cpu().numpy(), return_index=True)[1])
