"""`vqtheory restore`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

from vqtheory._base import check
from vqtheory.cli.options import Folder, number, option, say, torch_module


def restore(
    folder: Folder,
    images: Annotated[tuple[Path, ...], tyro.conf.Positional, option("IMAGES")],
    /,
    *,
    out: Annotated[Path, option("FOLDER")],
    fidelity: Annotated[str | None, option("REAL", "1.0")] = None,
) -> None:
    """Restore pictures of yours that are blurred, small, noisy or compressed, by a model of vqtheory train --model vqfr.

    Pictures keep their size. The model knows faces of the size that it was trained on, 64 pixels a side by default: scale a
    picture so that its face is about as large. Files that are no pictures, or too large, are named and left out; the exit
    status is 2 then.

    Args:
        folder: The --save folder of train --model vqfr.
        images: Image files.
        out: Where the restored pictures go, as NAME.png; never over a picture that is restored.
        fidelity: From 0, an image of codes alone, to 1, with all that can be seen in the picture.
    """
    if not images:
        raise check.fail("restore", "images", "one image file or more", [])
    restoration = torch_module("restoration")
    result = restoration.restore_files(folder, images, out, fidelity=1.0 if fidelity is None else number(fidelity))
    for sentence in result.refused.values():
        print(f"vqtheory: {sentence}", file=sys.stderr)
    if result.refused:
        others = f" The others are in {out}." if result.written else ""
        raise ValueError(f"{len(result.refused)} of {len(images)} pictures were left out.{others}")
    say(f"Pictures: {', '.join(map(str, result.written.values()))}")
