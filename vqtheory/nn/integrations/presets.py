"""What the options of another package's quantizer mean here.

`preset` reads them from a module of vector-quantize-pytorch or diffusers. An option that nothing here does is refused by its
name; one that is a line of its own here, beside the layer, is in `beside`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor, nn

from vqtheory import rules
from vqtheory._base import check
from vqtheory.nn.integrations.layouts import Stored, mean_of

_OWNER = "VectorQuantize.from_module"
_OF_LAYER: dict[str, tuple[Any, str]] = {  # options of vector-quantize-pytorch, off, and what there is in their place
    "heads": (1, "vqtheory.nn.MultiHeadQuantize"),
    "use_cosine_sim": (False, 'rule="cosine", whose codes an optimizer moves: there are no averages on the sphere'),
    "commitment_use_cross_entropy_loss": (False, ""),
    "has_codebook_orthogonal_loss": (False, ""),
    "has_codebook_diversity_loss": (False, "rules.EntropyVQ"),
    "sync_update_v": (0.0, 'estimator="synchronised"'),
    "route_gradients_to_input": (True, ""),
}
_TYPED = {  # options by the names that a user gives them, where an attribute has another
    "has_codebook_orthogonal_loss": "orthogonal_reg_weight",
    "has_codebook_diversity_loss": "codebook_diversity_loss_weight",
}
_OF_CODEBOOK: dict[str, tuple[Any, str]] = {
    "affine_param": (False, "rules.Affine"),
    "vq_bridge": (None, "rules.FVQ"),
    "manual_ema_update": (False, ""),
}
_READ = (*_OF_LAYER, "accept_3d_fmap", "directional_reparam", "freeze_codebook", "has_commitment_loss", "rotation_trick")


class Preset(NamedTuple):
    """A layer that means the same.

    Attributes
    ----------
    arguments : dict
        Of `VectorQuantize`.
    stored : Stored
        The codes, and what goes with them.
    started : bool
        Whether there are codes: theirs may start on the first batch.
    held : bool
        Whether the codes stay as they are.
    beside : list of str
        What has to be done beside the layer, or is done otherwise, after the name of their option.
    """

    arguments: dict[str, Any]
    stored: Stored
    started: bool
    held: bool
    beside: list[str]


def preset(theirs: Any) -> Preset:
    """Of a VectorQuantize of vector-quantize-pytorch, or a VectorQuantizer of diffusers or taming-transformers."""
    codebook = getattr(theirs, "_codebook", None)
    if isinstance(getattr(codebook, "embed", None), Tensor):
        return _of_lucidrains(theirs, codebook)
    if isinstance(getattr(theirs, "embedding", None), nn.Embedding) and hasattr(theirs, "beta"):
        return _of_diffusers(theirs)
    wanted = "a VectorQuantize of vector-quantize-pytorch or a VectorQuantizer of diffusers or taming-transformers"
    raise check.fail(_OWNER, "theirs", wanted, type(theirs).__name__)


def _of_diffusers(theirs: Any) -> Preset:
    """The codes are trained by their gradient; beta is on them unless `legacy` is False."""
    if getattr(theirs, "remap", None) is not None:
        raise ValueError(f"{_OWNER} has nothing for these options: remap.")
    codes = theirs.embedding.weight.detach()
    beta, on_codebook = float(theirs.beta), bool(getattr(theirs, "legacy", True))
    weights = {"commitment_weight": beta, "beta_on_codebook": on_codebook}
    arguments = {"dim": codes.shape[1], "codebook_size": len(codes), "rule": rules.VQ(), "accept_image_fmap": True}
    return Preset(arguments | weights, Stored(codes, None, None, {}), started=True, held=False, beside=[])


def _of_lucidrains(theirs: Any, codebook: Any) -> Preset:
    _refuse_other_versions(theirs)
    _refuse_what_is_missing(theirs, codebook)
    arguments = {"dim": theirs.dim, "codebook_size": theirs.codebook_size, "codebook_dim": codebook.embed.shape[-1]}
    arguments |= _rule(theirs, codebook) | _estimator(theirs) | _layout(theirs)
    is_held = theirs.freeze_codebook or not (codebook.ema_update or theirs.learnable_codebook)
    started = bool(codebook.initted)
    return Preset(arguments, _stored(theirs, codebook), started, is_held, _beside(theirs, codebook))


def _rule(theirs: Any, codebook: Any) -> dict[str, Any]:
    """How codes move, and the weights of the loss."""
    weight = float(theirs.commitment_weight) if theirs.has_commitment_loss else 0.0
    if codebook.ema_update:
        rule = rules.EMA(decay=float(codebook.decay), smoothing=float(codebook.eps))
        return {"rule": rule, "commitment_weight": weight}
    return {"rule": rules.VQ(), "commitment_weight": weight, "codebook_weight": weight}


def _estimator(theirs: Any) -> dict[str, Any]:
    if theirs.directional_reparam:
        return {"estimator": f"DiVeQ(variance={float(theirs.directional_reparam_variance)!r})"}
    return {"estimator": "rotation" if theirs.rotation_trick else "straight-through"}


def _layout(theirs: Any) -> dict[str, Any]:
    if theirs.accept_image_fmap:
        return {"accept_image_fmap": True}
    return {"channel_last": bool(theirs.channel_last) and not theirs.accept_3d_fmap}


def _stored(theirs: Any, codebook: Any) -> Stored:
    codes, counts = codebook.embed.detach()[0], codebook.cluster_size.detach()[0]
    means = mean_of(codebook.embed_avg.detach()[0], counts, codes)
    named = theirs.named_parameters()
    projections = {name: weight.detach() for name, weight in named if name.startswith(("project_in", "project_out"))}
    return Stored(codes, counts, means, projections)


def _beside(theirs: Any, codebook: Any) -> list[str]:
    beside, threshold = [], codebook.threshold_ema_dead_code
    if threshold > 0 and codebook.ema_update:
        line = f'vqtheory.nn.Replacement(layer, optimizer, every=1, least={threshold}, policy="count")'
        beside.append(f"threshold_ema_dead_code={threshold}: {line}")
    elif threshold > 0:
        beside.append(f"threshold_ema_dead_code={threshold}: vqtheory.nn.Replacement(layer, optimizer), by hits")
    if not bool(codebook.initted):
        beside.append("kmeans_init: the codes start on latents of the first batch, without iterations of k-means")
    if theirs.in_place_codebook_optimizer is not None:
        kind = type(theirs.in_place_codebook_optimizer).__name__
        beside.append(f"in_place_codebook_optimizer: layer.step_inside({kind}(layer.codebook_parameters()))")
    return beside


def _refuse_other_versions(theirs: Any) -> None:
    """An option that the module does not have would be taken for one that is off."""
    unknown = [name for name in _READ if not hasattr(theirs, name)]
    if unknown:
        raise ValueError(
            f"{_OWNER} reads modules of vector-quantize-pytorch 1.32. This one is of another version, without "
            f"{', '.join(unknown)}: VectorQuantize.from_state_dict takes over its codes."
        )


def _refuse_what_is_missing(theirs: Any, codebook: Any) -> None:
    """All of it in one sentence, each by its name."""
    asked = [(theirs, name, *known) for name, known in _OF_LAYER.items()]
    asked += [(codebook, name, *known) for name, known in _OF_CODEBOOK.items()]
    missing = [(name, instead) for part, name, off, instead in asked if getattr(part, name, off) != off]
    options = getattr(codebook.gumbel_sample, "keywords", {})
    chance = {"stochastic": ("stochastic_sample_codes", ""), "straight_through": ("straight_through", 'estimator="gumbel"')}
    missing += [named for key, named in chance.items() if options.get(key)]
    if isinstance(theirs.project_in, nn.Sequential):
        missing.append(("layernorm_after_project_in", ""))
    if missing:
        options = ", ".join(
            f"{_TYPED.get(name, name)} (see {instead})" if instead else _TYPED.get(name, name) for name, instead in missing
        )
        raise ValueError(f"{_OWNER} has nothing for these options: {options}.")
