"""The layer: vector quantization in torch by the rules of the simulator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vqtheory._base import check
from vqtheory.nn.codebooks import RULES, Codebook
from vqtheory.nn.estimators import ESTIMATORS
from vqtheory.nn.ops import processes
from vqtheory.rules.base import Rule


class Info(NamedTuple):
    """What a batch says of the codebook; tensors on the device of the latents."""

    hits: Tensor  # int64 [K]
    usage: Tensor  # share of the codes that are hit
    perplexity: Tensor  # exp of the entropy of the hits
    distortion: Tensor  # mean of |x - c|^2, summed over the dimensions


class Quantized(NamedTuple):
    """What the layer returns."""

    quantized: Tensor  # as the latents
    indices: Tensor  # int64, [b, n] or [b, h, w]; -1 where masked
    loss: Tensor  # codebook_weight * codebook loss + commitment_weight * commitment loss
    info: Info


class VectorQuantize(nn.Module):
    """Vector quantization of latents, the codebook moved by one of the simulator's rules.

    The rule says how codes are to move, the optimizer of the model how far: all fields of the rule but `step_size` and
    `optimizer` are read. The codebook loss is the mean of |x - c_q|^2 over samples and dimensions, x without gradient,
    so that plain SGD with the rate lr moves the codebook by the rule at eta = 2 lr codebook_weight / D
    (`vqtheory.nn.step_size`). EMA and the propagate form of NSVQ move codes in the forward pass, in training only.
    Schedules of the rule run on the number of forward passes in training.

    Parameters
    ----------
    dim : int
        Dimensions of the latents.
    codebook_size : int
        K.
    rule : str or rule, default "vq"
        A rule of `vqtheory.rules`, or its `key`, such as "ema" for ``rules.EMA()``; the page docs/rules.md has all of them.
        The bandwidth of "nsvq" does not shrink; give `rules.NSVQ` a schedule for that.
    start : {"matched", "published"}, optional
        In place of the rule's own. A matched start takes K latents of the first batch in training; map rules take
        their mean and spread. `initialize` does it beforehand.
    codebook_dim : int, optional
        Dimensions of the codes; latents are projected to it and back by linear maps. Default: `dim`.
    codebook_weight, commitment_weight : float, default 1, 0.25
        Weights of the two parts of the loss; the second is beta.
    beta_on_codebook : bool, default False
        Put beta on the codebook loss in place of the commitment, as the first VQGAN code does by mistake.
    estimator : {"straight-through", "rotation", "code-gradient"}, default "straight-through"
        How the decoder's gradient passes: `vqtheory.nn.estimators`.
    code_gradient : float, default 1
        alpha of the estimator "code-gradient".
    accept_image_fmap : bool, optional
        Whether latents are [b, d, h, w]; by default if they have four axes.
    seed : int, default 0
        Of the start.

    Raises
    ------
    ValueError
        For parameters out of range, and from `forward` for latents of another shape.

    Examples
    --------
    >>> import torch
    >>> from vqtheory.nn import VectorQuantize
    >>> layer = VectorQuantize(dim=8, codebook_size=32, rule="nsvq")
    >>> quantized, indices, loss, info = layer(torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(0)))
    >>> quantized.shape, indices.shape, int(info.hits.sum())
    (torch.Size([2, 8, 4, 4]), torch.Size([2, 4, 4]), 32)
    """

    step: Tensor
    started: Tensor

    def __init__(
        self,
        dim: int,
        codebook_size: int,
        rule: Rule | str = "vq",
        start: str | None = None,
        *,
        codebook_dim: int | None = None,
        codebook_weight: float = 1.0,
        commitment_weight: float = 0.25,
        beta_on_codebook: bool = False,
        estimator: str = "straight-through",
        code_gradient: float = 1.0,
        accept_image_fmap: bool | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        owner = "VectorQuantize"
        self.dim = check.integer(owner, "dim", dim)
        self.codebook_size = check.integer(owner, "codebook_size", codebook_size)
        self.codebook_dim = self.dim if codebook_dim is None else check.integer(owner, "codebook_dim", codebook_dim)
        self.rule = _rule(rule, start)
        weights = (
            check.real(owner, "codebook_weight", codebook_weight, 0),
            check.real(owner, "commitment_weight", commitment_weight, 0),
        )
        self.codebook_weight, self.commitment_weight = weights[::-1] if beta_on_codebook else weights
        self.estimator = check.choice(owner, "estimator", estimator, ESTIMATORS)
        codebook = Codebook.of(type(self.rule))
        if self.estimator == "code-gradient" and not codebook.trained:
            wanted = f"one that needs no gradient of the codes with rule={self.rule.key!r}"
            raise check.fail(owner, "estimator", wanted, estimator)
        self.code_gradient = check.real(owner, "code_gradient", code_gradient, 0)
        self.accept_image_fmap, self.seed = accept_image_fmap, check.integer(owner, "seed", seed, 0)
        projects = self.codebook_dim != self.dim
        self.project_in = nn.Linear(self.dim, self.codebook_dim) if projects else nn.Identity()
        self.project_out = nn.Linear(self.codebook_dim, self.dim) if projects else nn.Identity()
        self._codebook: Codebook = codebook(self.rule, self.codebook_size, self.codebook_dim)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self._is_started = False
        if self.rule.start == "published":
            self.initialize(torch.zeros(1, self.codebook_dim))

    @property
    def codebook(self) -> Tensor:
        """The codes [K, codebook_dim], without gradient."""
        return self._codebook.codes().detach()

    @torch.compiler.disable  # the start is the simulator's, in numpy
    @torch.no_grad()
    def initialize(self, latents: Tensor) -> None:
        """Start from latents [N, codebook_dim]: K of them, by `seed`; where there are fewer, some codes begin as equals.

        Of equal codes the first alone wins. Call it with more latents than codes before training on smaller batches.
        """
        latents = self._codebook.project(latents.detach().reshape(-1, self.codebook_dim))
        random = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(latents), generator=random)
        chosen = order.repeat(-(-self.codebook_size // len(order)))[: self.codebook_size]
        codes = latents[chosen.to(latents.device)]
        processes.share_first(codes)
        state = self.rule.init(codes.double().cpu().numpy(), self.seed)
        self._codebook.load(state)
        self._is_started = True
        self.started.fill_(True)

    def forward(self, latents: Tensor, mask: Tensor | None = None, displacement: Tensor | None = None) -> Quantized:
        """Quantize latents [b, n, d] or [b, d, h, w].

        `mask`, bool [b, n] or [b, h, w], is False for latents to leave as they are; `displacement`, of the shape of the
        latents, is how far the encoder has moved each since the update before, for NSVQ's propagate form.
        """
        image = latents.ndim == 4 if self.accept_image_fmap is None else self.accept_image_fmap
        self._check(latents, image, mask)
        rows = _rows(latents, image)
        flat = self.project_in(rows.reshape(-1, self.dim))
        shown = None if mask is None else mask.reshape(-1)
        z = flat if shown is None else flat[shown]
        moved = None if displacement is None else self._moved(_rows(displacement, image).reshape(-1, self.dim))
        chosen, indices, loss, info = self._quantize(z, moved if shown is None or moved is None else moved[shown])
        if shown is not None:
            chosen, indices = flat.index_put((shown,), chosen.to(flat.dtype)), _scatter(shown, indices)
        result = self.project_out(chosen.to(latents.dtype)).reshape(rows.shape)
        shape = rows.shape[:-1]
        if image:
            result, shape = (
                result.reshape(latents.shape[0], *latents.shape[2:], -1).permute(0, 3, 1, 2),
                latents.shape[:1] + latents.shape[2:],
            )
        return Quantized(result, indices.reshape(shape), loss, info)

    def project(self, latents: Tensor) -> Tensor:
        """Latents [b, n, d] or [b, d, h, w] as rows [N, codebook_dim], as they are compared with the codes."""
        image = latents.ndim == 4 if self.accept_image_fmap is None else self.accept_image_fmap
        return self.project_in(_rows(latents, image).reshape(-1, self.dim))

    def codebook_parameters(self) -> list[nn.Parameter]:
        """What an optimizer trains of the codebook: the codes, or the parameters of their map; none with EMA."""
        return [parameter for parameter in self._codebook.parameters() if parameter.requires_grad]

    @torch.no_grad()
    def _moved(self, displacement: Tensor) -> Tensor:
        """Moves of latents [N, d] as moves of their projections."""
        if not isinstance(self.project_in, nn.Linear):
            return displacement
        return nn.functional.linear(displacement, self.project_in.weight)

    def _quantize(self, z: Tensor, displacement: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Info]:
        """Latents [N, D] to codes with the estimator's gradient, indices, loss and info."""
        with torch.autocast(z.device.type, enabled=False):
            z = self._codebook.project(z if z.dtype == torch.float64 else z.float())
            x = z.detach()
            if self.training and not self._is_started:
                self.initialize(x)
            if self.training:
                self._codebook.settle()
            codes = self._codebook.codes().to(x.dtype)
            indices, attraction = self._codebook.assign(x, codes, self.step)
            chosen = nn.functional.embedding(indices, codes)  # whose gradient has the same bits on any number of threads
            codebook_loss = self._codebook.loss(x, chosen) + attraction
            commitment = (z - chosen.detach()).square().mean(dim=1).mean()  # likewise
            loss = self.codebook_weight * codebook_loss + self.commitment_weight * commitment
            quantized = ESTIMATORS[self.estimator](z, chosen, self.code_gradient)
            info = _info(x, chosen.detach(), indices, self.codebook_size)
            if self.training:
                self._codebook.update(x, chosen.detach(), indices, self.step, displacement)
                self.step.add_(1)
        return quantized, indices, loss, info

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        """Latents of the model for indices [...]: [..., d]; a channel axis second where `accept_image_fmap` is True."""
        latents = self.project_out(self.codebook[indices])
        return latents.movedim(-1, 1) if self.accept_image_fmap else latents

    def _check(self, latents: Tensor, image: bool, mask: Tensor | None) -> None:
        axis, axes = (1, 4) if image else (-1, 3)
        if latents.ndim != axes or latents.shape[axis] != self.dim:
            wanted = f"[b, {self.dim}, h, w]" if image else f"[b, n, {self.dim}]"
            raise ValueError(f"The latents of VectorQuantize must have the shape {wanted}. Got {tuple(latents.shape)}.")
        shape = latents.shape[:1] + latents.shape[2:] if image else latents.shape[:-1]
        if mask is not None and (mask.shape != shape or mask.dtype != torch.bool):
            raise ValueError(
                f"The mask of VectorQuantize must be bool {tuple(shape)}. Got {mask.dtype} {tuple(mask.shape)}."
            )

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *arguments: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        self._is_started = bool(self.started)

    def extra_repr(self) -> str:
        """The rule, as its dataclass writes it."""
        return f"dim={self.dim}, codebook_size={self.codebook_size}, rule={self.rule!r}, estimator={self.estimator!r}"


def step_size(*, lr: float | None = None, eta: float | None = None, dim: int, weight: float = 1.0) -> float:
    """The simulator's step size of SGD with a learning rate, or the other way round: eta = 2 lr weight / D.

    >>> step_size(lr=0.1, dim=4), step_size(eta=0.05, dim=4)
    (0.05, 0.1)
    """
    if (lr is None) == (eta is None):
        raise ValueError("step_size takes either lr or eta.")
    return 2 * lr * weight / dim if lr is not None else eta * dim / (2 * weight)  # type: ignore[operator]


def _rule(rule: Rule | str, start: str | None) -> Rule:
    if isinstance(rule, str):
        rule = RULES[check.choice("VectorQuantize", "rule", rule, RULES)]()
    if type(rule) not in RULES.values():
        raise check.fail("VectorQuantize", "rule", f"one of {', '.join(RULES)}, or a rule of vqtheory.rules", rule)
    Codebook.of(type(rule)).check("VectorQuantize", rule)
    return rule if start is None else replace(rule, start=start)  # type: ignore[type-var]


def _rows(latents: Tensor, image: bool) -> Tensor:
    return latents.flatten(2).transpose(1, 2) if image else latents


def _scatter(shown: Tensor, indices: Tensor) -> Tensor:
    return torch.full(shown.shape, -1, device=indices.device, dtype=indices.dtype).index_put((shown,), indices)


def _info(x: Tensor, chosen: Tensor, indices: Tensor, num_codes: int) -> Info:
    hits = torch.zeros(num_codes, dtype=torch.int64, device=x.device).index_add_(0, indices, torch.ones_like(indices))
    share = hits.to(x.dtype) / max(1, len(x))
    perplexity = torch.exp(-torch.special.xlogy(share, share).sum())
    return Info(hits, (hits > 0).to(x.dtype).mean(), perplexity, (x - chosen).square().sum(dim=1).mean())
