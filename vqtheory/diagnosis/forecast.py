"""What the laws say of a codebook, in numbers, and as the sentence that these make."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["no law", "slow enough", "within reach", "too fast"]


@dataclass(frozen=True)
class Forecast:
    """What the laws say of the stretch whose drift goes farthest beyond what they allow.

    Attributes
    ----------
    kind : {"no law", "slow enough", "within reach", "too fast"}
        "within reach" where codes can follow the drift, and how many of them stay alive is not known.
    stretch : (int, int)
        The first and the last update of the stretch.
    excess : float
        Its speed over the `limit`; nan where there is no law.
    survivors : float
        How many codes a drift would leave that goes on so; nan where no law says.
    speed : float
        How far the mean of the latents moved in it, per update.
    limit : str
        What the speed is measured with, such as "the critical speed of 64 codes".
    predicted : float
        How many codes are alive now by the laws of all stretches; nan where no law says.
    alive : int
        How many were chosen.
    num_codes : int
        K.
    validity : str
        What the law is exact for, or why there is none.
    """

    kind: Kind
    stretch: tuple[int, int]
    excess: float
    survivors: float
    speed: float
    limit: str
    predicted: float
    alive: int
    num_codes: int
    validity: str

    @property
    def verdict(self) -> str:
        """The kind as a clause."""
        return "No law says how many codes survive here" if self.kind == "no law" else f"The drift was {self.kind}"

    def __str__(self) -> str:
        if self.kind == "no law":
            return f"{self.verdict}. {self.validity}"
        moved = f"in updates {self.stretch[0]:,} to {self.stretch[1]:,} the latents moved by {self.speed:.3g} per update"
        if self.kind == "too fast":
            comparison = f"{moved}, {_times(self.excess)} times {self.limit}{self._outlook}"
        else:
            comparison = f"at the fastest, {moved}, {self.excess:.2g} of {self.limit}"
        return f"{self.verdict}: {comparison}.{self._present}"

    @property
    def _outlook(self) -> str:
        return "" if math.isnan(self.survivors) else f"; going on so would leave {self.survivors:,.0f}"

    @property
    def _present(self) -> str:
        """How many codes are alive by the laws, and whether all are although a drift was too fast."""
        despite = " All are alive nevertheless." if self.kind == "too fast" and self.alive == self.num_codes else ""
        if math.isnan(self.predicted):
            return despite
        return f" By the laws {self.predicted:,.0f} of {self.num_codes:,} are alive now.{despite}"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"
