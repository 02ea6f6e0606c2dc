"""Quantizers of vector-quantize-pytorch as a measure for the rules: codebook-free ones, and the popular cure of EMA.

None of them is written again here: the package's classes are used as they are, through the face of `VectorQuantize` that
`vqtheory.nn.training` works with. Needs the package: ``pip install vector-quantize-pytorch``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vqtheory._base import check
from vqtheory._base.config import Configured
from vqtheory.nn.batches import tensors
from vqtheory.nn.codebooks.base import Batch
from vqtheory.nn.ops.layout import Layout
from vqtheory.nn.quantize import Info, Quantized, info_of


class Reference(Configured):
    """The configuration of another package's quantizer, which stands where a rule stands in `TrainingConfig`."""

    key: ClassVar[str] = ""
    start: ClassVar[str] = "its own"
    needs_displacement: ClassVar[bool] = False

    def module(self, dim: int, codes: int, beta: float) -> nn.Module:
        """The package's module for latents of `dim` dimensions."""
        raise NotImplementedError

    def check_codes(self, owner: str, codes: int) -> None:
        """Refuse a number of codes that it cannot have."""

    def codebook(self, module: Any) -> Tensor:
        """The codes [K, d] of the package's module."""
        return module.codebook

    def placed(self, module: Any, rows: Tensor) -> Tensor:
        """Projected latents [n, d] as they are compared with the codes."""
        return rows


@dataclass(frozen=True, repr=False)
class FSQ(Reference):
    """Finite scalar quantization (Mentzer et al., arXiv 2309.15505): each dimension is rounded to one of few levels.

    There are no codes to move: the `codes` of a training must be the product of the levels.

    Parameters
    ----------
    levels : sequence of int, default (8, 5, 5, 5)
        Of each dimension; the default is the paper's for about 2^10 codes, which are 1,000.
    """

    levels: tuple[int, ...] = (8, 5, 5, 5)
    key: ClassVar[str] = "fsq"

    def __post_init__(self) -> None:
        check.instance("FSQ", "levels", self.levels, (tuple, list), "a sequence of int")
        levels = tuple(check.integer("FSQ", "levels", level, 3) for level in self.levels)
        if not levels:
            raise check.fail("FSQ", "levels", "at least one level", self.levels)
        self._keep(levels=levels)

    def check_codes(self, owner: str, codes: int) -> None:
        """The product of the levels."""
        if codes != math.prod(self.levels):
            wanted = f"{math.prod(self.levels):,}, the product of FSQ's levels {list(self.levels)}"
            raise check.fail(owner, "codes", wanted, codes)

    def module(self, dim: int, codes: int, beta: float) -> nn.Module:
        """Latents are projected to as many dimensions as there are levels, and back."""
        return _package().FSQ(levels=list(self.levels), dim=dim)

    def codebook(self, module: Any) -> Tensor:
        """The grid."""
        return module.implicit_codebook

    def placed(self, module: Any, rows: Tensor) -> Tensor:
        """Before they are rounded: h tanh(z + atanh(o / h)) - o over the half width, h = (L - 1) 1.001 / 2."""
        levels = module._levels
        half, offset = (levels - 1) * 1.001 / 2, torch.where(levels % 2 == 0, 0.5, 0.0)
        return (torch.tanh(rows + torch.atanh(offset / half)) * half - offset) / (levels // 2)


@dataclass(frozen=True, repr=False)
class LFQ(Reference):
    """Lookup-free quantization (Yu et al., arXiv 2310.05737): the signs of log2(K) dimensions, with an entropy loss.

    Parameters
    ----------
    entropy_weight : float, default 0.1
        Of the entropy loss, which holds single choices certain and all choices even.
    """

    entropy_weight: float = 0.1
    key: ClassVar[str] = "lfq"
    options: ClassVar[dict[str, Any]] = {}  # of the package's class

    def __post_init__(self) -> None:
        self._keep(entropy_weight=check.real(type(self).__name__, "entropy_weight", self.entropy_weight, 0))

    def check_codes(self, owner: str, codes: int) -> None:
        """A power of two, at least 2."""
        lower = 2 ** max(codes.bit_length() - 1, 1)
        if codes != lower:
            nearest = min(lower, 2 * lower, key=lambda power: abs(power - codes))
            wanted = f"a power of two for {type(self).__name__}, of which {nearest:,} is the nearest"
            raise check.fail(owner, "codes", wanted, codes)

    def module(self, dim: int, codes: int, beta: float) -> nn.Module:
        """Latents are projected to log2(codes) dimensions, and back."""
        weights = {"entropy_loss_weight": self.entropy_weight, "commitment_loss_weight": beta}
        return _package().LFQ(dim=dim, codebook_size=codes, **weights, **self.options)


@dataclass(frozen=True, repr=False)
class BSQ(LFQ):
    """Binary spherical quantization (Zhao et al., arXiv 2406.07548): LFQ on the unit sphere.

    Parameters
    ----------
    entropy_weight : float, default 0.1
    """

    key: ClassVar[str] = "bsq"
    options: ClassVar[dict[str, Any]] = {"spherical": True}

    def codebook(self, module: Any) -> Tensor:
        """The corners of a cube, of length 1."""
        return module.maybe_l2norm(module.codebook)

    def placed(self, module: Any, rows: Tensor) -> Tensor:
        """Of length 1."""
        return module.maybe_l2norm(rows)


@dataclass(frozen=True, repr=False)
class ExpiringEMA(Reference):
    """EMA whose hardly used codes are put on latents of the batch: the package's `VectorQuantize`, the popular cure.

    It starts by k-means on the first batches. The gradient passes straight through, as in the other rows of a table.

    Parameters
    ----------
    decay : float, default 0.8
    threshold : float, default 2
        Codes whose running count falls below it are replaced.
    """

    decay: float = 0.8
    threshold: float = 2.0
    key: ClassVar[str] = "expiring-ema"
    start: ClassVar[str] = "matched"

    def __post_init__(self) -> None:
        decay = check.real("ExpiringEMA", "decay", self.decay, 0)
        if decay >= 1:
            raise check.fail("ExpiringEMA", "decay", "a number >= 0 and < 1", self.decay)
        self._keep(decay=decay, threshold=check.real("ExpiringEMA", "threshold", self.threshold, 0))

    def module(self, dim: int, codes: int, beta: float) -> nn.Module:
        """As its page recommends it against dead codes."""
        options = {"decay": self.decay, "threshold_ema_dead_code": self.threshold, "kmeans_init": True}
        options |= {"commitment_weight": beta, "rotation_trick": False, "straight_through": False}
        return _package().VectorQuantize(dim=dim, codebook_size=codes, accept_image_fmap=True, **options)


REFERENCES: dict[str, type[Reference]] = {kind.key: kind for kind in (FSQ, LFQ, BSQ, ExpiringEMA)}
BY_NAME: dict[str, type[Reference]] = {kind.__name__: kind for kind in REFERENCES.values()}


class ReferenceQuantize(nn.Module):
    """A quantizer of another package with the face of `VectorQuantize`, for latents [b, d, h, w].

    What is random in it is a function of `seed` and the number of passes in training alone.
    """

    step: Tensor

    def __init__(self, reference: Reference, dim: int, codes: int, beta: float = 0.25, seed: int = 0) -> None:
        super().__init__()
        self.reference, self.dim, self.codebook_size, self.seed = reference, dim, codes, seed
        self.inner: Any = reference.module(dim, codes, beta)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @property
    def started(self) -> bool:
        """Whether it has codes; those without a codebook always have."""
        inner = getattr(self.inner, "_codebook", None)
        return inner is None or bool(inner.initted)

    @torch.no_grad()
    def initialize(self, latents: Tensor) -> None:
        """Start from latents [N, d], by the package's k-means."""
        if isinstance(self.reference, ExpiringEMA):
            self.inner._codebook.initted.fill_(False)
            with self._drawn(latents):
                self.inner._codebook.init_embed_(latents[None])

    @contextmanager
    def _drawn(self, latents: Tensor) -> Iterator[None]:
        """Where what is random is a function of the seed and the passes."""
        with torch.random.fork_rng([latents.device] if latents.is_cuda else []):
            torch.manual_seed(self.seed + int(self.step))
            yield

    @property
    def codebook(self) -> Tensor:
        """The codes [K, d], in the space in which latents are compared with them."""
        return self.reference.codebook(self.inner)

    @property
    def codebook_dim(self) -> int:
        """d."""
        return self.codebook.shape[1]

    def codebook_parameters(self) -> list[nn.Parameter]:
        """None: no optimizer moves these codes."""
        return []

    def forward(self, latents: Tensor, displacement: Tensor | None = None) -> Quantized:
        """Quantize latents [b, d, h, w]."""
        with self._drawn(latents):
            quantized, *rest = self.inner(latents)
        if self.training:
            self.step += 1
        indices = next(part for part in tensors(rest) if not part.is_floating_point()).long()
        losses = [part.mean() for part in tensors(rest) if part.is_floating_point()]
        loss = sum(losses, start=latents.new_zeros(()))
        return Quantized(quantized, indices, loss, self._info(latents.detach(), indices.reshape(-1)))

    @torch.no_grad()
    def project(self, latents: Tensor) -> Tensor:
        """Latents [b, d, h, w] as rows [n, d], as they are compared with the codes."""
        return self.reference.placed(self.inner, self.inner.project_in(Layout.of(latents, True, None).rows(latents)))

    def _info(self, latents: Tensor, indices: Tensor) -> Info:
        z, every = self.project(latents), torch.ones_like(indices, dtype=torch.bool)
        batch = Batch(z, every, self.step)
        return info_of(batch, self.codebook[indices], indices, self.codebook_size, z.new_zeros(()))


def _package() -> Any:
    try:
        import vector_quantize_pytorch
    except ImportError as error:
        needed = "FSQ, LFQ, BSQ and ExpiringEMA need their package: pip install vector-quantize-pytorch."
        raise ImportError(needed) from error
    return vector_quantize_pytorch
