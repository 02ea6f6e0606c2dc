"""Losses by networks of one's own, from TorchScript files: what features say of two images, and what a discriminator does.

Neither is needed for anything that the package claims, and no file is downloaded. With features f_1, f_2, ... of a network,
and a discriminator D, to the loss of images y that should be x are added

    w_p mean_i |f_i(y) - f_i(x)|^2     and     - w_a D(y),

while D is trained beside the model, by Adam at the rate lr, on the hinge loss (max(0, 1 - D(x)) + max(0, 1 + D(y))) / 2.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, relu

from vqtheory.nn.networks import Network
from vqtheory.nn.ops import processes
from vqtheory.nn.training.config import TrainingConfig


class Judges:
    """The networks that `perceptual` and `adversarial` of a configuration name."""

    def __init__(self, config: TrainingConfig) -> None:
        self.weights = config.perceptual_weight, config.adversarial_weight
        self.perceptual = None if config.perceptual is None else Network(config.perceptual)
        self.discriminator = None if config.adversarial is None else Network(config.adversarial)
        self.optimizer: torch.optim.Optimizer | None = None
        if self.perceptual is not None:
            for parameter in self.perceptual.module.parameters():
                parameter.requires_grad_(False)
        if self.discriminator is not None:
            self.optimizer = torch.optim.Adam(_trained(self.discriminator), config.lr)

    @classmethod
    def of(cls, config: TrainingConfig) -> Judges | None:
        """Where a configuration names some."""
        return cls(config) if config.perceptual is not None or config.adversarial is not None else None

    def loss(self, images: Tensor, others: Tensor) -> Tensor:
        """What they add to the loss of `others`, [b, channels, H, W] in [-1, 1], that should be `images`."""
        loss = others.new_zeros(())
        if self.perceptual is not None:
            pairs = zip(_features(self.perceptual, others), _features(self.perceptual, images), strict=True)
            distances = [mse_loss(one, other) for one, other in pairs]
            loss = loss + self.weights[0] * torch.stack(distances).mean()
        if self.discriminator is not None:
            loss = loss - self.weights[1] * _passed(self.discriminator, others).mean()
        return loss

    def learn(self, images: Tensor, others: Tensor) -> None:
        """The discriminator's own update."""
        if self.discriminator is None or self.optimizer is None:
            return
        self.optimizer.zero_grad()
        real, made = (_passed(self.discriminator, batch.detach().float()) for batch in (images, others))
        ((relu(1 - real).mean() + relu(1 + made).mean()) / 2).backward()
        processes.average_gradients(self.discriminator.module)
        self.optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """What an update changes."""
        if self.discriminator is None or self.optimizer is None:
            return {}
        return {"discriminator": self.discriminator.module.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        if self.discriminator is not None and self.optimizer is not None:
            self.discriminator.module.load_state_dict(state["discriminator"])
            self.optimizer.load_state_dict(state["optimizer"])


def _trained(network: Network) -> list[Tensor]:
    """The parameters of a discriminator, which has to have some."""
    parameters = [parameter for parameter in network.module.train().parameters() if parameter.requires_grad]
    if not parameters:
        raise ValueError(
            f"The network {str(network.path)!r} must have parameters that can be trained, as a discriminator. It has none: "
            "save it without torch.jit.freeze, and with requires_grad."
        )
    return parameters


def _features(network: Network, images: Tensor) -> list[Tensor]:
    """One tensor or several, of images [b, channels, H, W] in [-1, 1]."""
    answer = network(f"images {list(images.shape)}", images)
    return [_checked(network, part, images) for part in (answer if isinstance(answer, (list, tuple)) else [answer])]


def _passed(network: Network, images: Tensor) -> Tensor:
    return _checked(network, network(f"images {list(images.shape)}", images), images)


def _checked(network: Network, answer: Any, images: Tensor) -> Tensor:
    """Numbers that pass the gradient of the images on."""
    if (
        not isinstance(answer, Tensor)
        or not answer.is_floating_point()
        or (images.requires_grad and not answer.requires_grad)
    ):
        raise ValueError(
            f"The network {str(network.path)!r} must give tensors with a gradient of images {list(images.shape)}. "
            f"Got {type(answer).__name__}" + (f" of {answer.dtype}." if isinstance(answer, Tensor) else ".")
        )
    return answer
