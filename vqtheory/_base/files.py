"""Arrays and images from files. What cannot be read is named, with the reason, in one sentence."""

from __future__ import annotations

import io
import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

DATA_VARIABLE = "VQTHEORY_DATA"
NO_DATA = (
    f"There is no data set at hand: set the environment variable {DATA_VARIABLE} to a folder that holds train.parquet, "
    f"or give a path."
)


def data_set() -> str:
    """The data set's path: train.parquet in the folder that the environment variable names."""
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        raise ValueError(NO_DATA)
    return str(Path(folder) / "train.parquet")


def load_array(path: str, mapped: bool = False) -> np.ndarray:
    """The array in a .npy file, or in a .npz file alone or by the name "latents".

    `mapped` leaves a .npy file on disk, for arrays that memory does not hold.
    """
    _must_exist(path)
    try:
        if mapped and path.endswith(".npy"):
            return np.load(path, mmap_mode="r", allow_pickle=False)
        with open(path, "rb") as file:
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else _only_array(loaded)
    except Exception as error:  # a damaged file can fail anywhere in its decoder
        raise ValueError(f"Cannot read {path!r} as a NumPy array: {error}") from None


def _only_array(archive: Any) -> np.ndarray:
    if "latents" not in archive.files and len(archive.files) != 1:
        raise ValueError(f"it must hold one array, or one named 'latents'; it holds {archive.files}.")
    return archive["latents" if "latents" in archive.files else archive.files[0]]


def load_images(path: str, mode: str | None = None) -> np.ndarray:
    """The images of a parquet file, or of one image file, uint8 [N, H, W, channels].

    A parquet file has the column `image`, a struct of `bytes` (of an image file) and `path`: the
    layout of the data sets of the Hugging Face hub. `mode` is "L" or "RGB", by default that of the first image.
    """
    _must_exist(path)
    return _decoded(path, mode, os.stat(path).st_mtime_ns)


@lru_cache(maxsize=4)
def _decoded(path: str, mode: str | None, changed: int) -> np.ndarray:
    if not path.endswith(".parquet"):
        return _pixels(Path(path).read_bytes(), f"{path!r} as an image", mode)[None]
    rows = _image_bytes(path)
    names = [f"the image in row {row} of {path!r}" for row in range(len(rows))]
    first = _pixels(rows[0], names[0], mode)
    mode = "L" if first.shape[2] == 1 else "RGB"
    images = np.empty((len(rows), *first.shape), np.uint8)
    for row, (data, name) in enumerate(zip(rows, names, strict=True)):
        pixels = _pixels(data, name, mode)
        if pixels.shape != first.shape:
            raise ValueError(f"Cannot read {name}: its shape is {pixels.shape}, that of row 0 is {first.shape}.")
        images[row] = pixels
    images.setflags(write=False)
    return images


def _pixels(data: bytes | None, name: str, mode: str | None) -> np.ndarray:
    """One image, uint8 [H, W, channels]."""
    from PIL import Image

    if data is None:
        raise ValueError(f"Cannot read {name}: it is empty.")
    try:
        image = Image.open(io.BytesIO(data))
        pixels = np.asarray(image.convert(mode or ("L" if image.mode in ("1", "L") else "RGB")))
    except Exception as error:  # a damaged image can fail anywhere in its decoder
        raise ValueError(f"Cannot read {name}: {error}") from None
    return pixels.reshape(*pixels.shape[:2], -1)


def _image_bytes(path: str) -> list[bytes | None]:
    """The image files in a parquet file's column `image`."""
    import polars as pl

    try:
        schema = pl.read_parquet_schema(path)
        kind = schema.get("image")
        rows = pl.read_parquet(path, columns=["image"], glob=False)["image"] if kind is not None else None
    except (Exception, pl.exceptions.PanicException) as error:  # as above, and polars panics at some damage
        raise ValueError(f"Cannot read {path!r} as a parquet file: {error}") from None
    if (
        rows is None
        or not isinstance(kind, pl.Struct)
        or "bytes" not in [field.name for field in kind.fields]
        or not len(rows)
    ):
        raise ValueError(
            f"Cannot read {path!r} as images: it must have a column 'image', a struct of bytes and path, and at least "
            f"one row. Its columns are {dict(schema)}."
        )
    return rows.struct.field("bytes").to_list()


def _must_exist(path: str) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path!r}.")
