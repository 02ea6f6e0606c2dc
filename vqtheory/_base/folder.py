"""A run's folder: files that are replaced together or not at all, by one process at a time.

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
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w

try:
    import fcntl
except ImportError:  # Windows, where runs are not locked
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    import polars as pl

MANIFEST, LOCK = "manifest.json", ".lock"
CONFIG, HISTORY, CHECKPOINT = "config.toml", "history.parquet", "checkpoint.npz"
_READINGS = 5  # of a folder that another process may be writing, before it is called damaged


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder for a while; `ValueError` where one is in it already.

    The kernel takes the lock back from a process that is killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / LOCK, "a+") as file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            other = file.read().strip() or "another one"
            raise ValueError(f"{folder} is in use by process {other}: wait for it, or take another folder.") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def write_run(
    folder: Path,
    config: dict[str, Any],
    history: pl.DataFrame,
    checkpoint: dict[str, Any],
    data: Mapping[str, Mapping[str, str]],
) -> None:
    """Replace the folder's files by these; `data` is what `provenance` says of the files that the run reads."""
    table, arrays = io.BytesIO(), io.BytesIO()
    history.write_parquet(table)
    np.savez(arrays, **{name: np.asarray(value) for name, value in checkpoint.items()})  # type: ignore[arg-type]
    contents = {CONFIG: tomli_w.dumps(config).encode(), HISTORY: table.getvalue(), CHECKPOINT: arrays.getvalue()}
    replace_together(folder, contents, data)


def replace_together(folder: Path, contents: dict[str, bytes], data: Mapping[str, Mapping[str, str]] = {}) -> None:
    """Put the contents in place, all or none, with a manifest of their SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    _finish_moves(folder, contents)
    manifest = {
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
        "data": data,
        "versions": {"python": platform.python_version()} | {name: version(name) for name in ("vqtheory", "numpy", "numba")},
    }
    written = contents | {MANIFEST: json.dumps(manifest, indent=2).encode()}
    try:
        for name, content in written.items():
            write_whole(folder / f"{name}.new", content)
    except BaseException:
        for name in written:
            (folder / f"{name}.new").unlink(missing_ok=True)
        raise
    for name in (MANIFEST, *contents):
        os.replace(folder / f"{name}.new", folder / name)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file to the disk itself; an error names it."""
    try:
        with open(path, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_beside(path: Path, content: bytes) -> None:
    """Replace one file by its new content, or leave it as it is; nothing half-written stays."""
    beside = path.with_name(f"{path.name}.new")
    try:
        write_whole(beside, content)
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _finish_moves(folder: Path, names: Iterable[str]) -> None:
    """Move the files of the manifest that a kill left beside their places."""
    if not (folder / MANIFEST).is_file():
        return
    digests = _manifest(folder)["files"]
    for name in names:
        beside = folder / f"{name}.new"
        if beside.is_file() and hashlib.sha256(beside.read_bytes()).hexdigest() == digests.get(name):
            os.replace(beside, folder / name)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        return {"files": dict(manifest["files"]), "data": dict(manifest.get("data", {}))}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"{folder / MANIFEST} is damaged: it is not a manifest of a run.") from None


def listed(folder: Path) -> set[str]:
    """The names of the files that a folder's manifest describes; none where there is no manifest."""
    return set(_manifest(folder)["files"]) if (folder / MANIFEST).is_file() else set()


def arrays_beside(path: Path) -> dict[str, np.ndarray]:
    """The arrays that a run's configuration names, from the checkpoint beside it."""
    if not path.with_name(CHECKPOINT).is_file():
        return {}
    content = verified(path.parent, [CHECKPOINT])[CHECKPOINT]
    return under(_arrays(content, path.with_name(CHECKPOINT)), "array.")


def read_run(folder: Path) -> tuple[dict[str, Any], pl.DataFrame, dict[str, Any], dict[str, dict[str, str]]]:
    """Configuration, history, checkpoint and data of a folder; raises `ValueError` naming what is wrong."""
    import polars as pl

    contents = verified(folder, (CONFIG, HISTORY, CHECKPOINT))
    checkpoint = {name: value[()] for name, value in _arrays(contents[CHECKPOINT], folder / CHECKPOINT).items()}
    try:
        history = pl.read_parquet(io.BytesIO(contents[HISTORY]))
    except (Exception, pl.exceptions.PanicException) as error:
        raise ValueError(f"{folder / HISTORY} is not a history of a run: {error}") from None
    return _toml(contents[CONFIG], folder / CONFIG), history, checkpoint, _manifest(folder)["data"]


def _arrays(content: bytes, path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # a forged archive can fail anywhere in its decoder
        raise ValueError(f"{path} is not a checkpoint of a run: {error}") from None


def verified(folder: Path, names: Iterable[str]) -> dict[str, bytes]:
    """Files of a folder as the manifest has them; raises `ValueError` naming one that is missing, damaged or altered.

    Another process may be replacing them: what does not fit is read again before it is called damaged.
    """
    if not (folder / MANIFEST).is_file():
        raise ValueError(f"{folder} holds no run: {folder / MANIFEST} is missing.")
    for reading in range(_READINGS):
        try:
            digests = _manifest(folder)["files"]
            return {name: _checked(folder, name, digests.get(name)) for name in names}
        except (ValueError, FileNotFoundError):
            if reading + 1 == _READINGS:
                raise
            time.sleep(0.02 * 2**reading)
    raise AssertionError


def _checked(folder: Path, name: str, digest: str | None) -> bytes:
    """The content of a file, from its place or from beside it, that has the digest."""
    for path in (folder / name, folder / f"{name}.new"):
        if path.is_file():
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() == digest:
                return content
    what = "damaged or altered: its SHA-256 is not that of the manifest" if (folder / name).is_file() else "missing"
    raise ValueError(f"{folder / name} is {what}.")


def provenance(files: Iterable[str]) -> dict[str, dict[str, str]]:
    """Of each file that a run reads, by the name that it is called by: where it is, and its SHA-256."""
    return {name: {"path": str(Path(name).resolve()), "sha256": _digest_of(name)} for name in files}


def check_provenance(data: Mapping[str, Mapping[str, str]], files: Iterable[str]) -> None:
    """Refuse other data under the same name; `ValueError` names the file."""
    for name in files:
        known = data.get(name) or next((one for one in data.values() if one.get("path") == name), None)
        if known is not None and known.get("sha256") != _digest_of(name):
            raise ValueError(f"{name} is not the file that the run has read so far: its SHA-256 is another.")


def _digest_of(name: str) -> str:
    status = os.stat(name)
    return _digest(name, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2**16)  # latents may have many shards
def _digest(name: str, changed: int, size: int) -> str:
    with open(name, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_toml(path: Path) -> dict[str, Any]:
    """The parameters in a TOML file; raises `ValueError` for one that cannot be read."""
    try:
        return _toml(path.read_bytes(), path)
    except OSError as error:
        raise ValueError(f"Cannot read {path}: {error.strerror}.") from None


def _toml(content: bytes, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}.") from None
    except RecursionError:
        raise ValueError(f"{path} is not TOML of a run: it is nested too deep.") from None


def under(checkpoint: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The entries under a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in checkpoint.items() if name.startswith(prefix)}
