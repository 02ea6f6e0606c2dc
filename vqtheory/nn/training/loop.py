"""Training a VQ-VAE, from start to end in one file.

An update is a pure function of the model, its optimizers and the number of updates done: the batch is drawn by
(seed, epoch), the rate is set by the epoch, and nothing else is random. So a run that was killed goes on from its
checkpoint to the same bits, on the same number of threads: the order of sums depends on it. Started by
``torchrun --nproc-per-node 2 -m vqtheory train ...``, on one host or on several, every process takes its share of each
batch: together they do what one would do with the whole."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from tqdm import tqdm

from vqtheory._base import check
from vqtheory._base.folder import MANIFEST
from vqtheory._base.randomness import Purpose, generator
from vqtheory.nn.models import Output
from vqtheory.nn.ops import processes
from vqtheory.nn.ops.processes import device
from vqtheory.nn.training.config import TrainingConfig
from vqtheory.nn.training.data import IN_MEMORY
from vqtheory.nn.training.hosts import as_before, check_alike, joined, owned, place
from vqtheory.nn.training.provenance import read_images
from vqtheory.nn.training.recorder import Recorder, refuse_foreign
from vqtheory.nn.training.run import TrainingRun, parameters, refuse_arrays
from vqtheory.nn.training.stages import founded
from vqtheory.nn.training.streamed import Pictures, batches

_SECONDS_BETWEEN_CHECKPOINTS = 5.0
_CALIBRATION = 512  # images that a model may look at before a training
_LATENTS_PER_CODE = 4  # at a matched start, of which a code takes one
_MEANS = ("loss", "reconstruction", "quantization", "distortion")


class Diverged(ValueError):
    """A training whose loss is not finite any more."""


def train(
    config: TrainingConfig | None = None,
    *,
    save: str | Path | None = None,
    on_record: Callable[[int, dict[str, Any]], None] | None = None,
    progress: bool = True,
    in_memory: int = IN_MEMORY,
    **hyperparameters: Any,
) -> TrainingRun:
    """Train a VQ-VAE with the hyperparameters of `TrainingConfig`, given as such or by name.

    Parameters
    ----------
    config : TrainingConfig, optional
        What `hyperparameters` do not name is taken from it.
    save : path, optional
        A folder in which to keep the run, up to date while it goes on, for `resume`.
    on_record : callable, optional
        Called as on_record(step, row) with each row of the history, in the first process.
    progress : bool, default True
        Show a bar with usage and loss.
    in_memory : int, default 2**31
        The most bytes of decoded images that are held in memory, in each process. Where there are more, images are decoded
        as they are needed, by up to eight processes that read ahead; the bits are the same, see
        `vqtheory.nn.training.data.load`.

    Raises
    ------
    ValueError
        For parameters out of range, a folder that holds a run or is in use by another process, files in it that a window
        of `latents` would write over, a rule with arrays that is to be saved, a damaged image, a training that diverges,
        processes that do not have the same images or configuration.
    LostProcess
        A `ConnectionError`, in the processes that are left where one of several has ended.

    Examples
    --------
    >>> run = train(rule="ema", codes=16, dim=4, size=16, steps=3, records=1, progress=False)
    >>> run.step, run.model.quantizer.codebook.shape, run.history["used"].item() <= 16
    (3, torch.Size([16, 4]), True)
    """
    config = TrainingConfig(**hyperparameters) if config is None else replace(config, **hyperparameters)
    if config.latents is not None and save is None:
        raise check.fail("train", "latents", "None where no folder is given to `save` them in", config.latents)
    if save is not None:
        refuse_arrays(config)
    run = founded(config)
    with joined() as (rank, _), owned(save, rank):
        if save is not None and rank == 0:
            _check_new(Path(save), config)
        return _play(run, save, on_record, progress, in_memory)


def _check_new(folder: Path, config: TrainingConfig) -> None:
    if (folder / MANIFEST).exists():
        raise check.fail("train", "save", "a folder that holds no run yet; resume continues one", str(folder))
    if config.latents is not None:
        refuse_foreign(folder)


def resume(
    folder: str | Path,
    steps: int | None = None,
    *,
    on_record: Callable[[int, dict[str, Any]], None] | None = None,
    progress: bool = True,
    in_memory: int = IN_MEMORY,
) -> TrainingRun:
    """Continue a saved run to its end, or to `steps` updates; on a CPU to the same bits as if it had not stopped.

    It goes on with the threads of torch that it had; a warning says where there are fewer cores, and then the last bits
    are others. So they are with another number of processes. `in_memory` as for `train`.

    Raises
    ------
    ValueError
        For a folder that holds no training, or is in use by another process; for files that are missing, damaged or
        altered; for other images, or other files of the rule, than before; for processes that do not have the same folder.
    FileNotFoundError
        For images that are not there.
    LostProcess
        As `train`.
    """
    if not (Path(folder) / MANIFEST).is_file():
        return TrainingRun.load(folder)  # which says so
    with joined() as (rank, _), owned(folder, rank):
        run = TrainingRun.load(folder)
        if steps is not None:
            run.config = replace(run.config, steps=check.integer("resume", "steps", steps, max(run.step, 1)))
        return _play(run, folder, on_record, progress, in_memory)


def _play(run: TrainingRun, folder: str | Path | None, on_record: Any, progress: bool, in_memory: int) -> TrainingRun:
    """All updates that are left, with records and checkpoints."""
    size, world = run.config.batch_size, processes.world_size()
    if size % world:
        raise check.fail("train", "batch_size", f"a multiple of {world}, the number of processes", size)
    with as_before(run):
        images = _images(run, progress and processes.rank() == 0, in_memory)
        return _continue(run, images, folder, on_record, progress)


def _continue(run: TrainingRun, images: Pictures, folder: str | Path | None, on_record: Any, progress: bool) -> TrainingRun:
    config, (rank, world) = run.config, place()
    processes.wait()
    check_alike(run)
    recorder = Recorder(None if folder is None else Path(folder), config.latents, rank, world)
    if run.step == 0:
        _start(run, images)
        _look(run, images, True)
        _keep(run, folder, rank, recorder)
    records, saved, tally = config.record_steps(), time.monotonic(), _Tally()
    bar = tqdm(total=config.steps, initial=run.step, unit=" updates", disable=not progress or rank > 0)
    with bar, closing(_batches(run, images, rank, world)) as shares:
        while run.step < config.steps:
            run.quantizer.train(run.step >= config.quantize_from and not run.model.holds_codes)
            if run.step == config.quantize_from > 0:  # the start at update 0 was on latents that have moved since
                _start(run, images)
                _forget(run)
                _look(run, images, True)
            tally.add(*_update(run, next(shares), recorder))
            run.step += 1
            _look(run, images, run.step in records)
            bar.update()
            if run.step not in records:
                continue
            run.rows.append(tally.row(run, world))
            tally = _Tally()
            bar.set_postfix(usage=f"{run.rows[-1]['usage']:.3f}", loss=f"{run.rows[-1]['loss']:.4g}")
            if on_record is not None and rank == 0:
                on_record(run.step, run.rows[-1])
            if run.step == config.steps or time.monotonic() - saved > _SECONDS_BETWEEN_CHECKPOINTS:
                _keep(run, folder, rank, recorder)
                saved = time.monotonic()
            processes.wait()
    run.hold_front(False)
    return run


def _update(run: TrainingRun, images: Tensor, recorder: Recorder) -> tuple[Tensor, Tensor, Output]:
    """One update of everything: gives the loss, its part of the reconstruction, and what the model returned."""
    config, quantizer = run.config, run.quantizer
    run.set_rates()
    if not run.trains_encoder:
        run.hold_front(True)
    codes = quantizer.codebook.clone() if recorder.covers(run.step) else None
    with torch.autocast(images.device.type, torch.bfloat16, enabled=config.amp):
        output = run.model(images, run.displacement(images)) if run.quantizes else run.model.bypass(images)
        reconstruction = mse_loss(output.images, images)
        loss = run.model.pixel_loss(output.images, images) + output.quantized.loss
        if run.judges is not None:
            loss = loss + run.judges.loss(images, output.images)
        if codes is not None:
            recorder(run.step, codes, quantizer.project(output.latents).to(codes.dtype))
    for optimizer in run.optimizers:
        optimizer.zero_grad()
    loss.backward()
    processes.average_gradients(run.model)
    if config.clip is not None:
        nn.utils.clip_grad_norm_(parameters(run.model)[0], config.clip)
    for optimizer in run.optimizers:
        optimizer.step()
    if run.judges is not None:
        run.judges.learn(images, output.images)
    if run.transport is not None and run.quantizes:
        run.transport.step()
    return loss, reconstruction, output


class _Tally:
    """What was counted and summed since the last record, in this process."""

    def __init__(self) -> None:
        self.updates, self.hits, self.sums = 0, torch.zeros(0), torch.zeros(0)

    def add(self, loss: Tensor, reconstruction: Tensor, output: Output) -> None:
        """Count an update, without waiting for a GPU."""
        info = output.quantized.info
        sums = torch.stack([loss, reconstruction, output.quantized.loss, info.distortion]).detach().double()
        self.hits, self.sums = (info.hits, sums) if self.updates == 0 else (self.hits + info.hits, self.sums + sums)
        self.updates += 1

    def row(self, run: TrainingRun, world: int) -> dict[str, Any]:
        """The row of the history, over all processes."""
        processes.add_up(self.hits, self.sums)
        means = dict(zip(_MEANS, (self.sums / (self.updates * world)).tolist(), strict=True))
        if not math.isfinite(means["loss"]):
            raise Diverged(
                f"The training diverged: its loss is {means['loss']} in the updates before {run.step:,}. "
                f"Make lr smaller than {run.config.lr:g}, or set clip."
            )
        share = self.hits.double() / self.hits.sum().clamp_min(1)
        counts = {"used": int((self.hits > 0).sum()), "usage": float((self.hits > 0).double().mean())}
        perplexity = float(torch.exp(-torch.special.xlogy(share, share).sum()))
        place = {"step": run.step, "epoch": run.epoch, "lr": run.optimizers[0].param_groups[0]["lr"]}
        replaced = {} if run.replacement is None else {"replaced": run.replacement.replaced}
        return place | means | counts | {"perplexity": perplexity} | replaced


def _images(run: TrainingRun, tell: bool, in_memory: int = IN_MEMORY) -> Pictures:
    """The images to train on: the same as before, where the run goes on."""
    config = run.config
    images, run.images = read_images(config.data, config.size, run.images, run.folder, tell, run.files, in_memory)
    kept = len(images.train) - config.validation
    if kept < 1:
        raise check.fail("train", "validation", f"below {len(images.train)}, the images to train on", config.validation)
    if config.batch_size > kept:
        raise check.fail("train", "batch_size", f"at most {kept}, the images to train on", config.batch_size)
    if tell:
        tqdm.write(f"{images}.", file=sys.stderr)
    return images.train[:kept]


@lru_cache(maxsize=1)
def _order(seed: int, epoch: int, num_images: int) -> np.ndarray:
    return generator(seed, Purpose.SOURCE, epoch).permutation(num_images)


def _rows(run: TrainingRun, num_images: int, rank: int, world: int) -> Iterator[np.ndarray]:
    """Of each update that is left, the images in the process's share of its batch."""
    size = run.config.batch_size
    for step in range(run.step, run.config.steps):
        epoch, place = divmod(step, num_images // size)
        batch = _order(run.config.seed, epoch, num_images)[place * size : (place + 1) * size]
        yield batch[rank * size // world : (rank + 1) * size // world]


def _batches(run: TrainingRun, images: Pictures, rank: int = 0, world: int = 1) -> Generator[Tensor, None, None]:
    """The process's share of the batch of each update that is left, [b, 3, H, W] in [-1, 1]."""
    return (pixels(batch) for batch in batches(images, _rows(run, len(images), rank, world)))


def pixels(images: Pictures) -> Tensor:
    """Images [b, H, W, 3] as [b, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.array(images)).to(device()).permute(0, 3, 1, 2).to(torch.get_default_dtype()) / 127.5 - 1


def _look(run: TrainingRun, images: Pictures, due: bool) -> None:
    """Every so many updates, and when it is due, the monitor sees the same images again, and the hits of all processes.

    It is due at records, where checkpoints are: what one process has counted since a probe is in none of them.
    """
    if due or run.step % run.monitor.every == 0:
        processes.add_up(run.monitor.pending)
        probe = np.linspace(0, len(images) - 1, run.config.batch_size).astype(int)  # those next to each other may be alike
        run.monitor.look(run.step, run.model, pixels(images[probe]))


@torch.no_grad()
def _start(run: TrainingRun, images: Pictures) -> None:
    """A matched start takes its codes, and transport its probe, from the first images, in whichever process."""
    if run.step == 0 and run.model.calibrates:
        run.model.calibrate(pixels(images[_first(run, len(images), _CALIBRATION)]))
    matched = run.config.rule.start == "matched"  # type: ignore[union-attr]  # a text is read when it is given
    if not run.quantizer.started or (run.step > 0 and matched):
        run.quantizer.initialize(_first_latents(run, images))
    if run.config.transport is not None:
        count = run.config.transport_images or run.config.batch_size
        if count > len(images):
            raise check.fail("train", "transport_images", f"at most {len(images)}, the images to train on", count)
        run.carry(pixels(images[_first(run, len(images), count)]))
    processes.share_model(run.model)
    if run.transport is not None:
        run.transport.step()


def _forget(run: TrainingRun) -> None:
    """What a codebook that starts late knows of the updates before: nothing that its drift and its rule should meet."""
    run.monitor.forget()
    if run.before is not None:
        run.before.load_state_dict(run.model.encoder.state_dict())


def _first(run: TrainingRun, num_images: int, count: int) -> np.ndarray:
    """The places of the images that come first."""
    return _order(run.config.seed, 0, num_images)[:count]


def _first_latents(run: TrainingRun, images: Pictures) -> Tensor:
    """Latents [n, D] of the first batches, as many batches as give four latents to a code; of all where there are fewer."""
    size, parts = run.config.batch_size, []
    order = _first(run, len(images), len(images))
    for start in range(0, len(order), size):
        latents = run.model.encode(pixels(images[order[start : start + size]]))
        parts.append(run.quantizer.project(latents))
        if sum(map(len, parts)) >= _LATENTS_PER_CODE * run.config.codes:
            break
    return torch.cat(parts)


def _keep(run: TrainingRun, folder: str | Path | None, rank: int, recorder: Recorder) -> None:
    recorder.flush()
    if folder is not None and rank == 0:
        run.save(folder)
