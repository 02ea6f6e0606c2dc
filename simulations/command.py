"""What the commands `python -m simulations`, `simulations.benchmarks` and `paper_figures` share."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import tyro

from vqtheory._base import check
from vqtheory.sweeps import Backend, Cluster
from vqtheory.sweeps.places import place_of

Names = Annotated[tuple[str, ...], tyro.conf.Positional]


def names(help: str) -> Any:
    """How names of experiments or figures are asked for."""
    return tyro.conf.arg(metavar="[NAME ...]", help_behavior_hint="", help=help)


def known(program: str, names: Iterable[str], options: Iterable[str]) -> list[str]:
    """The names, if all of them are among the options; else the program ends, and suggests the nearest one."""
    options = list(options)
    try:
        return [check.choice(program, "NAME", name, options) for name in names]
    except ValueError as error:
        raise SystemExit(str(error)) from None


@contextmanager
def workers(scheduler: str | None) -> Iterator[Backend | None]:
    """The cluster of a scheduler, its workers given the experiments as they are here; None where there is no address."""
    if scheduler is None:
        yield None
        return
    try:
        with place_of("simulations", scheduler) as place, TemporaryDirectory() as folder:
            assert isinstance(place, Cluster)
            place.client.run(_forget)
            place.client.upload_file(str(_archive(Path(folder))))
            yield place
    except (ValueError, ConnectionError) as error:
        raise SystemExit(str(error)) from None


def _archive(folder: Path) -> Path:
    """The files of this package, in a zip that Python can import from, named after its content."""
    package = Path(__file__).parent
    contents = {path.relative_to(package.parent): path.read_bytes() for path in sorted(package.rglob("*.py"))}
    path = folder / f"simulations-{hashlib.sha256(repr(contents).encode()).hexdigest()[:12]}.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name, content in contents.items():
            file.writestr(name.as_posix(), content)
    return path


def _forget() -> None:
    """On a worker: let modules of earlier files be imported anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "simulations"]:
        del sys.modules[name]


def run(main: Callable[..., None], program: str) -> None:
    """Call `main` with the arguments of the command line."""
    tyro.cli(main, prog=program, config=(tyro.conf.FlagCreatePairsOff,))
