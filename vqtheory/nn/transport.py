"""Transport of the codes: after each update of the encoder every code moves as the latents nearest to it have moved.

The simulator's `vqtheory.rules.Transport`, beside any quantizer. A fixed batch of inputs, the probe, is encoded before and
after an update, z_i and z_i', and every code, chosen or not, is carried along:

    c_j <- c_j + mean of z_i' - z_i over the latents i nearest to c_j

That removes what a codebook collapses by, a flow of the latents that codes stay behind, and leaves the rule its own step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from vqtheory._base import check
from vqtheory.nn.batches import copied, tensors
from vqtheory.nn.foreign import carry, check_heads, compared, finder, stored
from vqtheory.nn.ops import processes
from vqtheory.nn.ops.layout import Layout
from vqtheory.nn.ops.mode import modules_of, undisturbed
from vqtheory.nn.ops.presence import finite, wide
from vqtheory.nn.ops.search import assign, closest
from vqtheory.nn.quantize import VectorQuantize, check_tensor
from vqtheory.nn.wrappers import model_of, quantizer_of


class Transport:
    """Carries the codes of a quantizer along with the latents of a probe. Two lines in anyone's training loop:

    ::

        transport = Transport(model.quantizer, model.encoder, images)      # before the loop
        transport.step()                                                   # in the loop, after optimizer.step()

    Each call of `step` encodes the probe once, in evaluation mode and without gradient, and keeps the result as the next
    'before'; the first call only encodes, and one before the loop lets the first update count as well. The probe has to
    stay the same: with a fixed one no code gets farther from the nearest latent by being carried, and with fresh ones
    each code also walks at random by the scatter of single moves. A probe of one batch will do; its latents should be as
    many as the codes, or more. Latents that are not finite count nowhere.

    What an optimizer remembers of the codes stays as it is: a gradient is a difference of latents and codes, which a
    common move does not change. (Measured with Adam, 512 codes on faces, two seeds: as many codes are in use in any case;
    with the first moment set to zero at each move there is a tenth more distortion, with both as much as without.) EMA's
    running means move with its codes. Codes that are all zero, because the quantizer has not started, are left to start, and
    codes held by ``requires_grad_(False)`` stay.

    Several processes move their codes alike, as the probe of the first one says; each has to call `step`. Autocast is off
    during the pass, so that a small move is not lost in few digits. The model may be compiled, before or after.

    Parameters
    ----------
    quantizer : Module
        `VectorQuantize` of any rule with codes of its own, `TamingQuantizer`, or a quantizer of vector-quantize-pytorch,
        diffusers or taming-transformers, as for `Monitor`.
    encode : callable
        ``encode(probe)`` gives what the quantizer is given, in any of its layouts. A module, a method of one, or a function;
        the modules that it refers to are in evaluation mode meanwhile.
    probe : tensor, or tuple or dict of tensors
        A batch of inputs, on the device of the codes. It is copied.
    every : int, default 1
        Calls of `step` from one transport to the next.
    neighbours : int, default 1
        Over how many of the nearest latents a move is averaged.

    Attributes
    ----------
    updates : int
        Calls of `step`.

    Raises
    ------
    ValueError
        For a quantizer without codes of its own, with several heads, or with a rule that passes displacements on itself;
        for a probe that is not finite or on another device; from `step` where the latents do not fit the quantizer, are
        fewer than `neighbours`, or are not as many as before.

    Examples
    --------
    The encoder moves all latents by 5; the code at 50, where none is, moves as well:

    >>> encoder, layer = nn.Linear(1, 1), VectorQuantize(dim=1, codebook_size=3)
    >>> layer.set_codebook(torch.tensor([[0.0], [1.0], [50.0]]))
    >>> transport = Transport(layer, encoder, torch.rand(1, 9, 1))
    >>> transport.step()
    >>> encoder.bias.data += 5
    >>> transport.step()
    >>> layer.codebook.ravel().round(decimals=4)
    tensor([ 5.,  6., 55.])
    """

    def __init__(
        self, quantizer: nn.Module, encode: Callable[[Any], Tensor], probe: Any, every: int = 1, neighbours: int = 1
    ) -> None:
        owner = "Transport"
        self.quantizer = quantizer_of(quantizer)
        self._codebook = _codes_of(owner, self.quantizer)
        if not callable(encode):
            raise check.fail(owner, "encode", "a function that gives the latents of a probe", encode)
        self.encode = model_of(encode) if isinstance(encode, nn.Module) else encode
        self.every, self.neighbours = check.integer(owner, "every", every), check.integer(owner, "neighbours", neighbours)
        self.probe = copied(probe, owner)
        self._check_device()
        if not all(bool(part.isfinite().all()) for part in tensors(self.probe)):
            raise ValueError("The 'probe' parameter of Transport must be finite. It has values that are not.")
        self.updates = 0
        self._latents: Tensor | None = None  # of the last pass, [N, D], as they are compared with the codes
        self._started = False

    @torch.no_grad()
    def step(self) -> None:
        """Count an update, and when it is time encode the probe and move the codes as its latents have moved."""
        due = self.updates % self.every == 0
        self.updates += 1
        if not due:
            return
        before, self._latents = self._latents, self._encoded()
        if before is not None and self._may_move():
            codes = self._codes()
            moves = torch.zeros_like(wide(codes))
            if processes.rank() == 0:
                moves = self._moves(before, self._latents, wide(codes))
            processes.share(moves, 0)
            carry(self.quantizer, codes, moves.to(codes.dtype))

    @torch.no_grad()
    def latents(self) -> Tensor:
        """The probe's latents by now, [N, D], as they are compared with the codes; after `step` they are at hand."""
        fresh = (self.updates - 1) % self.every == 0
        return self._latents if fresh and self._latents is not None else self._encoded()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint between two updates has to keep; the probe is part of it."""
        return {"updates": self.updates, "latents": self._latents, "probe": list(tensors(self.probe))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`, with the probe that it has."""
        own, latents = list(tensors(self.probe)), state["latents"]
        if [part.shape for part in own] != [part.shape for part in state["probe"]]:
            raise ValueError(f"The state must be of a probe of {_shapes(own)}. Got {_shapes(state['probe'])}.")
        codes = self._codes()
        if latents is not None and (latents.ndim != 2 or latents.shape[1] != codes.shape[1]):
            raise ValueError(f"The state must have latents [N, {codes.shape[1]}]. Got {tuple(latents.shape)}.")
        for part, value in zip(own, state["probe"], strict=True):
            part.copy_(value)
        self.updates, self._latents = int(state["updates"]), None if latents is None else latents.to(codes.device)

    def _codes(self) -> Tensor:
        return self._codebook().detach()

    def _may_move(self) -> bool:
        """Whether there are codes, and nobody holds them."""
        if isinstance(self.quantizer, VectorQuantize) and self.quantizer._codebook.held:
            return False
        self._started = self._started or bool(self._codes().any())
        return self._started

    def _encoded(self) -> Tensor:
        """Latents of the probe, [N, D]."""
        self._check_device()
        codes = self._codes()
        with undisturbed(modules_of(self.encode), codes.device), torch.autocast(codes.device.type, enabled=False):
            latents = check_tensor("Transport", "encode", self.encode(copied(self.probe, "Transport")))
            if isinstance(self.quantizer, VectorQuantize):
                layout = Layout.of(latents, self.quantizer.accept_image_fmap, self.quantizer.channel_last)
                layout.check("Transport", latents, self.quantizer.dim, None)
            rows = wide(compared(self.quantizer, latents, codes)).to(wide(codes).dtype)
        if len(rows) < self.neighbours:
            raise check.fail("Transport", "neighbours", f"at most {len(rows)}, the latents of the probe", self.neighbours)
        if self._latents is not None and len(self._latents) != len(rows):
            raise ValueError(f"The probe of Transport must keep its {len(self._latents)} latents. Got {len(rows)}.")
        return rows.detach().clone()

    def _moves(self, before: Tensor, after: Tensor, codes: Tensor) -> Tensor:
        """The mean move of the latents nearest to each code, [K, D]."""
        keep = finite(before) & finite(after)
        moved = torch.where(keep[:, None], after - before, 0)
        before = torch.where(keep[:, None], before, torch.inf)  # so that it is chosen last
        nearest = closest(codes, before, self.neighbours) if self.neighbours > 1 else assign(codes, before)[:, None]
        total, count = torch.zeros_like(codes), torch.zeros_like(codes[:, 0])
        for chosen in nearest.T:
            total += moved[chosen]
            count += keep[chosen]
        return total / count.clamp_min(1)[:, None]

    def _check_device(self) -> None:
        device = self._codes().device
        for part in tensors(self.probe):
            if part.device != device:
                raise ValueError(f"The 'probe' of Transport must be on {device}, where the codes are. Got {part.device}.")


def _codes_of(owner: str, quantizer: Any) -> Callable[[], Tensor]:
    """What gives the codes of a quantizer that keeps them, so that each can be moved."""
    if not isinstance(quantizer, nn.Module):
        raise check.fail(owner, "quantizer", "a module with a codebook", quantizer)
    check_heads(owner, quantizer)
    codes, name = finder(owner, quantizer), type(quantizer).__name__
    if isinstance(quantizer, VectorQuantize):
        check_carried(owner, quantizer)
    elif not stored(quantizer, codes()):
        raise check.fail(owner, "quantizer", "one that keeps its codes, and does not make them of something else", name)
    return codes


def check_carried(owner: str, quantizer: VectorQuantize, name: str = "quantizer") -> None:
    """Refuses a layer whose codes have no places of their own, and one that carries them by itself."""
    rule = quantizer.rule
    if not quantizer._codebook.has_rows:
        wanted = "one with codes of its own: those of {} are made of other numbers, and cannot be moved one by one"
        raise check.fail(owner, name, wanted.format(type(rule).__name__), rule)
    if rule.needs_displacement:
        raise check.fail(owner, name, "of a rule that does not pass displacements on by itself", rule)


def _shapes(parts: list[Tensor]) -> str:
    return ", ".join(str(list(part.shape)) for part in parts)
