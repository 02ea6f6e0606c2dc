"""A learning rate of the codebook that can follow the encoder.

Under Adam a code moves by at most the learning rate per coordinate and update, however many latents it wins. Where latents
drift by v, a code that wins n of them per update trails behind the mean of its cell, of spread s, by

    l = r s / sqrt(n (1 - r^2) - r^2),     r = v / lr,

(`vqtheory.theory.adam_lag`) and cannot follow at all for r >= 1. At r = 1/2 that is 0.7 s for one latent and 0.2 s for ten:
twice the drift is enough. But a code that has arrived is shaken by as much as a step, so that steps have to stay well below
the cells, and a tenth of s is the most that is of use. Where the drift is faster than that no rate will do, and codes have
to be carried (`vqtheory.nn.Transport`). Both are known from the last two probes of a `Monitor`:

    lr = min(2 v, s / 10),     and not below the rate at the start.

Measured: plain VQ, 512 codes of 16 dimensions, 400 updates of 16 faces of 32 x 32, Adam at 1e-3, one seed: 116 codes used on
the test set and 19.1 dB without it, 315 codes and 21.2 dB with it, and without the bound s / 10 38 codes and 21.0 dB.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from vqtheory._base import check
from vqtheory.nn.foreign import finder, is_codes
from vqtheory.nn.monitor import Monitor
from vqtheory.nn.ops import processes
from vqtheory.nn.stacks.base import Stack
from vqtheory.nn.wrappers import quantizer_of

_CELLS = 0.1  # of the distance of latents from their codes, the most that a code may be moved at once


def parameter_groups(model: nn.Module, quantizer: nn.Module, lr: float) -> list[dict[str, Any]]:
    """Two groups for an optimizer: all of the model but the codebook, and the codebook, without weight decay.

    Weight decay would pull all codes towards the origin. With a group of its own the codebook may have its own rate: for
    `FollowingRate`, or ``groups[1]["lr"]``.

    Parameters
    ----------
    model, quantizer : Module
        The quantizer is a part of the model: `VectorQuantize`, a stack of them, or one of another package, as for
        `Monitor`.
    lr : float
        The rate of both at the start.

    Raises
    ------
    ValueError
        For a quantizer whose codes no optimizer moves, as with EMA.

    Examples
    --------
    >>> from vqtheory.nn import VectorQuantize
    >>> model = nn.Sequential(nn.Linear(3, 2), VectorQuantize(dim=2, codebook_size=4))
    >>> [(len(group["params"]), group.get("weight_decay")) for group in parameter_groups(model, model[1], lr=1e-3)]
    [(2, None), (1, 0.0)]
    """
    owner, inner = "parameter_groups", quantizer_of(quantizer)
    if inner not in set(model.modules()):
        raise check.fail(owner, "quantizer", "a part of the model", type(inner).__name__)
    lr, codebook = check.real(owner, "lr", lr, 0, above=True), _codebook(owner, inner)
    if not codebook:
        raise check.fail(owner, "quantizer", "one whose codes an optimizer moves", type(inner).__name__)
    own = {id(parameter) for parameter in codebook}
    rest = [parameter for parameter in model.parameters() if parameter.requires_grad and id(parameter) not in own]
    return [{"params": rest, "lr": lr}, {"params": codebook, "lr": lr, "weight_decay": 0.0}]


def _codebook(owner: str, quantizer: Any) -> list[nn.Parameter]:
    """What an optimizer trains of the codes of a quantizer, or of all levels of a stack."""
    if isinstance(quantizer, Stack):
        return quantizer.codebook_parameters()
    codes = finder(owner, quantizer)().detach()
    return [parameter for parameter in quantizer.parameters() if is_codes(quantizer, parameter, codes)]


class FollowingRate:
    """Sets Adam's rate of the codebook to what can follow the drift, as a Monitor has measured it.

    ::

        optimizer = torch.optim.Adam(parameter_groups(model, model.vq, lr=1e-3))
        rate = FollowingRate(Monitor(model.vq, every=5, optimizer=optimizer))    # before the loop
        rate.step(model, images)                                                 # in the loop, after optimizer.step()

    Until there are two probes the rate stays as it is, so let the Monitor probe often: the drift is fastest at first. The
    rate never falls below its first value, which belongs in a checkpoint: `state_dict`. Several processes have one rate,
    from the mean of their probes. Schedulers of other groups may go on.

    Parameters
    ----------
    monitor : Monitor
        With the Adam that has the codebook in a group of its own: `parameter_groups`.
    margin : float, default 2
        The rate over the drift, as long as the cells allow it.

    Raises
    ------
    ValueError
        For a Monitor without such an optimizer, and a margin of 1 or less, at which no code can follow.

    Examples
    --------
    >>> import torch
    >>> from vqtheory.nn import VectorQuantize
    >>> model = nn.Sequential(nn.Linear(3, 2), VectorQuantize(dim=2, codebook_size=4))
    >>> optimizer = torch.optim.Adam(parameter_groups(model, model[1], lr=1e-3))
    >>> rate = FollowingRate(Monitor(model[1], every=1, optimizer=optimizer))
    >>> for _ in range(2):
    ...     _ = model(batch := torch.rand(2, 5, 3))
    ...     with torch.no_grad():
    ...         _ = model[0].bias.add_(torch.tensor([0.0, 0.5]))
    ...     rate.step(model, batch)
    >>> 0.001 < optimizer.param_groups[1]["lr"] <= 1.0, optimizer.param_groups[0]["lr"]
    (True, 0.001)
    """

    def __init__(self, monitor: Monitor, margin: float = 2.0) -> None:
        owner = "FollowingRate"
        check.instance(owner, "monitor", monitor, Monitor, "a Monitor")
        self.monitor, self.margin = monitor, check.real(owner, "margin", margin, 1, above=True)
        self.least = float(monitor.codebook_group(owner)["lr"])

    def step(self, model: nn.Module | None = None, *inputs: Any, **options: Any) -> None:
        """`Monitor.step`, and the rate that its last two probes ask for."""
        self.monitor.step(model, *inputs, **options)
        pace = torch.tensor(self.monitor.pace(), dtype=torch.float64, device=self.monitor.pending.device)
        processes.add_up(pace)  # so that all processes have one rate, or none
        drift, cell = (pace / processes.world_size()).tolist()
        if not math.isnan(drift):
            group = self.monitor.codebook_group("FollowingRate")  # which is another dict once a state was loaded
            group["lr"] = max(self.least, min(self.margin * drift, _CELLS * cell))

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint has to keep: the rate that it never falls below."""
        return {"least": self.least}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from a `state_dict`."""
        self.least = float(state["least"])
