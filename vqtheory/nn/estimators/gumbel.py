"""Gumbel-softmax: a mixture of all codes in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from vqtheory import schedules
from vqtheory._base import check
from vqtheory.nn.estimators.base import Estimator, Lookup
from vqtheory.nn.ops.soft import soft_lookup


@dataclass(frozen=True, repr=False)
class GumbelSoftmax(Estimator):
    """In training a mixture of all codes, y = softmax((l + noise) / temperature) with l_k = -|z - c_k|^2 / scale.

    All codes and the latent get the gradient of the mixture. No [N, K] array is kept for the backward pass, which makes y
    once more, block by block, from the same noise.

    Parameters
    ----------
    temperature : float or schedule, default 1
        Above 0: a schedule may go down to it, but not reach it. At small ones a latent takes one code, drawn by exp(l). One
        that falls to 0 or below all the same, as a function of your own may, counts as the smallest number of the latents'
        type from there on: a latent takes its code and gets no gradient.
    scale : float, default 1
        The squared distance within which codes are likely. Of latents far closer together than its root, all codes are.
    hard : bool, default False
        Take the code with the largest y alone, with the gradient of the mixture.
    """

    temperature: Any = 1.0
    scale: float = 1.0
    hard: bool = False
    key: ClassVar[str] = "gumbel"
    moves_codes: ClassVar[bool] = True
    is_random: ClassVar[bool] = True

    def __post_init__(self) -> None:
        owner = "GumbelSoftmax"
        if isinstance(self.temperature, (schedules.linear, schedules.cosine)):
            check.real(owner, "temperature", self.temperature.end, 0, above=True)
        self._keep(temperature=schedules.validate(owner, "temperature", self.temperature, 0, above=True))
        self._keep(scale=check.real(owner, "scale", self.scale, 0, above=True))
        check.flag(owner, "hard", self.hard)

    def __call__(self, lookup: Lookup) -> Tensor:
        latents, codes = lookup.latents, lookup.codes
        if not lookup.training:
            return latents + (lookup.chosen - latents).detach()
        step = lookup.step.to(latents.dtype)
        temperature = self.temperature(step) if callable(self.temperature) else self.temperature + 0 * step
        before = lookup.step.clone()  # which the layer counts on in its place
        return soft_lookup(latents, codes, temperature, before, self.scale, lookup.seed, self.hard)
