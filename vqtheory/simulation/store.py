"""A record as a folder: `config.toml`, `history.parquet`, `checkpoint.npz`, `manifest.json`."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from vqtheory._base import check
from vqtheory._base.config import arrays_of
from vqtheory._base.folder import MANIFEST, read_run, under, write_run
from vqtheory.protocols import Rule
from vqtheory.simulation.config import Config, as_text, built
from vqtheory.simulation.record import AnyRecord, Interval, Record
from vqtheory.simulation.start import begin


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
    write_run(Path(folder), as_text(config), record.history, arrays)


def load(kind: type[AnyRecord], folder: str | Path, rule: Rule | None = None) -> AnyRecord:
    """Read what `save` has written; raises `ValueError` naming the file that is missing, damaged or altered."""
    values, history, arrays = read_run(Path(folder))
    values |= {"rule": rule} if rule is not None else {}
    config = Config(**built(values, Path(folder), under(arrays, "array."))).checked()
    state, loop = begin(config)
    return kind(
        config,
        type(state)(**under(arrays, "state.")),
        None if loop is None else type(loop)(**under(arrays, "loop.")),
        str(arrays["status"]),
        arrays["hits"],
        int(arrays["hits_since"]),
        Interval(**under(arrays, "since_record.")),
        tuple(history.to_dicts()),
    )
