"""Sources made of data: rows of an array, photographs, windows of photographs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vqtheory._base import check
from vqtheory._base.files import data_set, load_array, load_images
from vqtheory._base.shards import KINDS, Held, Rows, Shard, is_listed, is_numeric, shards_of
from vqtheory.streams._shuffled import Shuffled, default_block
from vqtheory.streams.base import Source

_IN_MEMORY = 2**27  # bytes of numbers in files that are held in memory, 128 MiB
_FILES = "an array or the path of a .npy, .npz or .parquet file, of a folder of .npy and .parquet files, or a list of these"


@dataclass(frozen=True, repr=False, eq=False)  # equal only to itself: an array has no cheap hash
class Latents(Source):
    """The rows of an array, each as likely as any other, drawn with replacement, or read block by block.

    Arrays, .npz files, images and other files of up to 128 MiB of numbers are held in memory, and rows are drawn with
    replacement. Larger files stay on disk and are read by blocks: the rows in their order, cut every `block` rows whatever
    file they are in, shuffled within each block by a key of the seed, and from the first one again after the last. Every row
    is then met once in a pass. The latents depend on the rows, `block` and the seed, and not on what is in memory. At most
    three blocks are in memory at a time. Rows far apart never meet in a batch: files that are sorted by anything drift as
    they are read, and should be shuffled before. The fresh latents on which a run is measured, and those among which its
    first codes are chosen, are rows of 16 blocks at random.

    Parameters
    ----------
    data : array [N, D], path, or list of paths, optional
        The rows; or a .npy file; or a .npz file that holds one array, or one named "latents"; or a
        .parquet file of numeric columns or of one column of lists of numbers; or a .parquet file of images in the layout of
        the Hugging Face hub (column `image`, a struct of bytes and path), of which each, flattened, in [0, 1], is a row. A
        folder holds shards (.npy files, .parquet files of numbers), which follow each other by name; a list of their paths
        gives another order. By default the images of train.parquet in the folder that the environment variable
        VQTHEORY_DATA names. A file is read when it is first needed. An array is not copied: do not change it afterwards.
    block : int, optional
        Rows in a block. By default data in memory are not read by blocks, and larger data by blocks of the largest power of
        two of rows that has at most 2^21 numbers, 8 MiB in float32.

    Raises
    ------
    ValueError
        For values that are not finite, with the index of the first; for files that cannot be
        read, with the damaged image's row; for shards of different dimensions, and for a file that changes while it is read.
    FileNotFoundError
        For a file that is not there.

    Examples
    --------
    >>> source = Latents([[0.0, 1.0], [2.0, 5.0]])
    >>> source.mean, source.dim
    (array([1., 3.]), 2)
    >>> Latents(np.arange(6.0)[:, None], block=3).part(seed=0, number=0, size=6)[:, 0].tolist()
    [1.0, 2.0, 0.0, 3.0, 4.0, 5.0]
    """

    data: Any = None
    block: int | None = None
    _positional: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if isinstance(self.data, (str, Path)):
            path = check.path("Latents", "data", self.data, _FILES)
            if path.suffix not in ("", ".npy", ".npz", ".parquet") and not path.is_dir():
                raise check.fail("Latents", "data", _FILES, str(self.data))
            self._keep(data=str(path))
        elif is_listed(self.data):
            paths = [str(check.path("Latents", "data", item, _FILES)) for item in self.data]
            if not all(path.endswith(KINDS) for path in paths):
                raise check.fail("Latents", "data", _FILES, paths)
            self._keep(data=tuple(paths))
        elif self.data is not None:
            self._keep(data=check.matrix("Latents", "data", self.data))
        if self.block is not None:
            self._keep(block=check.integer("Latents", "block", self.block))

    def __getstate__(self) -> dict[str, Any]:
        """What a pickle holds: what is read from a file is read again."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def _rows(self) -> tuple[np.ndarray, float]:
        """The rows, where they are held in memory, and the number that stands for 1 in them."""
        if isinstance(self.data, np.ndarray):
            return self.data, 1.0
        if self._on_disk is not None:
            return self._on_disk.read(0, len(self._on_disk)), 1.0
        (path,) = self.files
        if path.endswith(".parquet"):
            images = load_images(path)
            return images.reshape(len(images), -1), 255.0
        return check.matrix(f"Latents({path!r})", "data", load_array(path)), 1.0

    @cached_property
    def _on_disk(self) -> Rows | None:
        """The rows of files that need not be held in memory."""
        if isinstance(self.data, np.ndarray) or (isinstance(self._path, str) and _is_one_array(self._path)):
            return None
        return Rows([Shard(path) for path in self.files])

    @cached_property
    def _shuffled(self) -> Shuffled | None:
        """The rows by blocks, where they are read so."""
        if self.block is None and (self._on_disk is None or self._on_disk.nbytes <= _IN_MEMORY):
            return None
        rows = self._readable
        return Shuffled(rows, self.block or default_block(rows.dim))

    @property
    def _readable(self) -> Rows:
        """The rows, wherever they are, to be read in their order."""
        return Rows([Held(self._rows[0])], unit=self._rows[1]) if self._on_disk is None else self._on_disk

    @property
    def files(self) -> tuple[str, ...]:
        return () if isinstance(self.data, np.ndarray) else shards_of(self._path)

    @property
    def _path(self) -> str | tuple[str, ...]:
        return data_set() if self.data is None else self.data

    @property
    def dim(self) -> int:
        return self._rows[0].shape[1] if self._on_disk is None else self._on_disk.dim

    @property
    def num_rows(self) -> int:
        """N."""
        return len(self._rows[0] if self._on_disk is None else self._on_disk)

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in their order, [n, D] at a time, for what is measured on them without holding them in memory."""
        return self._readable.blocks()

    @cached_property
    def mean(self) -> np.ndarray:
        if self._shuffled is not None:
            return self._shuffled.rows.mean()
        rows, unit = self._rows
        return rows.mean(axis=0, dtype=np.float64) / unit

    @property
    def support(self) -> np.ndarray | None:
        if self._shuffled is not None:
            return None
        rows, unit = self._rows
        return rows if rows.dtype == np.float64 else np.divide(rows, unit, dtype=np.float64)

    def part(self, seed: int, number: int, size: int) -> np.ndarray:
        return super().part(seed, number, size) if self._shuffled is None else self._shuffled.part(seed, number, size)

    def sample(self, generator: np.random.Generator, size: int) -> np.ndarray:
        if self._shuffled is not None:
            return self._shuffled.scattered(generator, size)
        rows, unit = self._rows
        return np.divide(rows[generator.integers(len(rows), size=size)], unit, dtype=np.float64)

    def optimum(self, num_codes: int) -> float | None:
        """The least distortion of `num_codes` codes on the rows, in 1-D; 0 where each has its own code.

        None where the rows are read by blocks.
        """
        return _optimum_of_rows(self, num_codes) if self.dim == 1 and self._shuffled is None else None


def _is_one_array(path: str) -> bool:
    """Whether a file is read whole: an archive, a small array, or images."""
    if Path(path).is_dir():
        return False
    if path.lower().endswith(".parquet"):
        return not is_numeric(path)
    return path.endswith(".npz") or not Path(path).is_file() or Path(path).stat().st_size <= _IN_MEMORY


@lru_cache(maxsize=64)
def _optimum_of_rows(source: Latents, num_codes: int) -> float:
    from vqtheory.reference import optimal_1d  # streams load without numba and scipy

    support = source.support
    assert support is not None
    return optimal_1d(support[:, 0], num_codes).distortion if num_codes < len(np.unique(support[:, 0])) else 0.0


@dataclass(frozen=True, repr=False)
class Patches(Source):
    """Square windows of a photograph, each as likely as any other, minus the photograph's mean.

    A sample is a window's pixels in [0, 1], row by row, minus the mean of all pixels (of each colour
    its own). D = size^2, or 3 size^2 in colour. Since a pixel near the photograph's border is in
    fewer windows than one in its middle, `mean` is near 0 and not 0.

    Parameters
    ----------
    photograph : path, optional
        An image file; or a .parquet file of images, as for `Latents`, of which each window is one
        of a random image. By default the portrait of Grace Hopper that comes with matplotlib.
    size : int, default 4
        Pixels along a side.
    colour : bool, default False
        Whether to keep the three colours or to turn the photograph grey.

    Raises
    ------
    ValueError
        For a window larger than the photograph, and for files that cannot be read.
    FileNotFoundError
        For a file that is not there.

    Examples
    --------
    >>> Patches(size=4).dim, Patches(size=4, colour=True).dim
    (16, 48)
    >>> abs(Patches(size=4).mean).max() < 0.01
    np.True_
    """

    photograph: str | None = None
    size: int = 4
    colour: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.photograph, Path):
            object.__setattr__(self, "photograph", str(self.photograph))
        if not isinstance(self.photograph, (str, type(None))):
            raise check.fail(
                "Patches", "photograph", "the path of an image or of a .parquet file of images", self.photograph
            )
        self._keep(size=check.integer("Patches", "size", self.size), colour=check.flag("Patches", "colour", self.colour))

    @property
    def files(self) -> tuple[str, ...]:
        return () if self.photograph is None else (self.photograph,)

    @property
    def dim(self) -> int:
        return self.size**2 * (3 if self.colour else 1)

    @property
    def _images(self) -> np.ndarray:
        """The photographs, uint8 [N, H, W, channels]."""
        images = load_images(self.photograph or grace_hopper(), "RGB" if self.colour else "L")
        if min(images.shape[1:3]) < self.size:
            height, width = images.shape[1:3]
            raise check.fail("Patches", "size", f"at most the photograph's {width} x {height} pixels", self.size)
        return images

    @cached_property
    def _means(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean of all pixels, [channels], and that of all windows, [size, size, channels]."""
        mean = self._images.mean(axis=0, dtype=np.float64) / 255
        windows = sliding_window_view(mean, (self.size, self.size), axis=(0, 1))
        return mean.mean(axis=(0, 1)), np.moveaxis(windows.mean(axis=(0, 1)), 0, -1)

    @property
    def mean(self) -> np.ndarray:
        of_pixels, of_windows = self._means
        return (of_windows - of_pixels).reshape(-1)

    def sample(self, generator: np.random.Generator, size: int) -> np.ndarray:
        windows = sliding_window_view(self._images, (self.size, self.size), axis=(1, 2))
        image, row, column = (generator.integers(count, size=size) for count in windows.shape[:3])
        chosen = np.moveaxis(windows[image, row, column], 1, -1)  # the channel last, as in the photograph
        return (chosen / 255 - self._means[0]).reshape(size, self.dim)


def grace_hopper() -> str:
    """The path of the photograph that comes with matplotlib, which is not imported for it."""
    package = find_spec("matplotlib")
    folder = Path(package.origin).parent if package is not None and package.origin else Path("matplotlib")
    return str(folder / "mpl-data" / "sample_data" / "grace_hopper.jpg")
