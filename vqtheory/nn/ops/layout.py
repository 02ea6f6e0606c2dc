"""Latents of any layout as rows, and back."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_AXES = {1: "n", 2: "hw", 3: "thw"}


class Layout(NamedTuple):
    """Where the axes of latents are."""

    second: bool  # whether their dimensions are the second axis, and not the last
    axes: int

    @staticmethod
    def of(latents: Tensor, image: bool | None, last: bool | None) -> Layout:
        """By `accept_image_fmap` and `channel_last`, or else by the number of axes: images and videos have them second."""
        if image is not None:
            return Layout(image, 4 if image else 3)
        second = latents.ndim in (4, 5) if last is None else not last
        return Layout(second, min(max(latents.ndim, 3 if second else 2), 5))

    def check(self, owner: str, latents: Tensor, dim: int, mask: Tensor | None) -> None:
        """Refuses latents of another layout or number of dimensions, and masks of other places."""
        if latents.ndim != self.axes or latents.shape[1 if self.second else -1] != dim:
            raise ValueError(f"The latents of {owner} must have the shape {self._written(dim)}. Got {tuple(latents.shape)}.")
        shape = self.places(latents)
        if mask is not None and (mask.shape != shape or mask.dtype != torch.bool):
            raise ValueError(f"The mask of {owner} must be bool {tuple(shape)}. Got {mask.dtype} {tuple(mask.shape)}.")

    def places(self, latents: Tensor) -> torch.Size:
        """The shape of latents without their dimensions."""
        return latents.shape[:1] + latents.shape[2:] if self.second else latents.shape[:-1]

    def rows(self, latents: Tensor) -> Tensor:
        """Latents as rows [N, d]."""
        moved = latents.movedim(1, -1) if self.second else latents
        return moved.reshape(-1, moved.shape[-1])

    def back(self, rows: Tensor, latents: Tensor) -> Tensor:
        """Rows [N, d] in the layout of the latents."""
        result = rows.reshape(*self.places(latents), rows.shape[-1])
        return result.movedim(-1, 1) if self.second else result

    def _written(self, dim: int) -> str:
        places = list(_AXES.get(self.axes - 2, ""))
        names = ["b", str(dim), *places] if self.second else ["b", *places, str(dim)]
        return f"[{', '.join(names if self.axes > 2 else ['n', str(dim)])}]"
