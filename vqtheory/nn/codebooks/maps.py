"""What the codebooks of map rules share: C = shift + scale * T_theta(C_0), T a network that each rule has of its own."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from vqtheory.nn.codebooks.base import Codebook, Mirror, tensor
from vqtheory.protocols import State
from vqtheory.rules.maps import MapRule, MapState


class Network(Mirror, nn.Module):
    """T_theta: parameters with the names and shapes of the rule's own. A network adds `forward`, from base to codes."""

    def __init__(self, rule: MapRule, num_codes: int, dim: int) -> None:
        super().__init__()
        for name, shape in rule.shapes(num_codes, dim)._asdict().items():
            setattr(self, name, None if 0 in shape else nn.Parameter(torch.zeros(shape)))


class MapCodebook(Codebook, of=MapRule):
    """C = shift + scale * T_theta(C_0)."""

    has_rows = False
    rule: MapRule
    base: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, rule: MapRule, num_codes: int, dim: int) -> None:
        nn.Module.__init__(self)
        self.rule = rule
        self.map = Network.of(type(rule))(rule, num_codes, dim)
        self.register_buffer("base", torch.zeros(num_codes, rule.base_width(dim)))
        self.register_buffer("shift", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))

    def load(self, state: State) -> None:
        state = cast(MapState, state)
        self.base.copy_(tensor(state.base))
        self.shift.copy_(tensor(state.shift))
        self.scale.copy_(tensor(state.scale))
        for name, value in self.rule.parameters(state).items():
            if value.size:
                self.map.get_parameter(name).data.copy_(tensor(value))

    @property
    def held(self) -> bool:
        return not any(parameter.requires_grad for parameter in self.parameters())

    def is_empty(self) -> bool:
        return not bool(self.base.any())

    def codes(self) -> Tensor:
        """The codes, with a gradient in units of scale^2: what scaling adds to the tangent kernel is taken off again."""
        raw = self.map(self.base)
        return (self.shift + self.scale * raw).detach() + (raw - raw.detach()) / self.scale
