"""DiVeQ and its space-filling form: quantization as a step of some length in a direction held constant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import embedding, normalize

from vqtheory._base import check
from vqtheory.nn.estimators.base import Estimator, Lookup, products
from vqtheory.nn.ops import noise
from vqtheory.nn.ops.search import assign


@dataclass(frozen=True, repr=False)
class DiVeQ(Estimator):
    """Quantization as a step of length |c - z| along a direction v that is held constant.

    With d the direction from z to c the latent gets g - d (v.g), and the code d (v.g): the decoder moves codes, along d
    alone. In training v is the direction of c - z plus noise, else it is d. As published it stands alone: give the
    codebook loss and the commitment a weight of 0.

    Parameters
    ----------
    variance : float, default 1e-3
        Of the noise in each dimension, in the latents' unit squared. It should be well below that of a cell.
    """

    variance: float = 1e-3
    key: ClassVar[str] = "diveq"
    moves_codes: ClassVar[bool] = True
    is_random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self._keep(variance=check.real(type(self).__name__, "variance", self.variance, 0))

    def __call__(self, lookup: Lookup) -> Tensor:
        return lookup.latents + self._step(lookup, lookup.chosen, 0)

    def _step(self, lookup: Lookup, target: Tensor, number: int) -> Tensor:
        """|t - z| v of targets t [N, D]; `number` keeps the noise of several steps apart."""
        way = target - lookup.latents
        noisy = way.detach()
        if lookup.training and self.variance > 0:
            rows = noise.rows(lookup.latents, 2 * lookup.step + number, lookup.seed)
            noisy = noisy + self.variance**0.5 * rows
        return way.norm(dim=1, keepdim=True) * normalize(noisy, dim=1, eps=torch.finfo(way.dtype).tiny)


@dataclass(frozen=True, repr=False)
class SpaceFillingDiVeQ(DiVeQ):
    """DiVeQ onto the curve of all codes in their order: to a point between a code and the next one.

    In training each of the K - 1 segments offers one point at random, and a latent goes to the nearest of these; it moves
    both ends, so that no code is left alone. In evaluation a latent goes to the nearest point of the two segments at its
    nearest code. Then indices do not say all: with ``curve=False`` it goes to the code itself.

    Parameters
    ----------
    variance : float, default 1e-3
    curve : bool, default True
        Whether latents go to the curve in evaluation, as published.
    """

    curve: bool = True
    key: ClassVar[str] = "space-filling-diveq"

    def __post_init__(self) -> None:
        super().__post_init__()
        check.flag("SpaceFillingDiVeQ", "curve", self.curve)

    def check_codes(self, owner: str, codes: int) -> None:
        if codes < 2:
            raise check.fail(owner, "codebook_size", "at least 2 for the estimator 'space-filling-diveq'", codes)

    def __call__(self, lookup: Lookup) -> Tensor:
        first, share = self._places(lookup)
        start, end = embedding(first, lookup.codes), embedding(first + 1, lookup.codes)
        return lookup.latents + (1 - share) * self._step(lookup, start, 0) + share * self._step(lookup, end, 1)

    @torch.no_grad()
    def _places(self, lookup: Lookup) -> tuple[Tensor, Tensor]:
        """The segments of latents, by their first codes [N], and how far along each [N, 1]."""
        codes, indices, last = lookup.codes, lookup.indices, len(lookup.codes) - 2
        if lookup.training:
            shares = noise.shares(codes[1:, :1], lookup.step, lookup.seed)
            first = assign(lookup.latents, codes[:-1] + shares * (codes[1:] - codes[:-1]))
            return first, shares[first]
        if not self.curve:
            return indices.clamp_max(last), (indices > last)[:, None].to(codes.dtype)
        ends = [_along(lookup, (indices + offset).clamp(0, last)) for offset in (-1, 0)]
        (first, share, squared), (second, other, nearer) = ends
        return torch.where(nearer < squared, second, first), torch.where((nearer < squared)[:, None], other, share)


def _along(lookup: Lookup, first: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest points of the segments that begin at codes `first` [N]: these, the share [N, 1], the squared distance."""
    start, way = embedding(first, lookup.codes), embedding(first + 1, lookup.codes) - embedding(first, lookup.codes)
    tiny = torch.finfo(way.dtype).tiny
    share = (products(lookup.latents - start, way) / products(way, way).clamp_min(tiny)).clamp(0, 1)
    return first, share, (lookup.latents - start - share * way).square().sum(dim=1)
