"""Arrays and images from files. What cannot be read is named, with the reason, in one sentence."""

from __future__ import annotations

import io
import os
import re
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_ADDRESS = re.compile(r" <[\w.]+ object at 0x[0-9a-f]+>")  # in messages of Pillow
_ROWS = 256  # of a parquet file, read at a time
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
        if mapped and path.lower().endswith(".npy"):
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


def load_columns(path: str, names: tuple[str, ...]) -> list[Any]:
    """What a .npz or .parquet file holds under these names: arrays, or lists of its rows."""
    _must_exist(path)
    kind = "a parquet file" if path.lower().endswith(".parquet") else "NumPy arrays"
    try:
        columns = _columns(path)
    except Exception as error:  # a damaged file can fail anywhere in its decoder
        raise ValueError(f"Cannot read {path!r} as {kind}: {error}") from None
    missing = [name for name in names if name not in columns]
    if missing:
        raise ValueError(f"Cannot read {path!r}: it must hold {' and '.join(map(repr, names))}; it holds {sorted(columns)}.")
    return [columns[name] for name in names]


def _columns(path: str) -> dict[str, Any]:
    if path.lower().endswith(".parquet"):
        import polars as pl

        try:
            return pl.read_parquet(path, glob=False).to_dict(as_series=False)
        except pl.exceptions.PanicException as error:  # polars panics at some damage
            raise ValueError(str(error)) from None
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        return dict(archive)


def load_images(path: str, mode: str | None = None) -> np.ndarray:
    """The images of a parquet file, or of one image file, uint8 [N, H, W, channels].

    A parquet file has the column `image`, a struct of `bytes` (of an image file) and `path`: the
    layout of the data sets of the Hugging Face hub. `mode` is "L" or "RGB", by default that of the first image.
    """
    _must_exist(path)
    return _decoded(path, mode, os.stat(path).st_mtime_ns)


@lru_cache(maxsize=4)
def _decoded(path: str, mode: str | None, changed: int) -> np.ndarray:
    if not path.lower().endswith(".parquet"):
        return pixels(Path(path).read_bytes(), f"{path!r} as an image", mode)[None]
    images: np.ndarray | None = None
    for row, data in enumerate(image_bytes(path)):
        name = f"the image in row {row} of {path!r}"
        values = pixels(data, name, mode)
        if images is None:
            images, mode = np.empty((num_rows(path), *values.shape), np.uint8), "L" if values.shape[2] == 1 else "RGB"
        if values.shape != images.shape[1:]:
            raise ValueError(f"Cannot read {name}: its shape is {values.shape}, that of row 0 is {images.shape[1:]}.")
        images[row] = values
    assert images is not None
    images.setflags(write=False)
    return images


def pixels(data: bytes | None, name: str, mode: str | None) -> np.ndarray:
    """One image, uint8 [H, W, channels]: upright, 16 bits scaled to 8, what is transparent on white."""
    from PIL import Image, ImageOps

    if data is None:
        raise ValueError(f"Cannot read {name}: it is empty.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = ImageOps.exif_transpose(_in_eight_bits(Image.open(io.BytesIO(data))))
            values = np.asarray(_opaque(image).convert(mode or ("L" if image.mode in ("1", "L") else "RGB")))
    except Exception as error:  # a damaged image can fail anywhere in its decoder
        raise ValueError(f"Cannot read {name}: {_ADDRESS.sub('', str(error)).strip()}") from None
    return values.reshape(*values.shape[:2], -1)


def _in_eight_bits(image: Any) -> Any:
    """An image of 16 bits scaled to 8; one of 32 bits, whose range is not known, is refused."""
    from PIL import Image

    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels have 32 bits (mode {image.mode}), and 8 or 16 are read.")
    if not image.mode.startswith("I;16"):
        return image
    values = np.asarray(image).astype(np.uint32)
    scaled = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    scaled.info = image.info
    return scaled


def _opaque(image: Any) -> Any:
    """The image on white, where it has transparent pixels, whose hidden colours are nobody's."""
    from PIL import Image

    if "transparency" not in image.info and image.mode not in ("RGBA", "LA", "PA", "La", "RGBa"):
        return image
    image = image.convert("RGBA")
    ground = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(ground, image).convert("RGB")


def image_bytes(path: str) -> Iterator[bytes | None]:
    """The image files in a parquet file's column `image`, a few at a time: together they may be more than memory has."""
    import polars as pl

    schema = parquet_schema(path)
    kind = schema.get("image")
    if not isinstance(kind, pl.Struct) or "bytes" not in [field.name for field in kind.fields] or not num_rows(path):
        raise ValueError(
            f"Cannot read {path!r} as images: it must have a column 'image', a struct of bytes and path, and at least "
            f"one row. Its columns are {schema}."
        )
    try:
        content = pl.scan_parquet(path, glob=False).select(pl.col("image").struct.field("bytes"))
        for batch in content.collect_batches(chunk_size=_ROWS):
            yield from batch["bytes"]
    except (Exception, pl.exceptions.PanicException) as error:
        raise ValueError(f"Cannot read {path!r} as a parquet file: {error}") from None


def parquet_schema(path: str) -> dict[str, Any]:
    """The types of a parquet file's columns by their names."""
    import polars as pl

    _must_exist(path)
    try:
        return dict(pl.scan_parquet(path, glob=False).collect_schema())
    except (Exception, pl.exceptions.PanicException) as error:  # as above, and polars panics at some damage
        raise ValueError(f"Cannot read {path!r} as a parquet file: {error}") from None


def num_rows(path: str) -> int:
    """How many rows a parquet file has."""
    import polars as pl

    try:
        return pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    except (Exception, pl.exceptions.PanicException) as error:  # polars panics at some damage
        raise ValueError(f"Cannot read {path!r} as a parquet file: {error}") from None


def reserve(file: BinaryIO, size: int) -> None:
    """Room for a file on the disk now: writing to a map of one with holes ends the process where the disk is full."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        error.filename = error.filename or str(file.name)
        raise


def _must_exist(path: str) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no file {path!r}.")
