"""The face study: does the theory hold in a VQ-VAE, and which method keeps its codebook there?

VQ-VAEs on photographs of faces (`VQTHEORY_DATA`, 64x64 pixels, 64 dimensions, 1,024 codes, the `small` autoencoder,
2,000 updates of 16 images, Adam 5e-4): one encoder, gradient estimator, start and budget for every rule, and no
dead-code replacement but where it is the method itself. One row per training: what its codebook and its pictures are worth
on test images of people who are not among the training images, the history of the training, the encoder's measured drift,
and what the laws make of that drift. Which trainings there are, and how settings are chosen, is in `simulations.protocol`.

A training is kept in a folder of its own while it goes on, and a row is added to the table when one is finished: the
study may be stopped at any time, and goes on where it was. On one core a training takes two to five minutes.
"""

from __future__ import annotations

import io
import math
import os
import platform
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from joblib import Parallel, delayed
from PIL import Image
from tqdm import tqdm

from simulations.protocol import Point, points
from simulations.tables import RESULTS, path_of, write
from vqtheory import Diagnosis, diagnose, measure

if TYPE_CHECKING:
    from vqtheory.nn.evaluation import Evaluation
    from vqtheory.nn.training.config import TrainingConfig
    from vqtheory.nn.training.run import TrainingRun

IMAGES_FAST = 64  # of the test; all of them otherwise
PICTURES = ("named", "tuned", "published")  # groups of which reconstructions are kept
KEY = ("group", "label", "config")  # of a row
METRICS = ("used", "usage", "perplexity", "distortion", "relative_distortion", "psnr", "ssim")
HISTORY = ("step", "used", "perplexity", "distortion", "reconstruction")
PROBES = ("step", "used", "speed", "moved", "spread", "dimension", "distortion")


def run(fast: bool = False, results: Path = RESULTS, minutes: float | None = None, anew: bool = False) -> pl.DataFrame:
    """The table with a row for each training that is finished; no training begins after so many minutes."""
    check_data(fast)
    began, path, folder = time.monotonic(), table_path(fast, results), folder_of(fast, results)
    if anew:
        shutil.rmtree(folder, ignore_errors=True)
    table = pl.read_parquet(path) if path.is_file() and not anew else pl.DataFrame()
    until = math.inf if minutes is None else time.time() + 60 * minutes
    while (left := _left(table, fast)) and time.time() < until:
        calls = (delayed(finish)(point, folder, fast, until) for point in left)
        with tqdm(total=len(left), desc="faces", unit=" trainings") as bar:
            for row in Parallel(n_jobs=-1, return_as="generator_unordered")(calls):
                if row is not None:
                    table = _with(row, table, fast)
                    write(path, table, time.monotonic() - began, ("torch",))
                    bar.update()
    return table


def _left(table: pl.DataFrame, fast: bool) -> list[Point]:
    done = set(table.select(KEY).iter_rows()) if len(table) else set()
    left = [point for point in chosen_points(table, fast) if point.key(fast) not in done]
    first = [point for point in left if point.group in ("search", "named")]  # what else there is follows from the search
    return first if any(point.group == "search" for point in first) else left


def _with(row: dict[str, Any], table: pl.DataFrame, fast: bool) -> pl.DataFrame:
    """The table with one row more, and without those of other settings."""
    table = pl.concat([table, pl.DataFrame([row], infer_schema_length=None)], how="diagonal_relaxed")
    wanted = pl.DataFrame([point.key(fast) for point in chosen_points(table, fast)], schema=KEY, orient="row")
    return table.join(wanted, on=KEY, how="semi", maintain_order="left")


def table_path(fast: bool, results: Path = RESULTS) -> Path:
    """Where the table is; the table of the whole study is bundled with the project."""
    return folder_of(fast, results).with_suffix(".parquet") if fast else path_of("faces", fast)


def folder_of(fast: bool, results: Path = RESULTS) -> Path:
    """Where the trainings are kept."""
    return results / ("fast" if fast else "full") / "faces"


def chosen_points(table: pl.DataFrame, fast: bool) -> list[Point]:
    """The trainings to be run: a few of them to see that it works."""
    return [point for point in points(table) if not fast or (point.group == "named" and point.seed == 0)]


def progress(table: pl.DataFrame, fast: bool, results: Path) -> str:
    """How far the study is."""
    left = len(chosen_points(table, fast)) - len(table)
    return f"{table_path(fast, results)}: {len(table)} trainings" + (f"; {left} are left, run it again" if left else "")


def check_data(fast: bool) -> None:
    """Ends the program where there are no faces and the study is to be the whole one."""
    if not fast and not Path(os.environ.get("VQTHEORY_DATA", "none"), "train.parquet").is_file():
        raise SystemExit(
            "The face study needs faces: set VQTHEORY_DATA to a folder with train.parquet and test.parquet, each with a "
            "column image as data sets of the Hugging Face hub have it. docs/faces.md says where those of the bundled table "
            "are from."
        )


def finish(point: Point, folder: Path, fast: bool, until: float) -> dict[str, Any] | None:
    """The row of a training, which goes on where it was stopped; None if it would begin too late.

    A training that diverges has a row without figures.
    """
    from vqtheory.nn.training.loop import Diverged

    if time.time() > until:
        return None
    began = time.monotonic()
    with one_thread():
        try:
            row = describe(point, _trained(point, folder / point.name, fast), IMAGES_FAST if fast else None)
        except Diverged:
            row = identity(point, point.training(fast)) | dict.fromkeys(METRICS)
    return row | {"seconds": time.monotonic() - began, "made": made()}


@contextmanager
def one_thread() -> Iterator[None]:
    """A training for each core, and the same bits however many there are."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _trained(point: Point, folder: Path, fast: bool) -> TrainingRun:
    """The training, which goes on where it was stopped; one of other settings is begun again."""
    from vqtheory.nn.training.loop import resume, train
    from vqtheory.nn.training.run import TrainingRun

    wanted = point.training(fast)
    if (folder / "manifest.json").exists() and TrainingRun.load(folder).config == wanted:
        return resume(folder, progress=False)
    shutil.rmtree(folder, ignore_errors=True)
    return train(wanted, save=folder, progress=False)


def describe(point: Point, trained: TrainingRun, images: int | None) -> dict[str, Any]:
    """What became of a training, on so many test images."""
    from vqtheory.nn.evaluation.measure import evaluate

    config = trained.config
    searched = point.group == "search"
    held_out: dict[str, Any] = {"part": "validation"} if searched else {"images": images}
    evaluation = evaluate(trained, progress=False, **held_out)
    row = identity(point, config) | {"steps": trained.step}
    row |= {metric: evaluation[metric] for metric in METRICS}
    if searched:
        return row
    if point.group == "models":
        row |= {what: evaluation[what] for what in ("images", "latents")}
        return row | drawn(evaluation) | grains(trained, evaluation)
    diagnosis = diagnose(trained)
    row |= {"alive": int(diagnosis.alive.sum()), "carrying": diagnosis.carrying, "predicted": float(diagnosis.predicted[-1])}
    row |= {"replayed": replayed(diagnosis)} if point.group == "sgd" else {}
    row |= {"history": trained.history.select(HISTORY).to_dicts()}
    row |= {"looks": diagnosis.recording.table.select(PROBES).to_dicts()}
    row |= {"law": [float(law.survivors) for law in diagnosis.laws], "excess": diagnosis.excess.tolist()}
    if point.group in PICTURES and point.seed == 0:
        row |= drawn(evaluation)
    return row


def drawn(evaluation: Evaluation) -> dict[str, Any]:
    """Some test images, and what came back of them."""
    return {"originals": png(evaluation.originals), "reconstructions": png(evaluation.reconstructions)}


def grains(trained: TrainingRun, evaluation: Evaluation) -> dict[str, Any]:
    """Which regions of these images DQ-VAE codes fine, and the share of them in a training pass over validation images.

    A learned gate is sampled in training, where the loss holds its share to the budget, and takes the likelier grain in
    evaluation.
    """
    from vqtheory.nn.models import DQVAE
    from vqtheory.nn.ops.mode import evaluating
    from vqtheory.nn.training.loop import pixels
    from vqtheory.nn.training.provenance import read_images

    config, model = trained.config, trained.model
    if not isinstance(model, DQVAE):
        return {}
    with evaluating(model):
        fine = model.grain_of(pixels(evaluation.originals)) == 0
    images = read_images(config.data, config.size, trained.images, trained.folder, False)[0]
    sampled = model.train().grain_of(pixels(images.train[-config.validation :]))
    maps = np.repeat((255 * fine.cpu().numpy()).astype(np.uint8)[..., None], 3, axis=3)
    return {"fine": float((sampled == 0).double().mean()), "grains": png(maps)}


def identity(point: Point, config: TrainingConfig) -> dict[str, Any]:
    """What a row is of."""
    of = {"group": point.group, "label": point.label, "seed": point.seed, "config": repr(config)}
    return of | {"codes": config.codes, "dim": config.dim}


def replayed(diagnosis: Diagnosis) -> list[int]:
    """How many codes have 99 of 100 latents in the end, where the simulator's rule follows the probe's motion alone.

    Three motions: as recorded; growing and moving as a whole, with the last shape; moving as a whole, with the last
    shape and size. The law knows of the second and third, and the difference to the first is what it leaves out.
    """
    recording = diagnosis.recording
    shape = recording.latents[-1] - recording.latents[-1].mean(axis=0)
    means = recording.latents.mean(axis=1, keepdims=True)
    sizes = recording.motion.spread[:, None, None] / recording.motion.spread[-1]
    motions = (recording.latents, means + sizes * shape, means + shape)
    runs = [Diagnosis(replace(recording, latents=latents.astype(np.float32))).replayed() for latents in motions]
    return [measure.carrying(run.hits) for run in runs]


def png(images: np.ndarray) -> bytes:
    """Images [n, size, size, 3] side by side."""
    file = io.BytesIO()
    Image.fromarray(np.concatenate(list(images), axis=1)).save(file, "PNG")
    return file.getvalue()


def made() -> str:
    """What the row was made with."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("vqtheory", "torch", "numpy"))
    return f"python {platform.python_version()}, {packages}; {_processor()}; {time.strftime('%Y-%m-%d')}"


def _processor() -> str:
    """What trained it: the GPU by its name, or a CPU."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
