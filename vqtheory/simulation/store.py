"""A record as a folder: `config.toml`, `history.parquet`, `checkpoint.npz`, `manifest.json`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from vqtheory._base import check
from vqtheory._base.config import arrays_of
from vqtheory._base.folder import MANIFEST, check_provenance, listed, provenance, read_run, under, write_run
from vqtheory.protocols import Batches, Loop, Reads, Rule, State, Stream
from vqtheory.simulation.config import Config, as_text, built
from vqtheory.simulation.record import AnyRecord, Interval, Record


def create(record: Record, folder: str | Path) -> None:
    """Save to a folder that holds no run yet; raises `ValueError` if it does."""
    if (Path(folder) / MANIFEST).exists():
        raise check.fail("simulate", "save", "a folder that holds no run yet; vqtheory.resume continues one", str(folder))
    save(record, folder)


def save(record: Record, folder: str | Path) -> None:
    """Write the record; a kill at any moment leaves the folder as it was before or as it is after."""
    parts = {"state": record.state._asdict(), "loop": record.loop._asdict() if record.loop is not None else {}}
    arrays = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    arrays |= {"hits": record.hits, "hits_since": record.hits_since, "status": record.status}
    arrays |= {f"since_record.{name}": value for name, value in record.since_record._asdict().items()}
    config = {field.name: getattr(record.config, field.name) for field in fields(Config)}
    arrays |= {f"array.{name}": array for name, array in arrays_of(list(config.values())).items()}
    write_run(Path(folder), as_text(config), record.history, arrays, provenance(_files(record.config)))


def load(
    kind: type[AnyRecord], folder: str | Path, rule: Rule | None = None, stream: Stream | Loop | None = None
) -> AnyRecord:
    """Read what `save` has written; raises `ValueError` naming the file that is missing, damaged or altered."""
    folder = Path(folder)
    if "checkpoint.pt" in listed(folder):
        raise ValueError(f"{folder} is a training, not a simulation: vqtheory train --resume goes on with it.")
    values, history, arrays, data = read_run(folder)
    values |= {name: value for name, value in (("rule", rule), ("stream", stream)) if value is not None}
    if isinstance(values.get("stream"), str):
        values["stream"] = _found(values["stream"], data, folder)
    try:
        parameters = built(values, folder, under(arrays, "array."))
        files = _files(Config(**parameters))
        check_provenance(data, files)
        if stream is None and data and len(files) != len(data):
            raise ValueError(
                f"The run in {folder} has read {len(data)} files so far, and now there are {len(files)} of them."
            )
    except FileNotFoundError as error:  # a run can be looked at without its data
        parameters = built(values | {"stream": Missing(str(values["stream"]), str(error))}, folder, under(arrays, "array."))
    config = Config(**parameters).checked()
    return _record(kind, config, arrays, folder, tuple(history.to_dicts()))


def _record(
    kind: type[AnyRecord], config: Config, arrays: dict[str, Any], folder: Path, rows: tuple[dict[str, Any], ...]
) -> AnyRecord:
    try:
        loop = None
        if isinstance(config.stream, Loop):
            loop = type(config.stream.init(config.seed))(**under(arrays, "loop."))
        state = _kind_of_state(config, arrays["state.codes"])(**under(arrays, "state."))
        since = Interval(**under(arrays, "since_record."))
        hits, hits_since, status = arrays["hits"], int(arrays["hits_since"]), str(arrays["status"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"{folder / 'checkpoint.npz'} is not a checkpoint of this run: {error}.") from None
    _check_shapes(config, state, hits, folder)
    return kind(config, state, loop, status, hits, hits_since, since, rows)


def _kind_of_state(config: Config, codes: np.ndarray) -> type:
    """The named tuple of the rule, from a start that any rule accepts."""
    start = np.random.default_rng(0).standard_normal(codes.shape).astype(config.dtype)
    return type(config.rule.init(start, config.seed))


def _check_shapes(config: Config, state: State, hits: np.ndarray, folder: Path) -> None:
    """That a checkpoint is one of this configuration."""
    wanted = np.shape(config.codes) or (config.codes, np.shape(state.codes)[-1])
    if np.shape(state.codes) != wanted or np.shape(hits) != wanted[:1]:
        raise ValueError(
            f"{folder / 'checkpoint.npz'} is not a checkpoint of this run: its codes have the shape "
            f"{np.shape(state.codes)}, those of config.toml {wanted}."
        )


def _files(config: Config) -> tuple[str, ...]:
    """The paths of what its stream and its rule read."""
    return tuple(path for part in (config.stream, config.rule) if isinstance(part, Reads) for path in part.files)


def _found(stream: str, data: dict[str, dict[str, str]], folder: Path) -> str:
    """The text of a stream with the paths of files where they are now: as given, where they were, beside the folder."""
    for name, known in data.items():
        places = (name, known["path"], str(folder / name))
        present = next((place for place in places if Path(place).is_file()), name)
        stream = stream.replace(repr(name), repr(present))
    return stream


@dataclass(frozen=True, repr=False)
class Missing:
    """A stream whose files are not there: the run can be looked at, and not continued."""

    text: str
    reason: str

    def __repr__(self) -> str:
        return self.text

    @property
    def dim(self) -> int:
        """Not known."""
        return 0

    def draw(self, start: int, steps: int, batch_size: int, seed: int, dtype: Any = np.float64) -> Batches:
        """Refused."""
        raise FileNotFoundError(self.reason)
