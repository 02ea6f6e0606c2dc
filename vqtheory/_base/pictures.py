"""What pictures of runs and of diagnoses share: colours, and a plane to draw codes and latents in."""

from __future__ import annotations

import numpy as np

USED, UNUSED = "#1f77b4", "#c0392b"


def in_plane(latents: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[str, str]]:
    if codes.shape[1] == 2:
        return latents, codes, ("axis 1", "axis 2")
    cloud = latents if len(latents) else codes
    few = cloud[:1000]  # enough for two axes, and quick in thousands of dimensions
    axes = np.linalg.svd(few - few.mean(axis=0), full_matrices=False)[2][:2]
    axes *= np.where(axes.sum(axis=1, keepdims=True) < 0, -1, 1)  # either sign is as good: the same for all runs
    names = ("principal axis 1", "principal axis 2")
    return (latents - cloud.mean(axis=0)) @ axes.T, (codes - cloud.mean(axis=0)) @ axes.T, names
