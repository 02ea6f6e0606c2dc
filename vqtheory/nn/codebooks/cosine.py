"""The codebook on the unit sphere."""

from __future__ import annotations

from torch import Tensor, nn

from vqtheory import rules
from vqtheory.nn.codebooks.base import Codebook
from vqtheory.nn.ops.presence import wide


class CosineCodebook(Codebook, of=rules.CosineVQ):
    """Codes and latents on the unit sphere."""

    def settle(self) -> None:
        """Undo an optimizer's step off the sphere."""
        if not self.held:
            self.weight.data.copy_(nn.functional.normalize(self.weight.data, dim=1))

    def codes(self) -> Tensor:
        """The directions of the codes."""
        return nn.functional.normalize(wide(self.weight), dim=1)

    def project(self, latents: Tensor) -> Tensor:
        return nn.functional.normalize(latents, dim=1)

    def place(self, rows: Tensor, codes: Tensor) -> None:
        super().place(rows, nn.functional.normalize(codes, dim=1))

    def carry(self, moves: Tensor) -> None:
        self.settle()
        super().carry(moves)
        self.settle()
