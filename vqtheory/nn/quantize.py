"""The layer: vector quantization in torch by the rules of the simulator."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vqtheory._base import check
from vqtheory.nn.codebooks import RULES, Codebook
from vqtheory.nn.codebooks.base import Batch, Soft
from vqtheory.nn.estimators import CodeGradient, Estimator, Lookup, StraightThrough, estimator_of, text_of
from vqtheory.nn.integrations.interchange import Interchange
from vqtheory.nn.ops import inside
from vqtheory.nn.ops.layout import Layout
from vqtheory.nn.ops.mode import repeated, transformed
from vqtheory.nn.ops.moments import clear_before_step
from vqtheory.nn.ops.passes import Passes, advance, unrepeated
from vqtheory.nn.ops.presence import fill, finite, mean, restore, wide
from vqtheory.nn.ops.start import draw, warn_of_equal
from vqtheory.rules.base import Rule
from vqtheory.rules.wrapper import Wrapper


class Info(NamedTuple):
    """What a batch says of the codebook; tensors on the device of the latents."""

    hits: Tensor  # int64 [K]
    usage: Tensor  # share of the codes that are hit
    perplexity: Tensor  # exp of the entropy of the hits
    distortion: Tensor  # mean of |x - c|^2, summed over the dimensions
    attraction: Tensor  # of losses of the rule's own, whose gradient is in the loss and whose number is not; else 0


class Quantized(NamedTuple):
    """What the layer returns."""

    quantized: Tensor  # as the latents
    indices: Tensor  # int64, [b, n] or [b, h, w]; -1 where masked or not finite
    loss: Tensor  # codebook_weight * codebook loss + commitment_weight * commitment loss
    info: Info


class VectorQuantize(Interchange, nn.Module):
    """Vector quantization of latents, the codebook moved by one of the simulator's rules.

    The rule says how codes are to move, the optimizer of the model how far: all fields of the rule but `step_size` and
    `optimizer` are read. The codebook loss is the mean of |x - c_q|^2 over samples and dimensions, x without gradient,
    so that plain SGD with the rate lr moves the codebook by the rule at eta = 2 lr codebook_weight / D
    (`vqtheory.nn.step_size`). EMA and NSVQ, its normalised form and the propagate form, move codes in the forward pass, in
    training only.
    Schedules of the rule run on the number of forward passes in training.

    Parameters
    ----------
    dim : int
        Dimensions of the latents.
    codebook_size : int
        K.
    rule : str or rule, default "vq"
        A rule of `vqtheory.rules`, or its `key`, such as "ema" for ``rules.EMA()``; the page docs/rules.md has all of them.
        One of your own derives from `vqtheory.rules.Rule`, and has a class derived from `vqtheory.nn.Codebook`.
        "nsvq" is the normalised form, which has no learning rate and no schedule; the bandwidth of a published form does not
        shrink by itself: give `rules.NSVQ` a schedule for that.
    start : {"matched", "published"}, optional
        In place of the rule's own. A matched start takes K latents of the first batch in training; map rules take
        their mean and spread. `initialize` does it beforehand.
    codebook_dim : int, optional
        Dimensions of the codes; latents are projected to it and back by linear maps. Default: `dim`.
    codebook_weight, commitment_weight : float, default 1, 0.25
        Weights of the two parts of the loss; the second is beta.
    beta_on_codebook : bool, default False
        Put beta on the codebook loss in place of the commitment, as the first VQGAN code does by mistake.
    estimator : str or Estimator, default "straight-through"
        How the decoder's gradient passes: a name of `vqtheory.nn.estimators`, such as "rotation", or a call, such as
        "GumbelSoftmax(temperature=exponential(1.0, half_life=500))". IBQ, HyperVQ and GRITVQ pass it by themselves, and take
        none.
    code_gradient : float, optional
        alpha of the estimator "code-gradient", where that is given by its name; by default 1.
    accept_image_fmap : bool, optional
        Whether latents are [b, d, h, w], and [b, n, d] if not.
    channel_last : bool, optional
        In place of it, for latents of any number of axes: whether their dimensions are the last axis, as in [n, d],
        [b, n, d] and [b, h, w, d], or the second, as in [b, d, n], [b, d, h, w] and [b, d, t, h, w]. By default they are
        the second where there are four or five axes.
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

    if TYPE_CHECKING:  # so that a call has a type, which torch's has not

        def __call__(self, latents: Tensor, mask: Tensor | None = None, displacement: Tensor | None = None) -> Quantized:
            """`forward`, with its hooks."""

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
        estimator: Estimator | str = "straight-through",
        code_gradient: float | None = None,
        accept_image_fmap: bool | None = None,
        channel_last: bool | None = None,
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
        self.estimator = _estimator(estimator, code_gradient)
        self.estimator.check_codes(owner, self.codebook_size)
        codebook = Codebook.of(type(self.rule)).suited(self.rule)
        if self.estimator.needs_trained_codes and not codebook.trained:
            wanted = f"one that needs no gradient of the codes with rule={self.rule!r}"
            raise check.fail(owner, "estimator", wanted, estimator)
        if codebook.soft and self.estimator.key != StraightThrough.key:
            wanted = f"left out with rule={self.rule!r}, which passes the decoder's gradient by itself"
            raise check.fail(owner, "estimator", wanted, estimator)
        if accept_image_fmap is not None and channel_last is not None:
            raise check.fail(owner, "channel_last", "None where accept_image_fmap is given", channel_last)
        self.accept_image_fmap, self.channel_last = accept_image_fmap, channel_last
        self.seed = check.integer(owner, "seed", seed, 0)
        projects = self.codebook_dim != self.dim
        self.project_in = nn.Linear(self.dim, self.codebook_dim) if projects else nn.Identity()
        self.project_out = nn.Linear(self.codebook_dim, self.dim) if projects else nn.Identity()
        self._codebook: Codebook = codebook(self.rule, self.codebook_size, self.codebook_dim)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self.register_buffer("started", torch.zeros((), dtype=torch.float32))  # not bool, which weights' averages refuse
        self._seen_started = self._warned = False
        self._passes = Passes()
        self._inner: torch.optim.Optimizer | None = None
        self.register_load_state_dict_post_hook(_look_again)
        if self.rule.start == "published":
            self._load(np.zeros((self.codebook_size, self.codebook_dim)))

    def arguments(self) -> dict[str, Any]:
        """What makes a layer like this one."""
        names = ("dim", "codebook_size", "rule", "codebook_dim", "codebook_weight", "commitment_weight")
        values = {name: getattr(self, name) for name in (*names, "accept_image_fmap", "channel_last", "seed")}
        return values | {"estimator": text_of(self.estimator)}

    @property
    def codebook(self) -> Tensor:
        """The codes [K, codebook_dim], without gradient."""
        return self._codebook.codes().detach()

    @torch.no_grad()
    def set_codebook(self, codes: Tensor) -> None:
        """Put the codes at `codes` [K, codebook_dim], in their order, whatever they were before.

        EMA counts anew, and an optimizer forgets what it remembers of the codes that were there.
        """
        owner, name = "VectorQuantize.set_codebook", type(self.rule).__name__
        if not self._codebook.has_rows:
            raise ValueError(f"{owner} needs a rule with codes of its own. Those of {name} are made of other numbers.")
        shape = (self.codebook_size, self.codebook_dim)
        codes = check_tensor(owner, "codes", codes)
        if codes.shape != shape or not bool(codes.isfinite().all()):
            raise ValueError(f"The 'codes' parameter of {owner} must be finite {shape}. Got {tuple(codes.shape)}.")
        weight = self._codebook.codes()
        rows = torch.arange(self.codebook_size, device=weight.device)
        self._codebook.place(rows, codes.to(weight.device, weight.dtype))
        for parameter in self._codebook.parameters():
            clear_before_step(parameter)
        self._mark_started()

    @torch.compiler.disable  # the start is the simulator's, in numpy
    @torch.no_grad()
    def initialize(self, latents: Tensor) -> None:
        """Start from latents [N, codebook_dim]: K of them, by `seed`, distinct as far as there are enough.

        Of equal codes the first alone wins. Call it with more latents than codes before training on smaller batches.
        Latents that are not finite are left out.
        """
        owner = "VectorQuantize.initialize"
        latents = check_tensor(owner, "latents", latents)
        if latents.ndim == 0 or latents.shape[-1] != self.codebook_dim:
            shape = f"[N, {self.codebook_dim}]"
            raise ValueError(f"The latents of {owner} must have the shape {shape}. Got {tuple(latents.shape)}.")
        rows = latents.reshape(-1, self.codebook_dim)
        if not self._start(self._codebook.project(wide(rows[finite(rows)]))):
            raise ValueError(f"{owner} needs at least one latent that is finite. Got {len(rows)} and none of them is.")

    def _start(self, latents: Tensor) -> bool:
        """Start from finite latents [N, D] of all processes; False where none of them has any."""
        codes = draw(self._codebook.startable(latents), self.codebook_size, self.seed)
        if len(codes) == 0:
            codes = draw(latents, self.codebook_size, self.seed)  # if there are any, for the rule to say why it cannot
        if len(codes) == 0:
            return False
        if self._codebook.has_rows and self.rule.start == "matched":
            warn_of_equal(codes, "call `initialize` with more latents before training")
        self._load(codes.double().cpu().numpy())
        return True

    def _load(self, codes: np.ndarray) -> None:
        self._codebook.load(self.rule.init(codes, self.seed))
        self._mark_started()

    def _mark_started(self) -> None:
        self.started.fill_(1)
        self._seen_started = True

    def reset_parameters(self) -> None:
        """The layer as it was made, without a start unless it is published; as after ``to_empty`` from a meta device."""
        fresh = self._codebook.__class__(self.rule, self.codebook_size, self.codebook_dim)
        self._codebook.load_state_dict(fresh.state_dict())
        for values, made in zip(self._codebook.buffers(), fresh.buffers(), strict=True):
            values.copy_(made)  # those as well that no state holds
        for part in (self.project_in, self.project_out):
            if isinstance(part, nn.Linear):
                part.reset_parameters()
        self.step.zero_()
        self.started.zero_()
        self._seen_started = False
        if self.rule.start == "published":
            self._load(np.zeros((self.codebook_size, self.codebook_dim)))

    def forward(self, latents: Tensor, mask: Tensor | None = None, displacement: Tensor | None = None) -> Quantized:
        """Quantize latents [b, n, d] or [b, d, h, w], or of the layout that `channel_last` says.

        `mask`, bool [b, n] or [b, h, w], is False for latents to leave as they are; `displacement`, of the shape of the
        latents, is how far the encoder has moved each since the update before, for NSVQ's propagate form. Latents that
        are not finite are left as they are too, so that the model's loss shows them, and count nowhere.
        """
        layout = self._layout(latents)
        layout.check("VectorQuantize", latents, self.dim, mask)
        rows = layout.rows(latents)
        keep = finite(rows) if mask is None else finite(rows) & mask.reshape(-1)
        z = self._project(fill(rows, keep))
        if isinstance(self.project_in, nn.Linear):  # which may overflow in half precision
            keep = keep & finite(z)
            z = fill(z, keep)
        moved = None if displacement is None else self._moved(layout.rows(displacement))
        chosen, indices, loss, info = self._quantize(z, keep, moved)
        result = self._unproject(chosen.to(latents.dtype)).to(latents.dtype)
        indices = indices.reshape(layout.places(latents) + indices.shape[1:])
        return Quantized(layout.back(restore(result, keep, rows), latents), indices, loss, info)

    def project(self, latents: Tensor) -> Tensor:
        """Latents [b, n, d] or [b, d, h, w] as rows [N, codebook_dim], as they are compared with the codes."""
        return self._project(self._layout(latents).rows(latents))

    def _layout(self, latents: Tensor) -> Layout:
        latents = check_tensor("VectorQuantize", "latents", latents)
        if latents.device != self.step.device:
            raise ValueError(f"The latents of VectorQuantize are on {latents.device}, and its codes on {self.step.device}.")
        return Layout.of(latents, self.accept_image_fmap, self.channel_last)

    def _project(self, rows: Tensor) -> Tensor:
        part = self.project_in
        return part(rows.to(part.weight.dtype)) if isinstance(part, nn.Linear) else rows

    def _unproject(self, rows: Tensor) -> Tensor:
        part = self.project_out
        return part(rows.to(part.weight.dtype)) if isinstance(part, nn.Linear) else rows

    def codebook_parameters(self) -> list[nn.Parameter]:
        """What an optimizer trains of the codebook: the codes, or the parameters of their map; none with EMA."""
        return [parameter for parameter in self._codebook.parameters() if parameter.requires_grad]

    @torch.no_grad()
    def _moved(self, displacement: Tensor) -> Tensor:
        """Moves of latents [N, d] as moves of their projections."""
        part = self.project_in
        if not isinstance(part, nn.Linear):
            return displacement
        return nn.functional.linear(displacement.to(part.weight.dtype), part.weight)

    def _quantize(self, z: Tensor, keep: Tensor, displacement: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Info]:
        """Latents [N, D] to codes with the estimator's gradient, indices, loss and info."""
        with torch.autocast(z.device.type, enabled=False):
            z = self._codebook.project(wide(z))
            x = z.detach()
            if not self._seen_started:
                self._look(x, keep)
            again = self.training and repeated()
            moves = self.training and self._seen_started and not again and not transformed()
            if moves:
                self._codebook.prepare(Batch(x, keep, self.step))
            codes, step = self._codebook.codes(), self.step
            if again:
                step, then = self._passes.find(x)
                codes = codes if then is None else then + (codes - codes.detach())
            codes = codes.to(x.dtype)
            if moves and not torch.compiler.is_compiling():
                self._passes.keep(x, step, codes if self._codebook.moves else None)
            elif moves and (self._codebook.moves or self._codebook.has_clock or self.estimator.is_random):
                codes = unrepeated(codes)
            batch = Batch(x, keep, step)
            indices, attraction = self._codebook.assign(batch, codes)
            chosen = nn.functional.embedding(indices, codes)  # whose gradient has the same bits on any number of threads
            soft = self._codebook.soften(batch, z, codes, chosen) if self._codebook.soft else None
            attraction = attraction if soft is None else attraction + soft.loss
            held = attraction.detach()
            codebook_loss = self._codebook.loss(batch, chosen) + (attraction - held)  # adds 0, and the gradient
            if self._inner is not None and self.training and codebook_loss.requires_grad:
                if again:
                    raise RuntimeError("Activation checkpointing cannot repeat a pass in which the codebook has stepped.")
                inside.step(self._inner, self.codebook_parameters(), self.codebook_weight * codebook_loss)
                codebook_loss, codes = codebook_loss.detach(), self._codebook.codes().to(x.dtype)
                chosen = nn.functional.embedding(indices, codes)
            commitment = mean((z - chosen.detach()).square().mean(dim=1), keep)  # likewise
            loss = self.codebook_weight * codebook_loss + self.commitment_weight * commitment
            lookup = Lookup(z, codes, indices, chosen, keep, step, self.seed, self.training)
            quantized = self._passed(lookup, soft)
            cells = torch.where(keep, indices, self.codebook_size)  # of those that are not kept one more, which is dropped
            info = info_of(batch, chosen.detach(), cells, self.codebook_size, held)
            if moves and not self._codebook.held:
                self._codebook.update(batch, chosen.detach(), cells, displacement)
            if moves:
                advance(self.step)
        return quantized, torch.where(keep, indices, -1), loss, info

    def _passed(self, lookup: Lookup, soft: Soft | None) -> Tensor:
        """The quantized latents [N, D] with the decoder's gradient."""
        return soft.quantized if soft else self.estimator(lookup)

    def step_inside(self, optimizer: torch.optim.Optimizer) -> None:
        """Alternate: from now on the codebook's own optimizer takes its step inside each pass in training.

        The decoder is given the codes after that step, by the indices from before it, so that encoder and decoder are
        never a step behind the codebook (Huh et al., arXiv 2305.08842). The loss that is returned keeps the value of the
        codebook loss from before the step, and its gradient no longer reaches the codes. A step of the same optimizer
        outside then finds no gradient of theirs and leaves them, and Adam's moments, as they are. Only an estimator that
        gives codes a gradient of the decoder moves them twice in an update: both gradients go into the same moments, whose
        clock counts twice. `DistributedDataParallel` would wait for a gradient of the codes: hold them out of it; the step
        inside is by the gradient of all processes anyway.

        Parameters
        ----------
        optimizer : torch.optim.Optimizer
            Of the `codebook_parameters`, all of them and no others.
        """
        owner = "VectorQuantize.step_inside"
        if self._codebook.soft:
            name = type(self.rule).__name__
            raise ValueError(f"{owner} takes no rule that passes the decoder's gradient by itself, as {name} does.")
        own = {id(parameter) for parameter in self.codebook_parameters()}
        held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        if not own or own != held:
            wanted = "the optimizer of all codebook_parameters() alone, of which EMA has none"
            raise check.fail(owner, "optimizer", wanted, type(optimizer).__name__)
        self._inner = optimizer

    @torch.compiler.disable
    @torch.no_grad()
    def _look(self, latents: Tensor, keep: Tensor) -> None:
        """Whether there are codes: read, averaged, broadcast or set. If not, start in training, on latents [N, D].

        Once there are some they stay, so that nobody waits for the device in order to look again.
        """
        if self.started.is_meta:
            return
        if bool(self.started > 0) or not self._codebook.is_empty():
            self._mark_started()
        elif self.training:
            self._start(latents[keep])
        elif not self._warned:
            self._warned = True
            warnings.warn("The codebook has not started: all codes are zero until a batch in training.", stacklevel=2)

    def indices_to_codes(self, indices: Tensor) -> Tensor:
        """Latents of the model for indices [...], integers: [..., d], zeros for -1.

        The axis of their dimensions is the second where `accept_image_fmap` is True or `channel_last` is False.
        """
        latents = self._decoded(indices)
        return latents.movedim(-1, 1) if self.accept_image_fmap or self.channel_last is False else latents

    def get_output_from_indices(self, indices: Tensor) -> Tensor:
        """`indices_to_codes`, by its name in vector-quantize-pytorch."""
        return self.indices_to_codes(indices)

    def _decoded(self, indices: Tensor) -> Tensor:
        if indices.is_floating_point() or indices.is_complex() or indices.dtype == torch.bool:
            raise ValueError(f"The indices of VectorQuantize must be integers. Got {indices.dtype}.")
        indices = indices.long()
        latents = self._unproject(self.codebook[indices.clamp_min(0)])
        return torch.where(indices[..., None] >= 0, latents, 0)

    def extra_repr(self) -> str:
        """The rule, as its dataclass writes it, and the estimator."""
        sizes = f"dim={self.dim}, codebook_size={self.codebook_size}"
        return f"{sizes}, rule={self.rule!r}, estimator={text_of(self.estimator)!r}"


def step_size(*, lr: float | None = None, eta: float | None = None, dim: int, weight: float = 1.0) -> float:
    """The simulator's step size of SGD with a learning rate, or the other way round: eta = 2 lr weight / D.

    Examples
    --------
    >>> step_size(lr=0.1, dim=4), step_size(eta=0.05, dim=4)
    (0.05, 0.1)
    """
    if (lr is None) == (eta is None):
        raise ValueError("step_size takes either lr or eta.")
    return 2 * lr * weight / dim if lr is not None else eta * dim / (2 * weight)  # type: ignore[operator]


def _estimator(estimator: Estimator | str, alpha: float | None) -> Estimator:
    owner = "VectorQuantize"
    if alpha is None:
        return estimator_of(owner, estimator)
    alpha = check.real(owner, "code_gradient", alpha, 0)
    if estimator != CodeGradient.key:
        raise check.fail(owner, "code_gradient", f"left out with an estimator other than {CodeGradient.key!r}", alpha)
    return CodeGradient(alpha)


def _rule(rule: Rule | str, start: str | None) -> Rule:
    if isinstance(rule, str):
        rule = RULES[check.choice("VectorQuantize", "rule", rule, RULES)]()
    _check_rule(rule)
    return rule if start is None else rule.starting(start)


def _check_rule(rule: Rule) -> None:
    """Refuses what has no codebook here, a rule within a rule as well."""
    owner = "VectorQuantize"
    if isinstance(rule, Wrapper):
        if not Codebook.has(type(rule)):
            raise check.fail(owner, "rule", rule.in_layer, rule)
        _check_rule(rule.rule)  # type: ignore[arg-type]
    elif type(rule) not in RULES.values() and not Codebook.has_own(type(rule)):
        yours = "or one of yours, derived from it, with a Codebook of its own"
        raise check.fail(owner, "rule", f"one of {', '.join(RULES)}, or a rule of vqtheory.rules, {yours}", rule)
    Codebook.of(type(rule)).check(owner, rule)


def _look_again(layer: VectorQuantize, *_: Any) -> None:
    """After a state was read: whether it has codes is known from it alone."""
    layer._seen_started = not layer.started.is_meta and bool(layer.started > 0)


def check_tensor(owner: str, name: str, values: Any) -> Tensor:
    """Numbers with a floating point."""
    if not isinstance(values, Tensor) or not values.is_floating_point() or values.layout != torch.strided:
        got = f"{values.dtype}, {values.layout}" if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"The {name!r} parameter of {owner} must be a dense tensor of floating point. Got {got}.")
    return values


def info_of(batch: Batch, chosen: Tensor, cells: Tensor, num_codes: int, attraction: Tensor) -> Info:
    """What a batch says of a codebook: `chosen` are its codes, and `cells` their numbers, num_codes where not kept."""
    x, keep = batch.latents, batch.keep
    hits = torch.zeros(num_codes + 1, dtype=torch.int64, device=x.device).index_add_(0, cells, torch.ones_like(cells))[:-1]
    share = hits.to(x.dtype) / hits.sum().clamp_min(1)
    perplexity = torch.exp(-torch.special.xlogy(share, share).sum())
    distortion = mean((x - chosen).square().sum(dim=1), keep)
    return Info(hits, (hits > 0).to(x.dtype).mean(), perplexity, distortion, attraction)


for _kind in (Info, Quantized):
    torch.utils._pytree._register_namedtuple(_kind, serialized_type_name=f"vqtheory.nn.{_kind.__name__}")
