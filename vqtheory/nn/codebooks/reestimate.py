"""The codebook of `Reestimate`: every so many passes in training all codes are made anew by k-means on recent latents."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vqtheory._base.randomness import Purpose, generator
from vqtheory.nn.codebooks.base import Batch, tensor
from vqtheory.nn.codebooks.wrapped import WrappedCodebook
from vqtheory.nn.ops import processes
from vqtheory.nn.ops.moments import clear_before_step
from vqtheory.protocols import State
from vqtheory.rules.reestimate import Reestimate, clustered, vacated
from vqtheory.rules.wrapper import inside


class ReestimateCodebook(WrappedCodebook, of=Reestimate):
    """A reservoir of latents, and codes from it at the beginning of the pass after every E.

    By then the optimizer has made its step, so that no code meets a gradient from its former place. What a torch optimizer
    remembers of the codes is set to zero before its next step; one that keeps the codes in a tensor of its own, as a
    flattened or sharded one does, goes on as it was. Several processes take the codes of the first, from a reservoir of its
    own latents: its share of each batch is a random one, so that this is a uniform sample as well, and no latents have to
    be sent. The published code fills the reservoir from all of them.
    """

    has_clock = True
    reestimate: Reestimate
    reservoir: Tensor
    seen: Tensor
    reservoir_key: Tensor

    def __init__(self, rule: Any, num_codes: int, dim: int) -> None:
        super().__init__(rule.rule, num_codes, dim)
        rule.check_codes(num_codes)
        self.reestimate = rule
        self.register_buffer("reservoir", self.weight.data.new_zeros(rule.reservoir, dim))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("reservoir_key", torch.zeros((), dtype=torch.int64))

    def load(self, state: State) -> None:
        super().load(inside(state))
        outer: Any = state
        self.reservoir.copy_(tensor(outer.reservoir))
        self.seen.fill_(int(outer.seen))
        self.reservoir_key.fill_(int(outer.reservoir_key.view(np.int64)))  # whose bits are the seed's

    @property
    def _key(self) -> int:
        return int(self.reservoir_key) % 2**64

    @torch.compiler.disable  # k-means is the simulator's, in numpy
    @torch.no_grad()
    def prepare(self, batch: Batch) -> None:
        step, rule = int(batch.step), self.reestimate
        if 0 < step <= rule.until and step % rule.every == 0 and not self.held:
            self._reestimate(step)
        super().prepare(batch)
        if step < rule.until:
            self._fill(batch.latents[batch.keep], step)

    def _fill(self, latents: Tensor, step: int) -> None:
        """The latents of a pass go by the reservoir."""
        random = generator(self._key, Purpose.RULE, 2 * step + 2)
        slots = vacated(int(self.seen), len(latents), random, len(self.reservoir))
        enters = slots < len(self.reservoir)
        last = dict(zip(slots[enters].tolist(), enters.nonzero()[0].tolist(), strict=True))  # of two for one slot
        rows = torch.tensor(list(last), dtype=torch.int64, device=latents.device)
        places = torch.tensor(list(last.values()), dtype=torch.int64, device=latents.device)
        self.reservoir[rows] = latents[places].to(self.reservoir.dtype)
        self.seen += len(latents)

    def _reestimate(self, step: int) -> None:
        """Codes from the reservoir, which is emptied."""
        latents = self.reservoir[: int(self.seen)].cpu().numpy()
        codes = clustered(latents, len(self.weight), self._key, step) if processes.rank() == 0 else None
        enough = torch.tensor(codes is not None, device=self.weight.device)
        placed = self.weight.data.clone() if codes is None else torch.from_numpy(codes).to(self.weight)
        processes.share(enough, 0)
        processes.share(placed, 0)
        if not bool(enough):
            return
        self.place(torch.arange(len(placed), device=placed.device), placed)
        if self.trained:
            clear_before_step(self.weight)
        self.reservoir.zero_()
        self.seen.zero_()
