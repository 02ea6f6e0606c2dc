"""How good a trained VQ-VAE is on images that it has not seen, and which of several is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from vqtheory._base import check
from vqtheory.nn.evaluation import report
from vqtheory.nn.evaluation.metrics import Networks, of_images, reconstructions, similarities, summary
from vqtheory.nn.networks import Network
from vqtheory.nn.training.config import TrainingConfig
from vqtheory.nn.training.data import Images, load
from vqtheory.nn.training.provenance import read_images
from vqtheory.nn.training.run import TrainingRun
from vqtheory.nn.training.streamed import Pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 8  # images
_SCHEMA = {"metric": pl.String, "value": pl.Float64, "note": pl.String}
_NOT_COMPARED = ("rule", "steps", "records", "probe_every", "latents")  # rule and updates have columns of their own


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found. `str` gives it as Markdown.

    Attributes
    ----------
    about : str
        The rule, how many codes, and after how many updates.
    table : polars.DataFrame
        metric, value (None where it is not known), note.
    originals : array, uint8 [n, size, size, 3]
        Some of the images, equally far apart in the test set.
    shown : dict of arrays
        What the model makes of them, by name: "reconstruction", and with VQFR "degraded" and "texture" before it.
    """

    about: str
    table: pl.DataFrame
    originals: np.ndarray
    shown: dict[str, np.ndarray]

    @property
    def reconstructions(self) -> np.ndarray:
        """What comes back of `originals`."""
        return self.shown["reconstruction"]

    def __getitem__(self, metric: str) -> float | None:
        """The value of a metric."""
        return dict(self.table.select("metric", "value").iter_rows())[metric]

    def __str__(self) -> str:
        return report.page_of_one(self.about, self.table)

    def plot(self) -> Figure:
        """Images and what comes back of them."""
        title = f"{self.about}: test images come back at {self['psnr']:.1f} dB, with a usage of {self['usage']:.0%}"
        beside = [f"{name} {self[f'psnr_{name}']:.1f} dB" for name in self.shown if name != "reconstruction"]
        return report.grid([("original", self.originals), *self.shown.items()], "; ".join([title, *beside]))


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found. `str` gives it as Markdown, with the best of each column in bold.

    Attributes
    ----------
    table : polars.DataFrame
        A row per run: run, rule, what else differs between their configurations, and the metrics.
    evaluations : list of Evaluation
    """

    table: pl.DataFrame
    evaluations: list[Evaluation]

    def __str__(self) -> str:
        return report.page_of_many(self.table, pl.concat(found.table for found in self.evaluations))

    def plot(self) -> Figure:
        """The same images as each run brings them back."""
        labels = [report.label(row, self.table.columns) for row in self.table.iter_rows(named=True)]
        rows = [(text, found.reconstructions) for text, found in zip(labels, self.evaluations, strict=True)]
        best, psnr = max(zip(labels, self.table["psnr"], strict=True), key=lambda pair: pair[1])
        name = ", ".join(best.splitlines()[:-1])
        title = f"The same test images from {len(rows)} trainings: {name} has the highest PSNR, {psnr:.1f} dB"
        return report.grid([("original", self.evaluations[0].originals), *rows], title)


def evaluate(
    run: TrainingRun | str | Path,
    *,
    data: str | Path | None = None,
    images: int | None = None,
    part: str = "test",
    features: str | Path | None = None,
    lpips: str | Path | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> Evaluation:
    """Measure codebook and reconstructions of a trained VQ-VAE on its test images, on the GPU if there is one.

    The codebook: how many codes are used, their perplexity, the distortion, and that over the latents' variance. The
    images: PSNR, SSIM and MS-SSIM, and with networks rFID and LPIPS. The note of a metric defines it, or says what it needs.

    Parameters
    ----------
    run : TrainingRun or path
        A training, or the folder that keeps it.
    data : path, optional
        The images, as `vqtheory.nn.training.data.load` takes them; by default those of the training. The part for the
        test is used.
    images : int, optional
        How many of these images, equally far apart; by default all.
    part : {"test", "validation"}, default "test"
        The images to measure on: those for the test, or those that `validation` left out of the training. Choose settings
        on the second, and look at the first once.
    features : path, optional
        A TorchScript network from uint8 images [n, 3, H, W] to features [n, d], for the Fréchet distance. With
        inception-2015-12-05.pt, the Inception of the FID literature, it is the rFID; it is called with
        return_features=True where it has that argument. Loading TorchScript runs its code.
    lpips : path, optional
        A TorchScript network from images and reconstructions, float [n, 3, H, W] in [-1, 1], to distances [n], or
        [n, 1, 1, 1] as the lpips package has them.
    batch_size : int, default 64
        Images at once.
    progress : bool, default True

    Raises
    ------
    ValueError
        For a folder that holds no training or other images than before, and for a network that cannot be read or
        does not give what it has to.
    FileNotFoundError
        For a file that is not there.

    Examples
    --------
    >>> from vqtheory.nn.training import train
    >>> run = train(rule="ema", codes=16, dim=4, size=16, steps=3, records=1, progress=False)
    >>> found = evaluate(run, images=20, progress=False)
    >>> found["images"], found["used"] <= 16, found["psnr"] > 0, found["rfid"]
    (20.0, True, True, None)
    """
    return _evaluate("evaluate", [run], data, (images, part), features, lpips, batch_size, progress)[1][0]


def compare(
    runs: Sequence[TrainingRun | str | Path],
    *,
    data: str | Path | None = None,
    images: int | None = None,
    part: str = "test",
    features: str | Path | None = None,
    lpips: str | Path | None = None,
    batch_size: int = 64,
    progress: bool = True,
) -> Comparison:
    """Evaluate several trainings on the same test images. Parameters are those of `evaluate`.

    Raises
    ------
    ValueError
        As `evaluate`, and for runs on images of different sizes, or from different places where `data` names none for all.

    Examples
    --------
    >>> from vqtheory.nn.training import train
    >>> small = {"codes": 16, "dim": 4, "size": 16, "steps": 3, "records": 1, "progress": False}
    >>> found = compare([train(rule=rule, **small) for rule in ("vq", "ema")], images=20, progress=False)
    >>> found.table["rule"].to_list()
    ['VQ()', 'EMA()']
    """
    runs = [runs] if isinstance(runs, (str, Path, TrainingRun)) else list(runs)
    if len(runs) < 2:
        raise check.fail("compare", "runs", "two trainings or more", [str(run) for run in runs])
    trained, found = _evaluate("compare", runs, data, (images, part), features, lpips, batch_size, progress)
    differing = _differing([run.config for run in trained])
    if len({run.step for run in trained}) > 1:
        differing["updates"] = [run.step for run in trained]
    names = [str(place if isinstance(run, TrainingRun) else run) for place, run in enumerate(runs, 1)]
    columns = {"run": names, "rule": [repr(run.config.rule) for run in trained], **differing}
    known = [dict(evaluation.table.select("metric", "value").iter_rows()) for evaluation in found]
    metrics = {
        name: [values.get(name) for values in known] for name in dict.fromkeys(name for values in known for name in values)
    }
    return Comparison(pl.DataFrame(columns | metrics, strict=False), found)


def _evaluate(
    owner: str,
    runs: Sequence[Any],
    data: Any,
    limit: tuple[Any, str],
    features: Any,
    lpips: Any,
    batch_size: Any,
    progress: bool,
) -> tuple[list[TrainingRun], list[Evaluation]]:
    size = check.integer(owner, "batch_size", batch_size)
    similarities()  # which are not there in every installation
    networks = Networks(*(None if path is None else Network(path) for path in (features, lpips)))
    trained = [run if isinstance(run, TrainingRun) else TrainingRun.load(run) for run in runs]
    images, source = _test_images(owner, trained, data, limit, progress)
    return trained, [_evaluation(run, images, source, networks, size, progress) for run in trained]


def _evaluation(
    run: TrainingRun, images: Pictures, source: str, networks: Networks, size: int, progress: bool
) -> Evaluation:
    rows = summary(run, of_images(run, images, networks, size, progress), source, networks)
    shown = np.asarray(images[_apart(len(images), min(_SHOWN, len(images)))])
    table = pl.DataFrame(rows, schema=_SCHEMA, orient="row", strict=False)
    about = f"{run.config.rule!r} with {run.config.codes:,} codes, after {run.step:,} updates"
    return Evaluation(about, table, shown, reconstructions(run, shown))


def _test_images(
    owner: str, runs: list[TrainingRun], data: Any, limit: tuple[Any, str], progress: bool
) -> tuple[Pictures, str]:
    """The images that all runs are evaluated on, and where they are from."""
    count, part = limit[0], check.choice(owner, "part", limit[1], ("test", "validation"))
    _refuse_different(runs, data)
    held_out = min(run.config.validation for run in runs)
    if part == "validation" and (held_out == 0 or data is not None):
        raise check.fail(owner, "part", "'test' where a training has no validation images, or data names others", part)
    images = _images(runs, data, progress)
    chosen = images.test if part == "test" else images.train[-held_out:]
    source = f"the {len(chosen):,} of {images.source}" + ("" if part == "test" else ", left out of the training")
    if count is None:
        return chosen, source
    return chosen[_apart(len(chosen), check.integer(owner, "images", count, 1, len(chosen)))], source


def _images(runs: list[TrainingRun], data: Any, progress: bool) -> Images:
    """Split as `train` splits them; the trainings' own, where `data` names no others."""
    config = runs[0].config
    if data is not None:
        return load(data, config.size, progress=progress)
    images, current = read_images(config.data, config.size, runs[0].images, runs[0].folder, progress)
    for run in runs[1:]:
        current.check(images, run.images)
    return images


def _apart(total: int, count: int) -> np.ndarray:
    """`count` of `total` places, equally far apart."""
    return np.linspace(0, total - 1, count).round().astype(int)


def _refuse_different(runs: list[TrainingRun], data: Any) -> None:
    """Figures of images of different sizes or places cannot be compared."""
    sizes = {run.config.size for run in runs}
    places = {run.config.data if run.images is None else run.images.path for run in runs}
    if len(sizes) > 1:
        raise ValueError(f"The runs to compare must be on images of one size. Got {sorted(sizes)} pixels a side.")
    if len(places) > 1 and data is None:
        named = ", ".join(sorted(repr(place) for place in places))
        raise ValueError(f"The runs to compare must be on the same images, or data must name some for all. Got {named}.")


def _differing(configs: list[TrainingConfig]) -> dict[str, list[Any]]:
    """The fields of the configurations that are not the same in all."""
    values = {
        item.name: [getattr(config, item.name) for config in configs]
        for item in fields(TrainingConfig)
        if item.name not in _NOT_COMPARED
    }
    return {name: column for name, column in values.items() if any(value != column[0] for value in column)}
