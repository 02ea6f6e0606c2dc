"""What would keep codes alive: a knob, and how far it has to be turned."""

from __future__ import annotations

import math
from dataclasses import dataclass

SPEED, STEP_SIZE, LEARNING_RATE = "speed", "step size", "learning rate"
DECAY, CODES, BANDWIDTH = "decay", "codes", "bandwidth"
_CHANGES = {SPEED: "a slower encoder", CODES: "a smaller codebook", BANDWIDTH: "NSVQ's kernel"}


@dataclass(frozen=True)
class Cure:
    """A knob, and where it would keep all codes alive, with everything else as it is.

    Attributes
    ----------
    knob : str
        "speed" (of the encoder, per update), "step size", "learning rate", "decay", "codes" (how many) or "bandwidth"
        (of NSVQ's kernel, a length).
    bound : str
        "at least" or "at most"; "about" for a bandwidth, which may be too small and too large.
    value : float
        The number, nan where none is enough.
    reachable : bool
        Whether the knob can be turned so far.
    reason : str
        Why it cannot, or what the number means; "" where there is nothing to say.

    Examples
    --------
    >>> cure = Cure("step size", "at least", 0.144)
    >>> cure.value, str(cure)
    (0.144, 'a larger step size, at least 0.144')
    """

    knob: str
    bound: str
    value: float
    reachable: bool = True
    reason: str = ""

    @property
    def change(self) -> str:
        """What is changed, in words."""
        larger = "larger" if self.bound == "at least" else "smaller"
        return _CHANGES.get(self.knob, f"a {larger} {self.knob}")

    @property
    def extent(self) -> str:
        """How far, in words."""
        if math.isnan(self.value):
            return self.reason
        between = ": " if self.reachable else ": out of reach, since "
        return f"{self._amount}{between}{self.reason}" if self.reason else self._amount

    @property
    def _amount(self) -> str:
        if self.knob == SPEED:
            return f"{self.bound} {self.value:.4g} per update"
        if self.knob == CODES:
            return f"{self.bound} {count(int(self.value))}"
        if self.knob == BANDWIDTH:
            return f"bandwidth {self.value:.3g}"
        digits = 6 if self.knob == DECAY else 4  # what counts of a decay is how far it is from 1
        return f"{self.bound} {self.value:.{digits}g}"

    def __str__(self) -> str:
        return f"{self.change}, {self.extent}"


def slower(speed: float, critical: float) -> Cure:
    """An encoder that drifts at most at the critical speed."""
    if critical == 0:
        return Cure(SPEED, "at most", math.nan, False, "none is slow enough: noise alone loses a code")
    return Cure(SPEED, "at most", critical, reason=f"{speed / critical:.4g} times slower")


def larger_step(step_size: float, most: float, reason: str) -> Cure:
    """A step size, out of reach above `most` for a reason; nan where none is enough."""
    if math.isnan(step_size):
        reason = "none is enough: the noise of a larger one takes more than it gains"
        return Cure(STEP_SIZE, "at least", math.nan, False, reason)
    reachable = step_size <= most
    return Cure(STEP_SIZE, "at least", step_size, reachable, "" if reachable else reason)


def smaller_decay(decay: float) -> Cure:
    """A decay of EMA; nan where none is enough."""
    if math.isnan(decay):
        return Cure(DECAY, "at most", math.nan, False, "none: even decay 0, Lloyd's algorithm, is too slow")
    return Cure(DECAY, "at most", decay)


def fewer(survivors: int) -> Cure:
    """A codebook of as many codes as survive."""
    if survivors == 1:
        return Cure(CODES, "at most", 1, False, "a single code tells no latents apart")
    return Cure(CODES, "at most", survivors)


def kernel(bandwidth: float, reach: float) -> Cure:
    """NSVQ with a bandwidth that carries codes up to the speed `reach`."""
    meaning = f"carries any number of codes at up to {reach:.3g} per update; they come back into use after the drift"
    return Cure(BANDWIDTH, "about", bandwidth, reason=meaning)


def count(number: int) -> str:
    """So many codes, in words."""
    return f"{number:,} code{'s' * (number != 1)}"
