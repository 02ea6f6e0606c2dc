"""A person's own pictures, restored by a trained VQFR.

A picture keeps its size. It is restored in tiles, each with a margin that is cut off again, so that memory is bounded and no
seam is seen; the last rows and columns are repeated to what the model divides by. The model knows degradations and faces of
the size that it was trained on, 64 pixels a side by default: scale a picture so that its face is about as large.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vqtheory._base import check
from vqtheory._base.files import pixels
from vqtheory._base.folder import write_beside
from vqtheory.nn.degradation import checked_image
from vqtheory.nn.models import VQFR
from vqtheory.nn.ops.mode import evaluating
from vqtheory.nn.ops.processes import device
from vqtheory.nn.training.run import TrainingRun

_TILE, _MARGIN = 256, 64  # pixels, of which a model's stride takes whole multiples
_MOST = 2**24  # pixels of a picture


def restore(
    run: TrainingRun | str | Path, image: np.ndarray, *, fidelity: float = 1.0, progress: bool = False
) -> np.ndarray:
    """A degraded image, uint8 [H, W, 3] of any size, as a trained VQFR restores it.

    Parameters
    ----------
    run : TrainingRun or path
        A training with model="vqfr", or the folder that keeps it.
    image : array
    fidelity : float, default 1
        rho in [0, 1]: 0 is the texture decoder alone, whose image is made of codes; 1 adds all that the main decoder takes
        from the degraded image.
    progress : bool, default False
        Show a bar over the tiles of a large image.

    Raises
    ------
    ValueError
        For a folder of another model, an image of another kind, a fidelity outside [0, 1].

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from vqtheory.nn.training import train
    >>> small = {"size": 16, "steps": 2, "records": 1, "progress": False}
    >>> with TemporaryDirectory() as stage_1:
    ...     _ = train(codes=16, dim=4, save=stage_1, **small)
    ...     run = train(model="vqfr", prior=stage_1, **small)
    >>> restore(run, np.zeros((20, 30, 3), np.uint8), fidelity=0.5).shape
    (20, 30, 3)
    """
    return _restored(
        _model(run), checked_image("restore", image), check.real("restore", "fidelity", fidelity, 0, 1), progress
    )


@dataclass
class Restored:
    """What came of some files: `written` paths, and `refused` sentences, by the path of the picture."""

    written: dict[Path, Path] = field(default_factory=dict)
    refused: dict[Path, str] = field(default_factory=dict)


def restore_files(
    run: TrainingRun | str | Path,
    paths: Sequence[str | Path],
    out: str | Path,
    *,
    fidelity: float = 1.0,
    progress: bool = True,
) -> Restored:
    """Image files restored as PNG in the folder `out`, by the names of the pictures; what cannot be read is left out.

    A file in `out` is replaced by a whole new one, or left as it is; a picture that is restored itself never is.

    Parameters
    ----------
    run, fidelity
        As in `restore`.
    paths : sequence of path
    out : path
        Made where it is not there.
    progress : bool, default True
        Show a bar over the pictures.

    Raises
    ------
    ValueError
        For a folder of another model, a fidelity outside [0, 1], a single path in place of several, and an `out` that is
        a file.

    Examples
    --------
    >>> restore_files("stage2", ["grandmother.jpg"], "restored").refused  # doctest: +SKIP
    {}
    """
    model, rho = _model(run), check.real("restore", "fidelity", fidelity, 0, 1)
    folder, sources, result = _folder(out), _sources(paths), Restored()
    for path in tqdm(sources, "Restoring", unit=" pictures", disable=not progress):
        try:
            target = _target(path, folder, sources, result)
            restored = _restored(model, _read(path), rho, progress)
            write_beside(target, _png(restored))
            result.written[path] = target
        except ValueError as refusal:
            result.refused[path] = str(refusal)
    return result


def _folder(out: str | Path) -> Path:
    """The folder of what is restored, made where it is not there."""
    folder = check.path("restore", "out", out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise check.fail("restore", "out", "a folder, and no file is one", str(out)) from None
    return folder


def _sources(paths: Sequence[str | Path]) -> list[Path]:
    """The pictures' paths; one alone would be read as its letters."""
    if isinstance(paths, (str, Path)):
        raise check.fail("restore", "paths", "a sequence of paths", str(paths))
    return [check.path("restore", "paths", path, "a sequence of paths") for path in paths]


def _model(run: TrainingRun | str | Path) -> VQFR:
    if isinstance(run, TrainingRun):
        trained = run
    else:
        trained = TrainingRun.load(check.path("restore", "run", run, "a TrainingRun or the folder of one"))
    if not isinstance(trained.model, VQFR):
        place = trained.folder or "The training"
        raise ValueError(
            f"Pictures are restored by a training with model='vqfr'. {place} has model={trained.config.model!r}."
        )
    return trained.model


@torch.no_grad()
def _restored(model: VQFR, image: np.ndarray, rho: float, progress: bool) -> np.ndarray:
    """Tile by tile, each seen with a margin."""
    height, width = image.shape[:2]
    stride = model.downsampling
    whole = np.pad(image, [(0, -height % stride), (0, -width % stride), (0, 0)], mode="edge")
    restored = np.empty_like(whole)
    tiles = list(_tiles(whole.shape[0], whole.shape[1], stride))
    with evaluating(model):
        for inner, outer in tqdm(tiles, unit=" tiles", leave=False, disable=not progress or len(tiles) == 1):
            part = _eight_bit(model.restore(_tensor(whole[outer]), rho))
            restored[inner] = part[tuple(_within(*sides) for sides in zip(inner, outer, strict=True))]
    return restored[:height, :width]


def _tiles(height: int, width: int, stride: int) -> Iterator[tuple[tuple[slice, slice], tuple[slice, slice]]]:
    """Squares that cover an image, and each with its margin."""
    tile, margin = (-(-length // stride) * stride for length in (_TILE, _MARGIN))
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            corners = ((top, height), (left, width))
            inner = tuple(slice(start, min(start + tile, end)) for start, end in corners)
            outer = tuple(slice(max(0, start - margin), min(start + tile + margin, end)) for start, end in corners)
            yield inner, outer  # type: ignore[misc]


def _within(inner: slice, outer: slice) -> slice:
    """A part of an axis, counted from where a larger part begins."""
    return slice(inner.start - outer.start, inner.stop - outer.start)


def _tensor(image: np.ndarray) -> Tensor:
    rows = torch.from_numpy(image.copy()).to(device())
    return rows.permute(2, 0, 1)[None].to(torch.get_default_dtype()) / 127.5 - 1


def _eight_bit(images: Tensor) -> np.ndarray:
    rows = ((images[0] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return rows.permute(1, 2, 0).cpu().numpy()


def _target(path: Path, folder: Path, sources: Sequence[Path], result: Restored) -> Path:
    """Where a picture goes; refused where that is a picture to restore, or what another one has become."""
    target = folder / f"{path.stem}.png"
    if target.exists() and any(source.exists() and target.samefile(source) for source in sources):
        raise ValueError(f"{path} would be written over {target}, a picture to restore: give another folder.")
    if target in result.written.values():
        raise ValueError(f"{path} would be written over {target}, another picture of the same name: give another folder.")
    return target


def _read(path: Path) -> np.ndarray:
    """A picture, uint8 [H, W, 3]; its size is looked at before it is decoded."""
    from PIL import Image

    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"Cannot read {str(path)!r}: {error.strerror}.") from None
    try:
        width, height = Image.open(io.BytesIO(data)).size
    except Exception:  # a damaged one fails below, by its name
        width, height = 0, 0
    if width * height > _MOST:
        raise ValueError(
            f"{str(path)!r} is too large: it has {width} x {height} pixels, and at most {_MOST:,} are restored."
        )
    return pixels(data, f"{str(path)!r} as an image", "RGB")


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
