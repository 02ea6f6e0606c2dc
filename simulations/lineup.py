"""The rules as tables and figures show them: their labels, families, order, colours and lines, each once.

Experiments and figures keep no list of their own. An experiment runs the rules that it has hyperparameters for, a
figure draws the rules that are in its table, and both do so in the order of this file. A rule that is new to an
experiment needs its hyperparameters there and one line here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

from vqtheory._base import check

Setting = TypeVar("Setting")
Dashes = str | tuple[float, tuple[float, ...]]

DASH_DOT_DOT: Dashes = (0, (4, 1.2, 1, 1.2, 1, 1.2))
LONG: Dashes = (0, (8, 2))


class Entry(NamedTuple):
    """How a rule is drawn; rules of one family share a hue.

    Lines of one kind of dashes have colours that readers who see no red or no green tell apart too (a test measures it).
    """

    family: str
    color: str
    dashes: Dashes = "-"

    @property
    def line(self) -> dict[str, Any]:
        """Its line, as options of `Axes.plot`."""
        return {"color": self.color, "linestyle": self.dashes}


LINEUP = {
    "VQ": Entry("VQ", "#c0392b"),
    "VQ by wins": Entry("VQ", "#7b241c", "-."),
    "EMA": Entry("EMA", "#e08e1b"),
    "VQ with Adam": Entry("VQ", "#e6776a", "--"),
    "EMA with expiry": Entry("EMA", "#9c6b1e", "--"),
    "VQ with transport": Entry("VQ with transport", "#1a1a1a"),
    "EMA with transport": Entry("VQ with transport", "#6e6e6e", "-."),
    "NSVQ with transport": Entry("VQ with transport", "#4a5a78", DASH_DOT_DOT),
    "NSVQ": Entry("NSVQ", "#1f77b4"),
    "NSVQ gaussian": Entry("NSVQ", "#5b7fd6", "-."),
    "NSVQ softmax": Entry("NSVQ", "#6baed6", "--"),
    "NSVQ propagate": Entry("NSVQ", "#08306b", (0, (1, 2))),
    "TransVQ": Entry("TransVQ", "#2a9d55"),
    "TransVQ without positions": Entry("TransVQ", "#86c9a0", "--"),
    "FVQ": Entry("FVQ", "#0d6864"),
    "FVQ residual": Entry("FVQ", "#4db6ac", "--"),
    "GraphVQ": Entry("GraphVQ", "#6d4c41"),
    "SimVQ": Entry("SimVQ", "#8e2d8a"),
    "SimVQ without bias": Entry("SimVQ", "#b77cb4", "--"),
    "CosineVQ": Entry("CosineVQ", "#443f42"),
    "FSQ": Entry("FSQ", "#17a2a2"),
    "LFQ": Entry("FSQ", "#7fc8c8", "-."),
    "IBQ": Entry("IBQ", "#3b3fa0"),
    "IBQ by distance": Entry("IBQ", "#8692de", "--"),
    "GRITVQ": Entry("SimVQ", "#5b2a83", "-."),
    "HyperVQ": Entry("IBQ", "#00695c", DASH_DOT_DOT),
    "CVQ": Entry("CVQ", "#17becf"),
    "NeuralGas": Entry("NeuralGas", "#cfb649"),
    "SOM": Entry("NeuralGas", "#8c6d31", DASH_DOT_DOT),
    "FSCL": Entry("FSCL", "#e38bf1"),
    "Conscience": Entry("FSCL", "#7f2f6b", "--"),
    "Sinkhorn": Entry("Sinkhorn", "#b3446c", LONG),
    "EntropyVQ": Entry("Sinkhorn", "#e9a3c0", LONG),
    "VQ in a frame": Entry("VQ in a frame", "#3d5a1e", LONG),
    "VQ with Wasserstein's pull": Entry("VQ in a frame", "#93b843", LONG),
    "VQ re-estimated": Entry("VQ re-estimated", "#3c6ea5", LONG),
}


def in_order(labels: Iterable[str]) -> list[str]:
    """Each label once, in the order above; `ValueError` for a label that has no line there."""
    known = {check.choice("the line-up", "label", label, LINEUP) for label in labels}
    return [label for label in LINEUP if label in known]


def ordered(settings: Mapping[str, Setting]) -> list[tuple[str, Setting]]:
    """Labels and what an experiment has for them, in the order above."""
    return [(label, settings[label]) for label in in_order(settings)]
