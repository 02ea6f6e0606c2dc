"""Where checkpoints of other packages keep a codebook: the names of the tensors, whatever stands before them.

===========================================  ==========================================================
vector-quantize-pytorch                      ``_codebook.embed`` [1, K, D], with EMA's ``_codebook.cluster_size`` and
                                             ``_codebook.embed_avg``; ``project_in`` and ``project_out``
diffusers, taming-transformers               ``embedding.weight`` [K, D] in a ``quantize`` of the model; with EMA
                                             ``embedding.cluster_size`` and ``embedding.embed_avg``
taming-transformers, Gumbel-softmax          ``embed.weight`` [K, D] in a ``quantize`` of the model
this package                                 ``_codebook.weight`` [K, D], with EMA's ``_codebook.counts`` and
                                             ``_codebook.means``; ``project_in`` and ``project_out``
===========================================  ==========================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vqtheory._base import check

_OWNER = "VectorQuantize.from_state_dict"
_ENDS = ("_codebook.embed", "_codebook.weight", "embedding.weight", "embed.weight")
_NESTED = "state_dict"  # in checkpoints of Lightning, and so of taming-transformers
_PROJECTIONS = ("project_in.weight", "project_in.bias", "project_out.weight", "project_out.bias")
_SHOWN = 12


class Stored(NamedTuple):
    """A codebook as a checkpoint has it."""

    codes: Tensor  # [K, D]
    counts: Tensor | None  # [K], of EMA
    means: Tensor | None  # [K, D], of EMA
    projections: dict[str, Tensor]


def stored(state: Any, prefix: str | None) -> Stored:
    """The one codebook in a state, or the one under the prefix."""
    check.instance(_OWNER, "prefix", prefix, (str, type(None)), "a text or None")
    tensors = _tensors(state)
    places = _places(tensors, prefix)
    if len(places) != 1:
        raise ValueError(_unclear(tensors, places, prefix))
    place, end = places[0]
    codes = _codes(tensors[place + end], place + end)
    counts, means = _averages(tensors, place, end, codes)
    projections = {name: tensors[place + name] for name in _PROJECTIONS if place + name in tensors}
    _check_projections(projections, codes.shape[1])
    return Stored(codes, counts, means, projections)


def _tensors(state: Any) -> dict[str, Tensor]:
    """The named tensors of a state, of a checkpoint that has one, or of a file of safetensors that was read."""
    check.instance(_OWNER, "state", state, Mapping, "a dict of tensors by name, as a state_dict")
    inner = state.get(_NESTED, state)
    named = inner if isinstance(inner, Mapping) else state
    return {str(name): value for name, value in named.items() if isinstance(value, Tensor)}


def _places(tensors: dict[str, Tensor], prefix: str | None) -> list[tuple[str, str]]:
    """What stands before the end of each name that may be of a codebook, and that end."""
    known = [(name.removesuffix(end), end) for name in tensors for end in _ENDS if _ends_so(name, end)]
    if prefix is None:
        return [place for place in known if _may_be_a_quantizer(*place)]
    wanted = prefix if not prefix or prefix.endswith(".") else f"{prefix}."
    return [place for place in known if place[0] == wanted]


def _ends_so(name: str, end: str) -> bool:
    return name == end or name.endswith(f".{end}")


def _may_be_a_quantizer(place: str, end: str) -> bool:
    """An embedding may be one of words: it is a codebook where it stands alone, or in something named after quantizing."""
    return end.startswith("_codebook.") or not place or "quant" in place or "vq" in place.lower()


def _codes(values: Tensor, name: str) -> Tensor:
    """[K, D], of which vector-quantize-pytorch keeps [1, K, D]."""
    codes = values[0] if values.ndim == 3 and len(values) == 1 else values
    if codes.ndim != 2 or not codes.is_floating_point():
        raise ValueError(
            f"The codebook {name!r} of {_OWNER} must be floating [K, D], or [1, K, D]. Got {values.dtype} "
            f"{list(values.shape)}: of several heads give one, as a state of its own."
        )
    return codes.detach()


def _averages(tensors: dict[str, Tensor], place: str, end: str, codes: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """EMA's counts and means, where they are kept beside the codes."""
    start = place + end.rpartition(".")[0]
    for names in (("cluster_size", "embed_avg"), ("counts", "means")):
        counts, averages = (tensors.get(f"{start}.{name}") for name in names)
        if counts is None or averages is None:
            continue
        if counts.numel() != len(codes) or averages.numel() != codes.numel():
            shapes = f"{list(counts.shape)} and {list(averages.shape)}, beside codes {list(codes.shape)}"
            raise ValueError(f"The averages {' and '.join(names)} of {_OWNER} must be of the codes. Got {shapes}.")
        counts, averages = counts.detach().reshape(len(codes)), averages.detach().reshape(codes.shape)
        return counts, averages if names[1] == "means" else mean_of(averages, counts, codes)
    return None, None


def _check_projections(projections: dict[str, Tensor], width: int) -> None:
    """Linear maps from latents of another width to that of the codes, and back; each has a bias or not."""
    if not projections:
        return
    shapes = {name: tuple(values.shape) for name, values in projections.items()}
    dim = shapes.get("project_in.weight", (0,))[-1]
    fit = dict(zip(_PROJECTIONS, ((width, dim), (width,), (dim, width), (dim,)), strict=True))
    both = {"project_in.weight", "project_out.weight"} <= set(shapes)
    if not both or dim == width or any(shape != fit[name] for name, shape in shapes.items()):
        named = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise ValueError(
            f"The projections of {_OWNER} must be linear maps from another width to the {width} dimensions of the codes and "
            f"back. Got {named}."
        )


def mean_of(sums: Tensor, counts: Tensor, codes: Tensor) -> Tensor:
    """Running sums [K, D] over counts as means, and the code itself where the count is 0."""
    counts = counts.detach().reshape(-1, 1)
    return torch.where(counts > 0, sums / counts.clamp_min(torch.finfo(counts.dtype).tiny), codes)


def _unclear(tensors: dict[str, Tensor], places: list[tuple[str, str]], prefix: str | None) -> str:
    """Why there is not one codebook, with the names that were seen."""
    if places:
        names = ", ".join(repr(place) for place, _ in places[:_SHOWN])
        return f"The state of {_OWNER} has {len(places)} codebooks: name one of them by `prefix`, {names}."
    ends = ", ".join(repr(end) for end in _ENDS)
    under = "" if prefix is None else f" under the prefix {prefix!r}"
    matrices = [f"{name!r} {list(values.shape)}" for name, values in tensors.items() if values.ndim in (2, 3)]
    more = f" and {len(matrices) - _SHOWN} more" if len(matrices) > _SHOWN else ""
    seen = ", ".join(matrices[:_SHOWN]) or f"none, among {len(tensors)} tensors"
    return f"The state of {_OWNER} has no codebook{under}: a name must end with one of {ends}. Matrices seen: {seen}{more}."
