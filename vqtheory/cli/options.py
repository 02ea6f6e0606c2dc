"""What the subcommands are made of."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import tyro

Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]


def option(metavar: str, default: str = "") -> Any:
    """An option that is a text until `simulate` checks it, so that whatever is wrong is said in one form."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})" if default else "")


def number(text: str) -> float | str:
    """12, 1_000_000 or 1e6 as an int, 0.5 as a float; anything else as it is, to be refused by whoever checks it."""
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        return int(number) if number == number // 1 else number
    return text


def say(text: object) -> None:
    """Print a text; an error in that names standard output."""
    try:
        print(text, flush=True)
    except OSError as error:
        error.filename = error.filename or "standard output"
        raise


def picture_file(path: Path | None, folder: Path | None = None, name: str = "run") -> Path:
    """Where the picture goes; refused before the run and not after it."""
    target = path or (Path(f"vqtheory-{name}.png") if folder is None else folder / f"{name}.png")
    if target.suffix.lower() not in (".png", ".pdf", ".svg", ".jpg") or target.is_dir():
        raise ValueError(f"The picture must be a .png, .pdf, .svg or .jpg file. Got {str(target)!r}.")
    return target


def read(name: str, value: Any) -> Any:
    """The parameter that a text of the command line stands for."""
    if not isinstance(value, str) or name in ("init", "dtype"):
        return value
    if name in ("rule", "stream"):
        from vqtheory._base.config import parse
        from vqtheory._base.own import build, is_own

        return build(value) if is_own(value) else parse(value)
    count = _whole(value)
    if name != "codes" or not isinstance(count, str):
        return count
    from vqtheory._base.files import load_array

    return load_array(value)


def _whole(text: str) -> int | str:
    """As `number`, but what is no int is left as it is."""
    found = number(text)
    return found if isinstance(found, int) else text


def torch_module(name: str) -> Any:
    """A module of vqtheory.nn, or the sentence that torch is missing."""
    try:
        return import_module(f"vqtheory.nn.{name}")
    except ImportError as error:
        raise ValueError(str(error)) from None
