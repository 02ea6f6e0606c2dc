"""A layer with two branches: each latent is coded by some adjectives and by one noun.

Zhang et al., "Codebook Transfer with Part-of-Speech for Vector-Quantized Image Modeling", arXiv 2403.10071. A latent has two
halves, a of the adjectives and n of the noun. With the k adjectives that are nearest to a, and the noun nearest to n, all
of them codes of one `rules.GraphVQ`, it becomes

    z_q = (mean of the k adjectives, noun).

The loss is summed over the branches, each with the codebook loss and the commitment of `VectorQuantize`; so each of the k
adjectives gets 1/k of the gradient of their mean. An index is the number of a code among all, adjectives and nouns. (The
official forward pass counts nouns and adjectives from 0 each, and its decoding expects another count, so that it cannot
decode what the forward pass gave.)
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from vqtheory._base import check
from vqtheory.nn.codebooks.base import Batch
from vqtheory.nn.ops.mode import transformed
from vqtheory.nn.ops.passes import advance
from vqtheory.nn.ops.presence import mean, wide
from vqtheory.nn.ops.search import assign, closest
from vqtheory.nn.quantize import Info, VectorQuantize, info_of
from vqtheory.rules import GraphVQ
from vqtheory.rules.base import Rule

_OWNER = "BranchQuantize"


class BranchQuantize(VectorQuantize):
    """Quantize one half of each latent to a mean of adjectives, and the other half to a noun.

    The face of `VectorQuantize`, with straight-through gradients. Indices are [b, h, w, adjectives + 1], the noun last. Both
    halves of all latents make the rows of `project` and `initialize`, in turns: [2 N, dim / 2]. `Monitor` counts the codes
    that are chosen; its distortion, and the rules that `diagnose` plays again, give each half the nearest of all codes.

    Parameters
    ----------
    dim : int
        Dimensions of the latents, an even number. Codes have half of them.
    codebook_size : int
        K, of adjectives and nouns together.
    rule : GraphVQ or "graph", optional
        Its `nouns` says which codes are nouns. By default ``GraphVQ()``, half of whose codes are nouns.
    start : {"matched", "published"}, optional
    adjectives : int, default 2
        k, of a latent.
    codebook_weight, commitment_weight : float, default 1, 0.25
    seed : int, default 0
        As in `VectorQuantize`, as is `start`.

    Raises
    ------
    ValueError
        For parameters out of range, for another rule, and for a graph with fewer than k adjectives or without a noun; from
        `forward` for latents of another shape; from `indices_to_codes` for what is not k adjectives and a noun.

    Examples
    --------
    >>> layer = BranchQuantize(dim=8, codebook_size=32)
    >>> latents = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    >>> quantized, indices, loss, info = layer(latents)
    >>> quantized.shape, indices.shape, int(info.hits.sum())
    (torch.Size([2, 8, 4, 4]), torch.Size([2, 4, 4, 3]), 96)
    >>> bool((indices[..., :2] < 16).all()), bool((indices[..., 2] >= 16).all())
    (True, True)
    """

    adjective_codes: Tensor  # int64, their numbers
    noun_codes: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        rule: Rule | str = "graph",
        start: str | None = None,
        *,
        adjectives: int = 2,
        codebook_weight: float = 1.0,
        commitment_weight: float = 0.25,
        seed: int = 0,
    ) -> None:
        if check.integer(_OWNER, "dim", dim) % 2:
            raise check.fail(_OWNER, "dim", "even, for two halves", dim)
        if rule != GraphVQ.key and not isinstance(rule, GraphVQ):
            raise check.fail(_OWNER, "rule", "GraphVQ, whose codes are adjectives and nouns", rule)
        super().__init__(
            dim // 2,
            codebook_size,
            rule,
            start,
            codebook_weight=codebook_weight,
            commitment_weight=commitment_weight,
            seed=seed,
        )
        self.dim = 2 * self.codebook_dim
        self.adjectives = check.integer(_OWNER, "adjectives", adjectives)
        nouns = self.rule.nouns(self.codebook_size)  # type: ignore[attr-defined]
        self.register_buffer("adjective_codes", torch.from_numpy(np.flatnonzero(~nouns)), persistent=False)
        self.register_buffer("noun_codes", torch.from_numpy(np.flatnonzero(nouns)), persistent=False)
        counts = len(self.adjective_codes), len(self.noun_codes)
        if counts[0] < self.adjectives or counts[1] == 0:
            wanted = f"enough for {adjectives} adjectives and a noun"
            raise check.fail(_OWNER, "codebook_size", wanted, f"{counts[0]} adjectives and {counts[1]} nouns")

    def arguments(self) -> dict[str, Any]:
        """What makes a layer like this one."""
        names = ("dim", "codebook_size", "rule", "adjectives", "codebook_weight", "commitment_weight", "seed")
        return {name: getattr(self, name) for name in names}

    def project(self, latents: Tensor) -> Tensor:
        """Halves of latents as rows [2 N, dim / 2], the adjectives' and the noun's in turns."""
        return self._halves(super().project(latents)).flatten(0, 1)

    def chosen(self, indices: Tensor) -> Tensor:
        """What stands for both halves of a latent, [..., 2, dim / 2], for indices [..., k + 1]; zeros where they are -1."""
        self._check_indices(indices)
        kept = indices[..., :1, None] >= 0
        return torch.where(kept, self._mixed(indices.clamp_min(0), self.codebook), 0)

    def _decoded(self, indices: Tensor) -> Tensor:
        return self.chosen(indices).flatten(-2)

    def _check_indices(self, indices: Tensor) -> None:
        wanted = (
            f"{self.adjectives} adjectives and a noun on the last axis, by their numbers among {self.codebook_size} codes"
        )
        message = f"The indices of {_OWNER} must be {wanted}, or all of them -1 where there is no latent."
        if indices.is_floating_point() or indices.ndim == 0 or indices.shape[-1] != self.adjectives + 1:
            raise ValueError(f"{message} Got {indices.dtype} of shape {tuple(indices.shape)}.")
        kinds = torch.isin(indices[..., :-1], self.adjective_codes), torch.isin(indices[..., -1:], self.noun_codes)
        right = torch.cat(kinds, dim=-1).all(dim=-1) | (indices == -1).all(dim=-1)
        if not bool(right.all()):
            raise ValueError(f"{message} Got {indices[~right][0].tolist()}.")

    def _halves(self, rows: Tensor) -> Tensor:
        """[N, dim] to [N, 2, dim / 2]."""
        return rows.unflatten(-1, (2, self.codebook_dim))

    def _mixed(self, indices: Tensor, codes: Tensor) -> Tensor:
        """The mean of the adjectives, and the noun: [..., 2, D] of indices [..., k + 1]."""
        chosen = nn.functional.embedding(indices, codes)
        return torch.stack([chosen[..., :-1, :].mean(dim=-2), chosen[..., -1, :]], dim=-2)

    def _nearest(self, x: Tensor, codes: Tensor) -> Tensor:
        """Indices [N, k + 1] of latents [N, 2, D], among adjectives and among nouns."""
        several = closest(x[:, 0], codes[self.adjective_codes], self.adjectives)
        one = assign(x[:, 1], codes[self.noun_codes])
        return torch.cat([self.adjective_codes[several], self.noun_codes[one][:, None]], dim=1)

    def _quantize(self, z: Tensor, keep: Tensor, displacement: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Info]:
        """Latents [N, dim] to codes with the straight-through gradient, indices [N, k + 1], loss and info."""
        with torch.autocast(z.device.type, enabled=False):
            z = wide(z)
            x = z.detach()
            if not self._seen_started:
                self._look(self._halves(x).flatten(0, 1), keep.repeat_interleave(2))
            codes = self._codebook.codes().to(x.dtype)
            indices = self._nearest(self._halves(x), codes.detach())
            chosen = self._mixed(indices, codes).flatten(1)
            loss = self.codebook_weight * self._error(x, chosen, keep)
            loss = loss + self.commitment_weight * self._error(z, chosen.detach(), keep)
            cells = torch.where(keep[:, None], indices, self.codebook_size).ravel()
            info = info_of(Batch(x, keep, self.step), chosen.detach(), cells, self.codebook_size, x.new_zeros(()))
            if self.training and self._seen_started and not transformed():
                advance(self.step)
            quantized = chosen.detach() + (z - x)  # z - x is 0: the codes to the bit, so that indices decode to the same
        return quantized, torch.where(keep[:, None], indices, -1), loss, info

    def _error(self, latents: Tensor, chosen: Tensor, keep: Tensor) -> Tensor:
        """The mean squared difference of each branch, summed over both."""
        return mean((latents - chosen).square().sum(dim=1) / self.codebook_dim, keep)

    def step_inside(self, optimizer: torch.optim.Optimizer) -> NoReturn:
        """Refused: the codes move outside the pass alone."""
        raise NotImplementedError(f"{_OWNER} has no steps inside a pass: use a VectorQuantize for alternating updates.")

    def extra_repr(self) -> str:
        """The rule, as its dataclass writes it."""
        sizes = f"dim={self.dim}, codebook_size={self.codebook_size}, adjectives={self.adjectives}"
        return f"{sizes}, rule={self.rule!r}"


def selected(quantizer: Any, indices: Tensor) -> tuple[Tensor, Tensor]:
    """What indices stand for, a row for each row of `project`, and which rows have a code: [n, D] and bool [n]."""
    if isinstance(quantizer, BranchQuantize):
        return quantizer.chosen(indices).flatten(0, -2), (indices[..., :2] >= 0).ravel()
    flat = indices.flatten()
    return quantizer.codebook[flat.clamp_min(0)], flat >= 0
