"""The layer from what others have trained or set up: a checkpoint's codebook, or a module of another package."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from vqtheory.nn.integrations.hub import Pretrained
from vqtheory.nn.integrations.layouts import Stored, stored
from vqtheory.nn.integrations.presets import preset
from vqtheory.rules.base import Rule


class Interchange(Pretrained):
    """What `VectorQuantize` reads of other packages."""

    @classmethod
    def from_state_dict(
        cls, state: Mapping[str, Any], rule: Rule | str = "vq", *, prefix: str | None = None, **options: Any
    ) -> Self:
        """The layer with the codebook of a checkpoint, whose codes a rule moves from there.

        Known are the names of tensors of vector-quantize-pytorch, diffusers, taming-transformers and this package, with
        anything before them (`vqtheory.nn.integrations.layouts`). Counts and means of EMA are taken over by `rules.EMA`,
        and linear projections where the state has them. Read the file with ``torch.load(path, weights_only=True)`` or
        ``safetensors.torch.load_file(path)``.

        Parameters
        ----------
        state : dict of str to Tensor
            A state_dict, or a checkpoint that has one as "state_dict".
        rule : str or rule, default "vq"
            One with codes of its own, as in `VectorQuantize`.
        prefix : str, optional
            What stands before the names, such as "model.quantize", where the state has several codebooks.
        options
            Of `VectorQuantize`, such as `commitment_weight` and `accept_image_fmap`.

        Raises
        ------
        ValueError
            Where no codebook is recognised, with the names that were seen, or several are; and for a rule whose codes are
            made of other numbers.

        Examples
        --------
        >>> from vqtheory.nn import VectorQuantize
        >>> state = {"quantize.embedding.weight": torch.arange(6.0).reshape(3, 2), "conv.weight": torch.zeros(1)}
        >>> VectorQuantize.from_state_dict(state, rule="ema").codebook
        tensor([[0., 1.],
                [2., 3.],
                [4., 5.]])
        """
        content = stored(state, prefix)
        num_codes, codebook_dim = content.codes.shape
        weight = content.projections.get("project_in.weight")
        dim = codebook_dim if weight is None else weight.shape[1]
        layer: Any = cls(dim, num_codes, rule, **({"codebook_dim": codebook_dim} | options))  # type: ignore[call-arg]
        _fill(layer, content)
        _project(layer, content)
        return layer

    @classmethod
    def from_module(cls, theirs: nn.Module) -> Self:
        """The layer that does what a quantizer of another package does, with its codes and its options.

        Of vector-quantize-pytorch's `VectorQuantize` the decay, epsilon, commitment weight, gradient estimator, projections,
        layout of latents, EMA or a learnable codebook; of diffusers' and taming-transformers' `VectorQuantizer` beta, on the
        side on which theirs has it. A `UserWarning` names what takes a line of its own beside the layer, with the line: a
        threshold of dead codes, a codebook's own optimizer, k-means at the start (here codes start on latents). The layer
        returns four values; `TamingQuantizer(layer)` has the face of diffusers' quantizer.

        Parameters
        ----------
        theirs : Module
            With one codebook. It is left as it is.

        Raises
        ------
        ValueError
            For a module of another kind, and for options that nothing here does, all by their names.

        Examples
        --------
        >>> from vqtheory.nn import VectorQuantize
        >>> theirs = nn.Module()  # with the parts of diffusers' VectorQuantizer(16, 4, beta=0.25)
        >>> theirs.embedding, theirs.beta = nn.Embedding(16, 4), 0.25
        >>> layer = VectorQuantize.from_module(theirs)
        >>> layer.codebook.shape, layer.codebook_weight, layer.commitment_weight
        (torch.Size([16, 4]), 0.25, 1.0)
        """
        settings = preset(theirs)
        layer: Any = cls(**settings.arguments)
        layer.to(next(part.device for part in (*theirs.parameters(), *theirs.buffers())))
        if settings.started:
            _fill(layer, settings.stored)
        _project(layer, settings.stored)
        if settings.held:
            layer.requires_grad_(False)
        if settings.beside:
            warnings.warn(f"Beside the layer, for these options of theirs. {'; '.join(settings.beside)}.", stacklevel=2)
        return layer.train(theirs.training)


@torch.no_grad()
def _fill(layer: Any, content: Stored) -> None:
    """Put the codes, and the averages that they are made of, into the layer."""
    layer.set_codebook(content.codes)
    own = layer._codebook
    if content.counts is not None and isinstance(getattr(own, "means", None), Tensor):
        own.counts.copy_(content.counts)
        own.means.copy_(content.means)


@torch.no_grad()
def _project(layer: Any, content: Stored) -> None:
    """Take over the linear maps to the codes and back; a map that has no bias adds nothing."""
    for name, weight in content.projections.items():
        part, _, kind = name.partition(".")
        getattr(getattr(layer, part), kind).copy_(weight)
        if kind == "weight" and f"{part}.bias" not in content.projections:
            getattr(layer, part).bias.zero_()
