"""Networks that judge images, from TorchScript files. Loading one runs its code: only files that a user names are."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vqtheory.nn.ops.processes import device


class Network:
    """A TorchScript file, on the GPU if there is one; what is wrong with it is said with its name."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"There is no file {str(path)!r}.")
        try:
            with (
                warnings.catch_warnings()
            ):  # torch asks for torch.export, but the networks of the literature are TorchScript
                warnings.simplefilter("ignore", DeprecationWarning)
                self.module = torch.jit.load(str(path), map_location=device()).eval()
        except Exception as error:
            raise ValueError(
                f"Cannot read {str(path)!r} as TorchScript, which torch.jit.save writes: {_said(error)}"
            ) from None

    def __call__(self, takes: str, *images: Tensor, **options: Any) -> Any:
        """What the network gives for images; `takes` says in messages what they are."""
        try:
            return self.module(*images, **options)
        except Exception as error:
            raise ValueError(f"The network {str(self.path)!r} fails on {takes}: {_said(error, -1)}") from None

    def features(self, images: Tensor) -> Tensor:
        """Features [n, d] of uint8 images [n, 3, H, W].

        The Inception of the FID literature, inception-2015-12-05.pt, takes these at any size, and gives its 2,048
        features in place of class probabilities where it is called with return_features=True, as it is here.
        """
        takes = f"uint8 images {list(images.shape)}"
        names = [argument.name for argument in self.module.forward.schema.arguments]
        found = self(takes, images, **({"return_features": True} if "return_features" in names else {}))
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images):
            raise ValueError(
                f"The network {str(self.path)!r} must give features [{len(images)}, d] of {takes}. Got {_shape(found)}."
            )
        return self._finite(found)

    def distances(self, images: Tensor, others: Tensor) -> Tensor:
        """Distances [n] of images [n, 3, H, W] in [-1, 1] to others."""
        takes = f"two batches of images {list(images.shape)}"
        found = self(takes, images, others)
        if not isinstance(found, Tensor) or found.ndim == 0 or found.numel() != len(images) or len(found) != len(images):
            raise ValueError(
                f"The network {str(self.path)!r} must give distances [{len(images)}] of {takes}. Got {_shape(found)}."
            )
        return self._finite(found.flatten())

    def _finite(self, found: Tensor) -> Tensor:
        if not found.isfinite().all():
            raise ValueError(f"The network {str(self.path)!r} must give finite numbers. Got NaN or infinity.")
        return found


def _said(error: Exception, line: int = 0) -> str:
    """A sentence of what torch said: the first of a file that cannot be read, of the last line of a call that failed."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[line].split(". ")[0].rstrip(".") + "."


def _shape(found: Any) -> str:
    return str(list(found.shape)) if isinstance(found, Tensor) else type(found).__name__
