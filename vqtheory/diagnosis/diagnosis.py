"""A diagnosis, the thing that people call."""

from __future__ import annotations

from typing import Any

from vqtheory._base.config import parse
from vqtheory.diagnosis.findings import Diagnosis
from vqtheory.diagnosis.intake import _recording


def diagnose(
    source: Any, codes: Any = None, *, rule: Any = None, every: int = 1, batch_size: int | None = None
) -> Diagnosis:
    """Say which codes of a codebook are alive, what the collapse laws predict will survive, and which knob would change it.

    Parameters
    ----------
    source : Monitor, Recording, Run, TrainingRun, path, or float [T, N, D]
        What was seen: a `vqtheory.nn.Monitor`, its recording or the file of it, a run of `simulate` or `train` or the
        folder of one, or the latents of one and the same batch at T >= 2 successive times.
    codes : float [K, D] or [T, K, D], with latents only
        The codebook at the last time, or at each.
    rule : rule or its text, optional
        How the codebook moves, where the source does not say, e.g. ``vq.rules.VQ(step_size=0.05)``; ``TrainedVQ`` under
        Adam. Without one the codes are counted and the drift is measured, and no law is asked. A step size that a Monitor
        has measured stays.
    every : int, default 1, with latents only
        Updates from one time to the next.
    batch_size : int, optional, with latents only
        Latents in an update, on which Adam's law depends.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        For arrays of other shapes, values that are not finite, and files that hold no recording.

    Examples
    --------
    Sixteen codes at their places on an interval, and a probe that moves by 0.001 of it per update:

    >>> codes = (np.arange(16)[:, None] + 0.5) / 16
    >>> probe = np.linspace(0, 1, 1000)[:, None] + 0.001 * np.arange(0, 3000, 100)[:, None, None]
    >>> found = diagnose(probe, codes, rule=rules.VQ(step_size=0.05), every=100)
    >>> print(textwrap.fill(found.forecast, 110))
    The drift was too fast: in updates 1 to 100 the latents moved by 0.001 per update, 288 times the critical
    speed of 16 codes; going on so would leave 2. By the laws 2 of 16 are alive now.
    >>> found.cures[2]
    ('a smaller codebook', 'at most 2 codes')
    """
    recording = _recording(source, codes, parse(rule) if isinstance(rule, str) else rule, every, batch_size)
    if len(recording.steps) < 2:
        raise ValueError(
            "A diagnosis needs what was seen at two times or more. This is one: a Monitor sees more with a smaller `every`."
        )
    return Diagnosis(recording)
