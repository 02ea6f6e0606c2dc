"""What all figures share: colours of the rules, and how a picture is saved."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

COLORS = {
    "VQ": "#c0392b",
    "VQ by wins": "#7b241c",
    "EMA": "#e08e1b",
    "NSVQ": "#1f77b4",
    "NSVQ softmax": "#6baed6",
    "NSVQ propagate": "#08306b",
    "TransVQ": "#2a9d55",
    "SimVQ": "#8856a7",
    "SimVQ without bias": "#c994c7",
    "CosineVQ": "#636363",
}
RC = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False, "figure.dpi": 150}


def save(path: Path, write: Callable[[Path], None]) -> None:
    """Write a picture under a temporary name that keeps the suffix, and rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    write(beside)
    beside.replace(path)
