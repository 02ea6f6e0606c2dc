"""Models to train the layer in."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from vqtheory.nn.models import dqvae, vqct, vqfr, vqvae
from vqtheory.nn.models.base import Autoencoder, Output
from vqtheory.nn.models.dqvae import DQVAE
from vqtheory.nn.models.vqct import VQCT
from vqtheory.nn.models.vqfr import VQFR
from vqtheory.nn.models.vqvae import VQVAE


class Recipe(NamedTuple):
    """A model of certain sizes."""

    kind: type[Autoencoder]
    options: dict[str, Any]

    def build(self, quantizer: nn.Module, **chosen: Any) -> Autoencoder:
        """The model around a quantizer, with options beside those of its sizes."""
        return self.kind(quantizer, **self.options, **chosen)

    @property
    def multiple(self) -> int:
        """What height and width of images have to be multiples of."""
        return 2 ** (len(self.options["channels"]) + self.options.get("grains", 1) - 1)


MODELS: dict[str, Recipe] = {name: Recipe(VQVAE, options) for name, options in vqvae.PRESETS.items()}
MODELS |= {name: Recipe(DQVAE, options) for name, options in dqvae.PRESETS.items()}
MODELS |= {name: Recipe(VQCT, options) for name, options in vqct.PRESETS.items()}
MODELS |= {name: Recipe(VQFR, options) for name, options in vqfr.PRESETS.items()}

__all__ = ["DQVAE", "MODELS", "VQCT", "VQFR", "VQVAE", "Autoencoder", "Output", "Recipe"]
