"""The face study: does the theory hold in a VQ-VAE?

VQ-VAEs on photographs of faces (`VQTHEORY_DATA`, 64x64 pixels, 64 dimensions, 1,024 codes, the `small` autoencoder,
2,000 updates of 16 images, Adam 5e-4): one encoder, gradient estimator, start and budget for every rule, and no
dead-code replacement. One row per training: what its codebook and its pictures are worth on test images of people who
are not among the training images, the history of the training, the encoder's measured drift, and what the laws make
of that drift.

=========  ==========================================================================  =====
group      what                                                                        seeds
=========  ==========================================================================  =====
rules      VQ, EMA, NSVQ, TransVQ, codes at latents of the first batch; "quick": the
           codes of VQ and NSVQ trained at the rate 0.04 in place of 5e-4, and
           TransVQ's map at 2e-3                                                        3
forms      SimVQ, CosineVQ, EMA with a short memory, the other forms of NSVQ            1
sgd        plain VQ with its codes under SGD, as in the laws, over codes and rate       1
size       plain VQ over the dimensions of the latents, and over the number of codes    1
published  rules from the start of their own papers                                     1
=========  ==========================================================================  =====

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
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from joblib import Parallel, delayed
from PIL import Image
from tqdm import tqdm

from simulations.tables import RESULTS, path_of, write
from vqtheory import Diagnosis, diagnose, measure
from vqtheory.protocols import Rule
from vqtheory.rules import EMA, NSVQ, VQ, CosineVQ, SimVQ, TransVQ
from vqtheory.schedules import exponential

if TYPE_CHECKING:
    from vqtheory.nn.training.config import TrainingConfig
    from vqtheory.nn.training.run import TrainingRun

STEPS, STEPS_FAST, RECORDS = 2000, 8, 40
IMAGES_FAST = 64  # of the test; all of them otherwise
QUICK = {"VQ": 0.04, "NSVQ": 0.04, "TransVQ": 2e-3}  # rates of Adam, which has 5e-4 for all else
NARROWING = exponential(2.0, half_life=200)  # NSVQ's kernel
RULES: dict[str, Rule] = {"VQ": VQ(), "EMA": EMA(), "NSVQ": NSVQ(form="softmax", bandwidth=NARROWING), "TransVQ": TransVQ()}
STARTS = RULES | {"SimVQ": SimVQ(), "CosineVQ": CosineVQ()}
GAUSSIAN, PROPAGATE = NSVQ(form="gaussian", bandwidth=NARROWING), NSVQ(form="propagate", bandwidth=NARROWING)
FORMS: dict[str, dict[str, Any]] = {
    "SimVQ": {"rule": SimVQ()},
    "SimVQ without bias": {"rule": SimVQ(bias=False)},
    "CosineVQ": {"rule": CosineVQ()},
    "CosineVQ quick": {"rule": CosineVQ(), "codebook_lr": 0.04},
    "NSVQ slowing": {"rule": RULES["NSVQ"], "codebook_lr": exponential(0.04, half_life=300)},
    "EMA quick": {"rule": EMA(decay=0.8)},
    "NSVQ gaussian quick": {"rule": GAUSSIAN, "codebook_lr": 0.04},
    "NSVQ propagate quick": {"rule": PROPAGATE, "codebook_lr": 0.04},
    "NSVQ gaussian": {"rule": GAUSSIAN},
    "NSVQ propagate": {"rule": PROPAGATE},
}
DIMS, SIZES = (4, 8, 16, 32, 64), (2048,)  # of 512 codes; 512 and 1,024 codes in 64 dimensions are there already
SGD_CODES, SGD_RATES = (64, 256, 1024), (0.5, 2.0, 8.0, 32.0)  # eta = rate / 32 at 64 dimensions
PICTURES = ("rules", "published")  # groups of which reconstructions are kept
KEY = ("group", "label", "config")  # of a row
METRICS = ("used", "usage", "perplexity", "distortion", "relative_distortion", "psnr", "ssim")
HISTORY = ("step", "used", "perplexity", "distortion", "reconstruction")
PROBES = ("step", "used", "speed", "moved", "spread", "dimension", "distortion")


class Point(NamedTuple):
    """One training."""

    group: str
    label: str
    seed: int
    options: dict[str, Any]  # of TrainingConfig

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.group}-{self.label}-{self.seed}".replace(" ", "-")

    def training(self, fast: bool) -> TrainingConfig:
        """Its configuration; a fast one is of a few updates on small images."""
        from vqtheory.nn.training.config import TrainingConfig

        small = {"steps": STEPS_FAST, "records": 2, "probe_every": 4, "size": 16, "batch_size": 4} if fast else {}
        return TrainingConfig(**{"steps": STEPS, "records": RECORDS, "seed": self.seed} | self.options | small)

    def key(self, fast: bool) -> tuple[str, str, str]:
        """What a row is known by."""
        return self.group, self.label, repr(self.training(fast))


def points() -> list[Point]:
    """All trainings, in the order in which they are run."""
    slow = {label: {"rule": rule} for label, rule in RULES.items()}
    quick = {f"{label} quick": {"rule": RULES[label], "codebook_lr": rate} for label, rate in QUICK.items()}
    main = quick | {label: slow[label] for label in ("EMA", "TransVQ")}
    forms = [Point("forms", label, 0, options) for label, options in FORMS.items()]
    sgd = [
        (f"{codes} codes at {rate:g}", {"codes": codes, "codebook_lr": rate, "codebook_optimizer": "sgd"})
        for codes, rate in product(SGD_CODES, SGD_RATES)
    ]
    return [
        *(Point("rules", label, 0, options) for label, options in (slow | quick).items()),
        *(Point("rules", label, seed, options) for seed in (1, 2) for label, options in main.items()),
        *forms[:4],
        *(Point("sgd", label, 0, options) for label, options in sgd),
        *(Point("size", f"{dim} dimensions", 0, {"dim": dim, "codes": 512}) for dim in DIMS),
        *(Point("size", f"{codes} codes", 0, {"codes": codes}) for codes in SIZES),
        *(Point("published", label, 0, {"rule": published(rule)}) for label, rule in STARTS.items()),
        *forms[4:],
        *(Point("rules", label, seed, slow[label]) for label in ("VQ", "NSVQ") for seed in (1, 2)),
    ]


def published(rule: Rule) -> Rule:
    """The rule from the start of its own paper."""
    return replace(rule, start="published")  # type: ignore[type-var]


def run(fast: bool = False, results: Path = RESULTS, minutes: float | None = None, anew: bool = False) -> pl.DataFrame:
    """The table with a row for each training that is finished; no training begins after so many minutes."""
    _check_data(fast)
    began, path, folder = time.monotonic(), table_path(fast, results), folder_of(fast, results)
    if anew:
        shutil.rmtree(folder, ignore_errors=True)
    table = pl.read_parquet(path) if path.is_file() and not anew else pl.DataFrame()
    wanted = {point.key(fast): point for point in chosen(fast)}
    if len(table):  # rows of other settings are dropped
        table = table.join(pl.DataFrame(list(wanted), schema=KEY, orient="row"), on=KEY, how="semi", maintain_order="left")
    left = [point for key, point in wanted.items() if key not in _done(table)]
    until = math.inf if minutes is None else time.time() + 60 * minutes
    calls = (delayed(finish)(point, folder, fast, until) for point in left)
    with tqdm(total=len(wanted), initial=len(wanted) - len(left), desc="faces", unit=" trainings") as bar:
        for row in Parallel(n_jobs=-1, return_as="generator_unordered")(calls):
            if row is not None:
                table = pl.concat([table, pl.DataFrame([row], infer_schema_length=None)], how="diagonal_relaxed")
                write(path, table, time.monotonic() - began, ("torch",))
                bar.update()
    return table


def table_path(fast: bool, results: Path = RESULTS) -> Path:
    """Where the table is; the table of the whole study is bundled with the project."""
    return folder_of(fast, results).with_suffix(".parquet") if fast else path_of("faces", fast)


def folder_of(fast: bool, results: Path = RESULTS) -> Path:
    """Where the trainings are kept."""
    return results / ("fast" if fast else "full") / "faces"


def chosen(fast: bool) -> list[Point]:
    """The trainings to be run: a few of them to see that it works."""
    return [point for point in points() if not fast or (point.group == "rules" and point.seed == 0)]


def progress(table: pl.DataFrame, fast: bool, results: Path) -> str:
    """How far the study is."""
    left = len(chosen(fast)) - len(table)
    return f"{table_path(fast, results)}: {len(table)} trainings" + (f"; {left} are left, run it again" if left else "")


def _done(table: pl.DataFrame) -> set[tuple[str, ...]]:
    return set(table.select(KEY).iter_rows()) if len(table) else set()


def _check_data(fast: bool) -> None:
    if not fast and not Path(os.environ.get("VQTHEORY_DATA", "none"), "train.parquet").is_file():
        raise SystemExit(
            "The face study needs faces: set VQTHEORY_DATA to a folder with train.parquet and test.parquet, each with a "
            "column image as data sets of the Hugging Face hub have it. docs/faces.md says where those of the bundled table "
            "are from."
        )


def finish(point: Point, folder: Path, fast: bool, until: float) -> dict[str, Any] | None:
    """The row of a training, which goes on where it was stopped; None if it would begin too late."""
    if time.time() > until:
        return None
    began = time.monotonic()
    with one_thread():
        row = describe(point, _trained(point, folder / point.name, fast), IMAGES_FAST if fast else None)
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

    evaluation, config = evaluate(trained, images=images, progress=False), trained.config
    diagnosis = diagnose(trained)
    row: dict[str, Any] = {"group": point.group, "label": point.label, "seed": point.seed, "config": repr(config)}
    row |= {"codes": config.codes, "dim": config.dim, "steps": trained.step}
    row |= {metric: evaluation[metric] for metric in METRICS}
    row |= {"alive": int(diagnosis.alive.sum()), "carrying": diagnosis.carrying, "predicted": float(diagnosis.predicted[-1])}
    row |= {"replayed": replayed(diagnosis)} if point.group == "sgd" else {}
    row |= {"history": trained.history.select(HISTORY).to_dicts()}
    row |= {"looks": diagnosis.recording.table.select(PROBES).to_dicts()}
    row |= {"law": [float(law.survivors) for law in diagnosis.laws], "excess": diagnosis.excess.tolist()}
    if point.group in PICTURES and point.seed == 0:
        row |= {"originals": png(evaluation.originals), "reconstructions": png(evaluation.reconstructions)}
    return row


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
    return f"python {platform.python_version()}, {packages}; {time.strftime('%Y-%m-%d')}"
