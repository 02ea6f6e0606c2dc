"""A VQ-VAE in training: model, optimizers, how far it has come, and the folder that keeps all this."""

from __future__ import annotations

import copy
import io
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import polars as pl
import tomli_w
import torch
from torch import Tensor, nn

from vqtheory._base import check
from vqtheory._base.config import arrays_of, text
from vqtheory._base.folder import CHECKPOINT as SIMULATED
from vqtheory._base.folder import CONFIG, HISTORY, listed, replace_together, verified
from vqtheory.diagnosis.recording import Recording
from vqtheory.nn.models import MODELS, Autoencoder
from vqtheory.nn.monitor import Monitor
from vqtheory.nn.ops.processes import device
from vqtheory.nn.quantize import VectorQuantize
from vqtheory.nn.references import Reference, ReferenceQuantize
from vqtheory.nn.replacement import Replacement
from vqtheory.nn.training import reading
from vqtheory.nn.training.config import TrainingConfig
from vqtheory.nn.training.judges import Judges
from vqtheory.nn.training.provenance import Provenance
from vqtheory.nn.transport import Transport
from vqtheory.protocols import Reads

CHECKPOINT, MONITOR = "checkpoint.pt", "monitor.npz"


@dataclass
class TrainingRun:
    """A VQ-VAE in training, or trained.

    Attributes
    ----------
    config : TrainingConfig
    model : Autoencoder
    step : int
        Updates done.
    rows : list of dict
        What `history` shows.
    images : Provenance, optional
        What is known of the images that it was on so far.
    threads, processes : int, optional
        Of torch, and of torchrun, so far: the last bits of sums depend on them.
    folder : Path, optional
        Where it was read from.
    """

    config: TrainingConfig
    model: Autoencoder
    optimizers: list[torch.optim.Optimizer]
    monitor: Monitor
    before: nn.Module | None = None  # the encoder of the update before, for rules that ask how far latents have moved
    replacement: Replacement | None = None
    transport: Transport | None = None  # once there are images for its probe
    judges: Judges | None = None
    step: int = 0
    images: Provenance | None = None
    threads: int | None = None
    processes: int | None = None
    folder: Path | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def new(cls, config: TrainingConfig) -> TrainingRun:
        """A model with the weights of the seed, on the GPU if there is one."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            quantizer = _quantizer(config)
            model = MODELS[config.model].build(quantizer, **config.model_options).to(device())
        moves = config.rule.needs_displacement and not model.holds_codes  # type: ignore[union-attr]
        before = copy.deepcopy(model.encoder) if moves else None
        optimizers = _optimizers(config, model)
        monitor = Monitor(quantizer, config.probe_every, optimizer=None if model.holds_codes else optimizers[-1])
        monitor.held = model.holds_codes
        if config.alternate:
            model.quantizer.step_inside(optimizers[-1])  # type: ignore[operator]
        run, every = cls(config, model, optimizers, monitor, before, judges=Judges.of(config)), config.replace_every
        if every is not None:
            run.replacement = Replacement(
                quantizer, run.optimizers[-1], every, seed=config.seed, policy=config.replace_policy
            )
        return run

    @property
    def quantizer(self) -> VectorQuantize:
        """The layer in the middle of the model; or a `ReferenceQuantize`, which has its face."""
        return self.model.quantizer  # type: ignore[return-value]

    @property
    def num_images(self) -> int | None:
        """How many images it is trained on, where that is known yet."""
        return None if self.images is None else self.images.train_images - self.config.validation

    @property
    def files(self) -> tuple[str, ...]:
        """The paths of the files that its rule reads, and of the networks in its loss."""
        networks = [path for path in (self.config.perceptual, self.config.adversarial) if path is not None]
        return (*(self.config.rule.files if isinstance(self.config.rule, Reads) else ()), *networks)

    @property
    def epoch(self) -> int:
        """Passes over the images that are done; what does not fill a batch is left out of a pass."""
        return self.step // ((self.num_images or self.config.batch_size) // self.config.batch_size)

    @property
    def quantizes(self) -> bool:
        """Whether the next update quantizes, or the decoder is given the latents as they are."""
        return self.step >= self.config.quantize_from

    def hold_front(self, held: bool) -> None:
        """Hold what makes an image to latents, or let it move."""
        for parameter in self.model.front():
            parameter.requires_grad_(not held)

    @property
    def trains_encoder(self) -> bool:
        """Whether the next update moves the encoder."""
        at = self.config.freeze_encoder_at
        return at is None or self.step < at

    @property
    def history(self) -> pl.DataFrame:
        """One row per record, of the updates since the row before.

        `loss` and its parts `reconstruction` (mean squared error of images in [-1, 1]) and `quantization`; `distortion`,
        E |z - c|^2; `used` codes, as a share `usage`; `perplexity`; `epoch` and `lr` of the last of these updates;
        `replaced` codes since the start, if they are. Before `quantize_from` no code is used, and the perplexity is 1.
        """
        return pl.DataFrame(self.rows)

    def carry(self, probe: Tensor) -> None:
        """Have the codes carried along with the latents of these images, if the configuration says so."""
        every, neighbours = self.config.transport, self.config.transport_neighbours
        if every is not None:
            self.transport = Transport(self.quantizer, self.model.encode, probe, every, neighbours)

    def set_rates(self) -> None:
        """The learning rates of the update."""
        rates = self.config.lr, self.config.codebook_schedule(self.step)
        for optimizer, rate in zip(self.optimizers, rates, strict=False):  # no second one where no code has a gradient
            optimizer.param_groups[0]["lr"] = rate * self.config.lr_decay**self.epoch

    @torch.no_grad()
    def displacement(self, images: Tensor) -> Tensor | None:
        """How far the update before has moved the latents of these images, if the rule asks for it."""
        if self.before is None:
            return None
        moved = self.model.encode(images) - self.before(images)
        self.before.load_state_dict(self.model.encoder.state_dict())
        return moved

    def save(self, folder: str | Path) -> None:
        """Write config.toml, history.parquet, monitor.npz and checkpoint.pt; a kill leaves all as before or all as after."""
        refuse_arrays(self.config)
        table, state = io.BytesIO(), io.BytesIO()
        self.history.write_parquet(table)
        stored = {name: part.state_dict() for name, part in self._parts.items()}
        images = None if self.images is None else self.images.as_dict()
        counts = {"step": self.step, "threads": self.threads, "processes": self.processes}
        torch.save(stored | counts | {"images": images}, state)
        values = {item.name: getattr(self.config, item.name) for item in fields(TrainingConfig)}
        config = {name: text(value) if callable(value) else value for name, value in values.items() if value is not None}
        config["rule"] = text(self.config.rule)
        contents = {CONFIG: tomli_w.dumps(config).encode(), HISTORY: table.getvalue()}
        contents |= {MONITOR: self.monitor.recording.contents(), CHECKPOINT: state.getvalue()}
        replace_together(Path(folder), contents)

    @classmethod
    def load(cls, folder: str | Path) -> TrainingRun:
        """Read a saved run; raises `ValueError` naming the file that is missing, damaged, altered or of something else."""
        folder = Path(folder)
        if (folder / SIMULATED).exists() or SIMULATED in listed(folder):
            raise ValueError(f"{folder} is a simulation, not a training: vqtheory show and vqtheory resume read it.")
        contents = verified(folder, (CONFIG, HISTORY, CHECKPOINT, MONITOR))
        with reading.of(folder / CONFIG):
            config = TrainingConfig(**tomllib.loads(contents[CONFIG].decode()))
        run = replace(cls.new(config), folder=folder)
        with reading.of(folder / CHECKPOINT):
            run._restore(torch.load(io.BytesIO(contents[CHECKPOINT]), map_location=device(), weights_only=True))
        if run.images is not None:
            run.images.check_files(run.files)
        with reading.of(folder / HISTORY):
            run.rows = reading.rows(contents[HISTORY], run.step)
        with reading.of(folder / MONITOR):
            run.monitor.restore(Recording.read(contents[MONITOR], MONITOR))
        return run

    def _restore(self, stored: dict[str, Any]) -> None:
        """Go on from what a checkpoint has."""
        self.step = reading.count(stored, "step", 0, self.config.steps)
        for name in ("threads", "processes"):
            setattr(self, name, None if stored[name] is None else reading.count(stored, name, 1))
        self.images = None if stored["images"] is None else Provenance.read(stored["images"])
        if self.config.transport is not None:
            self.carry(*stored["transport"]["probe"])
        groups = [copy.deepcopy(optimizer.param_groups) for optimizer in self.optimizers]
        for name, part in self._parts.items():
            part.load_state_dict(stored[name])
        reading.check_numbers(self.model, "the model")
        for optimizer, known in zip(self.optimizers, groups, strict=True):
            reading.check_optimizer(optimizer, known)

    @property
    def _parts(self) -> dict[str, Any]:
        """All that changes in an update."""
        optimizers = {f"optimizer {i}": optimizer for i, optimizer in enumerate(self.optimizers)}
        parts: dict[str, Any] = {"model": self.model, **optimizers, "before": self.before}
        parts |= {"replacement": self.replacement, "transport": self.transport, "judges": self.judges}
        return {name: part for name, part in parts.items() if part is not None}


def refuse_arrays(config: TrainingConfig) -> None:
    """Of a training that is to be saved: its folder has none."""
    if arrays_of(config.rule):
        wanted = "without arrays where it is saved: put them into a .npz file and give its path"
        raise check.fail("train", "rule", wanted, config.rule)


def parameters(model: Autoencoder) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters of encoder and decoder, and the ones that move codes."""
    quantizer: Any = model.quantizer
    codebook = quantizer.codebook_parameters()
    own = {id(parameter) for parameter in codebook}
    return [weight for weight in model.parameters() if weight.requires_grad and id(weight) not in own], codebook


def _quantizer(config: TrainingConfig) -> VectorQuantize | ReferenceQuantize:
    if isinstance(config.rule, Reference):
        return ReferenceQuantize(config.rule, config.dim, config.codes, config.beta, config.seed)
    layer = MODELS[config.model].kind.layer
    options: dict[str, Any] = {"commitment_weight": config.beta, "codebook_weight": config.codebook_weight}
    if layer is VectorQuantize:
        options |= {"estimator": config.estimator, "codebook_dim": config.codebook_dim}
    return layer(config.dim, config.codes, config.rule, seed=config.seed, **options)


def _optimizers(config: TrainingConfig, model: Autoencoder) -> list[torch.optim.Optimizer]:
    rest, codebook = parameters(model)
    kind = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[config.codebook_optimizer]
    return [torch.optim.Adam(rest, config.lr), *([kind(codebook, lr=config.lr)] if codebook else [])]
