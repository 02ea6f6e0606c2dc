"""An update of the face study's VQ-VAE, every method by its name beside plain VQ: seconds, and their ratio.

The methods take turns in one process, on one thread and on windows of a photograph. The ratio is the median over the turns
of a method's seconds to those of plain VQ in the same turn, so that a machine that is slow for a while is slow for both."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from statistics import median
from typing import Any
from unittest import mock

from simulations.protocol import METHODS

UPDATES = 10  # that are timed, after as many that are not
PEER = "VQ"
TENTH = "VQ with transport, every 10"
CASES: dict[str, dict[str, Any]] = {label: method.options for label, method in METHODS.items()}
CASES[TENTH] = CASES["VQ with transport"] | {"transport": 10}
LARGE = {
    label: CASES[label] | {"codes": 16384} | ({"transport_images": 64} if "transport" in CASES[label] else {})
    for label in (PEER, "VQ with transport", TENTH, "NSVQ")
}


def training(turns: int = 5) -> Iterator[dict]:
    """A row for each method, and for some at 16,384 codes and a probe of 64 images."""
    for cases in (CASES, LARGE):
        timed = [{label: seconds(options) for label, options in cases.items()} for _ in range(turns)]
        for label, options in cases.items():
            task = {"section": "training", "case": label, "codes": options.get("codes", 1024), "dim": 64, "batch": 16}
            ratio = median(turn[label] / turn[PEER] for turn in timed)
            yield task | {"seconds": median(turn[label] for turn in timed), "ratio": ratio}


def settings(options: dict[str, Any]) -> dict[str, Any]:
    """A training that is long enough; a method that quantizes late does so in the updates that are timed."""
    late = {"quantize_from": UPDATES} if "quantize_from" in options else {}
    return {"steps": 2 * UPDATES, "records": 2, "probe_every": 2 * UPDATES} | options | late


def seconds(options: dict[str, Any]) -> float:
    """Of an update, once the training is under way."""
    import torch

    from vqtheory.nn import train

    times: list[float] = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with mock.patch.dict(os.environ):
            os.environ.pop("VQTHEORY_DATA", None)
            train(**settings(options), progress=False, on_record=lambda step, row: times.append(time.perf_counter()))
    finally:
        torch.set_num_threads(threads)
    return (times[1] - times[0]) / UPDATES
