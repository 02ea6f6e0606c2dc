"""A run's folder: four files that are replaced together or not at all.

Each file is first written in full beside its place, as `NAME.new`. Renaming the new manifest
is the moment at which the new files count; they are moved to their places afterwards, and a
reader that comes in between, or after a kill, takes the `.new` file where that is the one the
manifest describes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tomllib
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w

if TYPE_CHECKING:
    import polars as pl

MANIFEST = "manifest.json"
CONFIG, HISTORY, CHECKPOINT = "config.toml", "history.parquet", "checkpoint.npz"


def write_run(folder: Path, config: dict[str, Any], history: pl.DataFrame, checkpoint: dict[str, Any]) -> None:
    """Replace the folder's files by these."""
    table, arrays = io.BytesIO(), io.BytesIO()
    history.write_parquet(table)
    np.savez(arrays, **{name: np.asarray(value) for name, value in checkpoint.items()})  # type: ignore[arg-type]
    replace_together(
        folder, {CONFIG: tomli_w.dumps(config).encode(), HISTORY: table.getvalue(), CHECKPOINT: arrays.getvalue()}
    )


def replace_together(folder: Path, contents: dict[str, bytes]) -> None:
    """Put the contents in place, all or none, with a manifest of their SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    _finish_moves(folder)
    manifest = {
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in ("vqtheory", "numpy", "numba")},
    }
    for name, content in (contents | {MANIFEST: json.dumps(manifest, indent=2).encode()}).items():
        with open(folder / f"{name}.new", "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    for name in (MANIFEST, *contents):
        os.replace(folder / f"{name}.new", folder / name)


def _finish_moves(folder: Path) -> None:
    """Move the files of the manifest that a kill left beside their places."""
    if not (folder / MANIFEST).is_file():
        return
    for name, digest in _digests(folder).items():
        beside = folder / f"{name}.new"
        if beside.is_file() and hashlib.sha256(beside.read_bytes()).hexdigest() == digest:
            os.replace(beside, folder / name)


def listed(folder: Path) -> set[str]:
    """Names of the files that the manifest of a folder describes."""
    return set(_digests(folder))


def _digests(folder: Path) -> dict[str, str]:
    try:
        return dict(json.loads((folder / MANIFEST).read_bytes())["files"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(f"{folder / MANIFEST} is damaged: it is not a manifest of a run.") from None


def arrays_beside(path: Path) -> dict[str, np.ndarray]:
    """The arrays that a run's configuration names, from the checkpoint beside it."""
    checkpoint = path.with_name(CHECKPOINT)
    if not checkpoint.is_file():
        return {}
    with np.load(checkpoint, allow_pickle=False) as stored:
        return under({name: stored[name] for name in stored.files if name.startswith("array.")}, "array.")


def read_run(folder: Path) -> tuple[dict[str, Any], pl.DataFrame, dict[str, Any]]:
    """Configuration, history and checkpoint of a folder; raises `ValueError` naming what is wrong."""
    import polars as pl

    found = verified(folder, (CONFIG, HISTORY, CHECKPOINT))
    with np.load(io.BytesIO(found[CHECKPOINT]), allow_pickle=False) as stored:
        checkpoint = {name: stored[name][()] for name in stored.files}
    return tomllib.loads(found[CONFIG].decode()), pl.read_parquet(io.BytesIO(found[HISTORY])), checkpoint


def verified(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Files of a folder as the manifest has them; raises `ValueError` naming one that is missing, damaged or altered."""
    if not (folder / MANIFEST).is_file():
        raise ValueError(f"{folder} holds no run: {folder / MANIFEST} is missing.")
    digests = _digests(folder)
    return {name: _checked(folder, name, digests.get(name)) for name in names}


def _checked(folder: Path, name: str, digest: str | None) -> bytes:
    """The content of a file, from its place or from beside it, that has the digest."""
    for path in (folder / name, folder / f"{name}.new"):
        if path.is_file():
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == digest:
                return content
    what = "damaged or altered: its SHA-256 is not that of the manifest" if (folder / name).is_file() else "missing"
    raise ValueError(f"{folder / name} is {what}.")


def read_toml(path: Path) -> dict[str, Any]:
    """The parameters in a TOML file; raises `ValueError` for one that cannot be read."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"Cannot read {path}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}.") from None


def under(checkpoint: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The entries under a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in checkpoint.items() if name.startswith(prefix)}
