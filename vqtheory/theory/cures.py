"""What would keep codes alive: a knob, and how far it has to be turned."""

from __future__ import annotations

import math

STEP_SIZE, FEWER, KERNEL = "a larger step size", "a smaller codebook", "NSVQ"  # knobs


def _enough(step_size: float, most: float, reason: str) -> str:
    """The step size that is asked for, unless it is out of reach."""
    if math.isnan(step_size):
        return "none is enough: the noise of a larger one takes more than it gains"
    return f"at least {step_size:.4g}" + (f": out of reach, since {reason}" if step_size > most else "")


def passed_on(bandwidth: float, reach: float) -> tuple[str, str]:
    """The cure by a kernel."""
    return f"{KERNEL}, bandwidth {bandwidth:.3g}", f"carries any number along up to {reach:.3g}, for use after the drift"


def _smaller(survivors: int) -> tuple[str, str]:
    return FEWER, f"at most {count(survivors)}"


def count(number: int) -> str:
    return f"{number:,} code{'s' * (number != 1)}"


def slower(speed: float, critical: float) -> tuple[str, str]:
    if critical == 0:
        return "a slower encoder", "none is slow enough: noise alone loses a code"
    return "a slower encoder", f"at most {critical:.4g} per update: {speed / critical:.4g} times slower"
