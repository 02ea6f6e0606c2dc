"""Probes, now and then, of a codebook in training and of the latents that it has to follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from vqtheory._base import check
from vqtheory.diagnosis.recording import Recording, counted, joined, seen
from vqtheory.nn import integrations
from vqtheory.nn.batches import copied, tensors
from vqtheory.nn.foreign import check_heads, compared, finder, indices_in, package_of, quantizers_in, rule_of, width_of
from vqtheory.nn.ops import processes
from vqtheory.nn.ops.hooks import Hook
from vqtheory.nn.ops.mode import repeated, undisturbed
from vqtheory.nn.optimized import Optimized, weight_of
from vqtheory.nn.wrappers import model_of, optimizer_of, quantizer_of
from vqtheory.protocols import Rule

if TYPE_CHECKING:
    import polars as pl

    from vqtheory.nn.transport import Transport

_RECORDS = 64  # of more than twice as many every other one is dropped
_SAMPLES = 1024  # of the probe's latents


class Monitor(Optimized):
    """Watches a quantizer in anyone's training loop: drift, spread, usage and hit shares, for `vqtheory.diagnose`.

    ::

        monitor = Monitor(model.quantize, every=50, optimizer=optimizer)   # before the loop
        monitor.step(model, images)                                        # in the loop, after the optimizer's step

    The first images that `step` is given are the probe: every so many updates the model sees them again, in evaluation
    mode and without gradient, so that what has moved their latents is the encoder alone. Nothing else of the training
    is touched. In between the hits of all passes in training are counted. The quantizer is any module that takes latents
    [b, n, d], [b, d, n] or [b, d, h, w], has a codebook, and returns integer indices somewhere in its answer:
    `VectorQuantize`, `TamingQuantizer`, or one of vector-quantize-pytorch, diffusers and taming-transformers. Where it
    returns none the nearest codes after the pass are counted. Of several processes it watches its own.

    Of a model, or any module with quantizers in it, all are watched, by one pass of the probe: a `ModelMonitor`, whose
    table has a column `layer`.

    Parameters
    ----------
    quantizer : Module
        A part of the model that is passed to `step`, or the model itself.
    every : int, default 50
        Updates from one probe to the next; twice as many each time that 128 have been taken, and every other one of
        them is dropped, so that a recording is never longer.
    optimizer : Optimizer, optional
        What trains the codebook: the laws need its kind and its learning rate.
    rule : rule, optional
        How the codebook moves, where that cannot be seen of a quantizer other than ours, e.g. ``rules.EMA(decay=0.8)``.
    codebook : callable, optional
        Gives the codes, Tensor [K, D]; by default the quantizer's `codebook`, `embedding.weight` or `embed.weight`.
    codebook_weight : float, optional
        Of E|sg(x) - c|^2 / D in the loss, for the step size of SGD; by default the quantizer's own, or 1.
    transport : Transport, optional
        Of the same quantizer. Its probe then is the monitor's, and its pass of an update is not made twice:
        ``monitor.step()`` stands after ``transport.step()``, and needs no images.
    log : object, optional
        Is given the row of `table` at each probe, under names such as "model.quantize/used": a run with
        ``log(dict, step=)``, as of trackio or wandb, or TensorBoard's SummaryWriter. Between probes it costs nothing.

    Raises
    ------
    ValueError
        Where the quantizer has no codebook that can be found or several heads, for an optimizer that has not its codes, and
        from `step` where no pass was counted since the probe before.

    Examples
    --------
    >>> from vqtheory.nn import VectorQuantize
    >>> layer = VectorQuantize(dim=2, codebook_size=4)
    >>> encoder = nn.Linear(3, 2)
    >>> model, optimizer = nn.Sequential(encoder, layer), torch.optim.SGD(layer.parameters(), lr=0.1)
    >>> monitor = Monitor(layer, every=1, optimizer=optimizer)
    >>> for _ in range(3):
    ...     batch = torch.rand(2, 5, 3)
    ...     _ = model(batch)
    ...     with torch.no_grad():
    ...         _ = encoder.bias.add_(torch.tensor([0.0, 0.5]))
    ...     monitor.step(model, batch)
    >>> monitor.table["speed"].round(6).to_list()
    [None, 0.5, 0.5]
    """

    def __new__(cls, quantizer: nn.Module | None = None, *arguments: Any, **options: Any) -> Any:
        """A `ModelMonitor` where the module is no quantizer and has quantizers in it."""
        several = {} if "codebook" in options else quantizers_in(quantizer_of(quantizer))
        if "" in several or not several:
            return super().__new__(cls)
        return ModelMonitor(several, *arguments, **options)

    def __init__(
        self,
        quantizer: nn.Module,
        every: int = 50,
        *,
        optimizer: torch.optim.Optimizer | None = None,
        rule: Rule | None = None,
        codebook: Callable[[], Tensor] | None = None,
        codebook_weight: float | None = None,
        transport: Transport | None = None,
        log: Any = None,
    ) -> None:
        self.quantizer, self._given = quantizer_of(quantizer), quantizer
        if transport is not None and transport.quantizer is not self.quantizer:
            raise check.fail("Monitor", "transport", "the one of the same quantizer", type(transport.quantizer).__name__)
        self.transport = transport
        self._log = None if log is None else integrations.scalar_log("Monitor", log)
        self.every = check.integer("Monitor", "every", every)
        self.optimizer = optimizer_of(optimizer)
        self.codebook_weight = weight_of(self.quantizer) if codebook_weight is None else codebook_weight
        self.updates, self.batch_size = 0, 0
        self.held = False  # whether nothing moves the codes, of which no law has anything to say
        check_heads("Monitor", self.quantizer)
        self._codebook = codebook or finder("Monitor", self.quantizer, "; or give its codes as `codebook`")
        codes = self._codes()
        self.rule = rule_of(self.quantizer, codes) if rule is None else rule
        self.pending = torch.zeros(len(codes), dtype=torch.int64, device=codes.device)
        if optimizer is not None and not self._group() and self._is_trained:
            raise check.fail("Monitor", "optimizer", "the one that has the quantizer's codes", type(optimizer).__name__)
        self._records: list[dict[str, Any]] = []
        self._first_codes = self._last_codes = np.zeros((0, 0))
        self._place: str | None = None  # in the model
        self._warned = False
        self._probe: tuple[tuple, dict] | None = None
        self._caught: Tensor | None = None
        self._looking, self._counted = False, False
        self._hook = self.quantizer.register_forward_hook(Hook(self._passed), with_kwargs=True)

    def forget(self) -> None:
        """Begin anew: with no probe, and no hit counted."""
        self._records, self.pending, self._counted = [], torch.zeros_like(self.pending), False

    def close(self) -> None:
        """Take the hook off the quantizer."""
        self._hook.remove()

    def step(self, model: nn.Module | None = None, *inputs: Any, **options: Any) -> None:
        """Count an update, and probe when it is time, by ``model(*inputs, **options)`` with the inputs of the first call.

        With a `transport` nothing needs to be given.
        """
        if self._probe is None:
            self._probe = copied((inputs, options))
        self.updates += 1
        if (self.updates - 1) % self.every == 0:
            self.look(self.updates, model, *self._probe[0], **self._probe[1])
            if not self._records:  # the probe is of no use: it is not finite
                self._probe = None
            self._warn()

    @torch.no_grad()
    def look(self, step: int, model: nn.Module | None = None, *inputs: Any, **options: Any) -> None:
        """Record the state after `step` updates, of the latents that the model has for these inputs.

        A step that is not above the one before is left out, and so is a probe with values that are not finite.
        """
        if self._check_counted(step):
            self._record(step, self._seen_by(model, inputs, options))

    def _check_counted(self, step: int) -> bool:
        """Whether there is something to record after `step` updates."""
        if self._records and self._records[-1]["steps"] >= step:
            return False
        if self._records and self.quantizer.training and not self._counted:
            raise ValueError(
                "No pass of the quantizer in training was counted since the probe before. Make the Monitor before "
                "torch.compile, and call its step after each update."
            )
        return True

    def _record(self, step: int, latents: Tensor) -> None:
        """Keep what the probe's latents [n, D] and the codes are after `step` updates."""
        codes = self._codes().float().cpu().numpy().copy()
        rows = latents[:: -(-len(latents) // _SAMPLES)].float().cpu().numpy().copy()
        if not (np.isfinite(rows).all() and np.isfinite(codes).all()):
            return
        record = seen(rows, codes)
        if self.quantizer.training or self._counted:  # of one that is frozen and not seen in training the probe's hits stay
            record |= counted(self.pending.cpu().numpy())
        self._last_codes = record.pop("codes")
        self._first_codes = self._first_codes if self._records else self._last_codes
        self._records.append(record | {"steps": step, "rates": self._rate(codes.shape[1])})
        self.pending, self._counted = torch.zeros_like(self.pending), False
        if self._log is not None:
            self._log(self._scalars(), step)
        if len(self._records) > 2 * _RECORDS:
            self._thin()

    def _seen_by(self, model: Any, inputs: tuple, options: dict) -> Tensor:
        """Latents of the probe, [n, D]; no random number of the training is drawn."""
        if self.transport is not None:
            return self.transport.latents()
        return _probed([self], model, inputs, options)[0]

    @property
    def recording(self) -> Recording:
        """All that was seen, for `vqtheory.diagnose`; its `save` keeps it as a file."""
        if not self._records:
            raise ValueError("The Monitor has seen nothing yet: call its step in the training loop.")
        steps = np.array([record["steps"] for record in self._records])
        known: dict[str, Any] = {"optimizer": self._kind(), "weight_decay": float(self._group().get("weight_decay", 0.0))}
        known |= {"codes": self._last_codes, "first_codes": self._first_codes, "batch_size": self.batch_size or None}
        width = width_of(self.quantizer, self._codes())
        known |= {"package": package_of(self._given), "place": self._place, "width": width}
        known |= {"pending": self.pending.cpu().numpy(), "every": self.every, "updates": self.updates}
        return joined(self._records, steps, None if self.held else self.rule, **known)

    @property
    def table(self) -> pl.DataFrame:
        """One row per probe: step, used, usage, perplexity, speed, moved, spread, dimension, distortion."""
        return self.recording.table

    @property
    def recorded(self) -> int:
        """How many probes there are in the recording."""
        return len(self._records)

    @property
    def has_probe(self) -> bool:
        """Whether there is a batch that is encoded again: the first one that was of use."""
        return self._probe is not None

    def _scalars(self) -> dict[str, float]:
        """The last row of `table` by name; what is not known yet is left out."""
        last = self._records[-2:]  # from one probe to the next there is a speed
        row = joined(last, [record["steps"] for record in last], codes=self._last_codes).table.row(-1, named=True)
        place = self._place or "codebook"  # with a transport no model is seen
        return {f"{place}/{name}": float(row[name]) for name in row if name != "step" and row[name] is not None}

    def restore(self, recording: Recording) -> None:
        """Go on from a recording as if it had been this monitor's, with the same inputs as a probe."""
        if recording.codes.shape != tuple(self._codes().shape) or recording.pending is None:
            raise ValueError(
                f"The recording must be of a codebook of shape {list(self._codes().shape)}, as a Monitor keeps it. "
                f"Got codes of shape {list(recording.codes.shape)}."
            )
        columns = ("latents", "code_means", "code_spreads", "distortions", "used", "perplexities", "hits", "rates", "steps")
        rows = zip(*(getattr(recording, name) for name in columns), strict=True)
        self._records = [dict(zip(columns, row, strict=True)) for row in rows]
        self._last_codes, self._place = recording.codes, recording.place
        self._first_codes = recording.codes if recording.first_codes is None else recording.first_codes
        self.pending = torch.as_tensor(recording.pending).to(self.pending.device)
        self._counted = bool(self.pending.any())
        self.batch_size, self.updates = recording.batch_size or 0, recording.updates or 0
        self.every = recording.every or self.every

    def pace(self) -> tuple[float, float]:
        """How far latents moved per update between the last two probes, and how far they are from their codes.

        Root mean squares over the latents: of a move in the coordinate in which it is largest, and of a distance per
        coordinate. nan before there are two probes.
        """
        if len(self._records) < 2:
            return float("nan"), float("nan")
        before, after = self._records[-2:]
        moved = (after["latents"].astype(np.float64) - before["latents"]) / (after["steps"] - before["steps"])
        return float(np.sqrt(np.mean(moved**2, axis=0)).max()), float(np.sqrt(after["distortions"] / moved.shape[1]))

    def _thin(self) -> None:
        """Keep every other record, with the hits of the one that is dropped before it."""
        for dropped, record in zip(self._records[1::2], self._records[2::2], strict=False):
            record |= counted(dropped["hits"] + record["hits"])
        self._records = self._records[::2]
        self.every *= 2

    def _passed(self, module: nn.Module, inputs: tuple, options: dict, output: Any) -> None:
        """Called after every pass of the quantizer."""
        latents = next((value for value in tensors((inputs, options)) if value.is_floating_point()), None)
        if latents is None:
            return
        if self._looking:
            self._caught = self._rows(latents.detach()).clone()  # which the model may write over in the same pass
        elif (module.training or latents.requires_grad) and not repeated():  # frozen by eval(), it is trained through
            self._count(indices_in(self.quantizer, latents.detach(), self._codes(), output))

    def _count(self, indices: Tensor) -> None:
        if self.pending.device != indices.device:
            self.pending = self.pending.to(indices.device)
        self.pending.index_add_(0, indices.clamp_min(0).long(), (indices >= 0).long())  # -1 where masked
        self.batch_size, self._counted = len(indices) * processes.world_size(), True

    def _codes(self) -> Tensor:
        return self._codebook().detach()

    @torch.no_grad()
    def _rows(self, latents: Tensor) -> Tensor:
        """Latents as they are compared with the codes, [n, D]."""
        return compared(self.quantizer, latents, self._codes())


def _probed(monitors: Sequence[Monitor], model: Any, inputs: tuple, options: dict) -> list[Tensor]:
    """Latents of the probe for each quantizer, [n, D], by one pass of the model."""
    check.instance("Monitor.step", "model", model, nn.Module, "the model that the quantizer is a part of")
    model, (inputs, options) = model_of(model), copied((inputs, options))
    for monitor in monitors:
        monitor._place = monitor._place or _name(model, monitor._given)
        monitor._caught, monitor._looking = None, True
    try:
        with undisturbed([model], monitors[0].pending.device):
            model(*inputs, **options)
    finally:
        for monitor in monitors:
            monitor._looking = False
    rows = [monitor._caught for monitor in monitors]
    for monitor in monitors:
        monitor._caught = None
    if any(part is None for part in rows):
        raise ValueError("The quantizer of Monitor must be part of the model. It was not called.")
    return rows  # type: ignore[return-value]


def _name(model: nn.Module, part: nn.Module) -> str | None:
    """What a part is called from the model on, such as "model.quantize"."""
    names = [name for name, module in model.named_modules() if module is part]
    return ".".join(["model", *filter(None, names[:1])]) if names else None


class ModelMonitor:
    """What `Monitor` is for a model: all quantizers in it, each a `Monitor` by its name, seen in one pass of the probe.

    Parameters
    ----------
    quantizers : dict of str to Module
        By their names in the model.
    every : int, default 50
    options
        Of each `Monitor`.

    Raises
    ------
    ValueError
        As `Monitor`, and for a transport.
    """

    def __init__(self, quantizers: dict[str, nn.Module], every: int = 50, **options: Any) -> None:
        if options.get("transport") is not None:
            raise check.fail(
                "Monitor", "transport", "None for a model with quantizers in it", type(options["transport"]).__name__
            )
        self._monitors = {f"model.{name}": Monitor(quantizer, every, **options) for name, quantizer in quantizers.items()}
        self._probe: tuple[tuple, dict] | None = None
        self.updates = 0

    @property
    def names(self) -> list[str]:
        """Of the quantizers, from the model on."""
        return list(self._monitors)

    def __getitem__(self, name: str) -> Monitor:
        return self._monitors[check.choice("Monitor", "name", name, self._monitors)]

    @property
    def every(self) -> int:
        """Updates from one probe to the next."""
        return self._parts[0].every

    def step(self, model: nn.Module, *inputs: Any, **options: Any) -> None:
        """Count an update, and probe when it is time, as `Monitor.step`."""
        if self._probe is None:
            self._probe = copied((inputs, options))
        self.updates += 1
        if (self.updates - 1) % self.every == 0:
            self.look(self.updates, model, *self._probe[0], **self._probe[1])
            for monitor in self._parts:
                monitor._warn()
            if not all(monitor._records for monitor in self._parts):  # of latents that are not finite
                self.forget()  # also what was seen of the others, whose latents of another probe have not moved from these

    @torch.no_grad()
    def look(self, step: int, model: nn.Module, *inputs: Any, **options: Any) -> None:
        """Record the state after `step` updates, by one pass of the model."""
        if not all([monitor._check_counted(step) for monitor in self._parts]):
            return
        for monitor, rows in zip(self._parts, _probed(self._parts, model, inputs, options), strict=True):
            monitor.updates = step
            monitor._record(step, rows)

    @property
    def has_probe(self) -> bool:
        """Whether there is a batch that is encoded again: the first one that was of use."""
        return self._probe is not None

    @property
    def table(self) -> pl.DataFrame:
        """One row per quantizer and probe: layer, and the columns of a `Monitor`'s table."""
        import polars as pl

        tables = {name: monitor.table for name, monitor in self._monitors.items()}
        return pl.concat([table.select(pl.lit(name).alias("layer"), pl.all()) for name, table in tables.items()])

    @property
    def recordings(self) -> dict[str, Recording]:
        """All that was seen of each quantizer."""
        return {name: monitor.recording for name, monitor in self._monitors.items()}

    @property
    def recording(self) -> Recording:
        """Refused: there is one of each quantizer."""
        raise ValueError(
            f"A Monitor of a model has a recording of each quantizer: monitor[name], name being one of {self.names}."
        )

    def forget(self) -> None:
        """Begin anew: with no probe, and no hit counted."""
        self._probe = None
        for monitor in self._parts:
            monitor.forget()

    def close(self) -> None:
        """Take the hooks off the quantizers."""
        for monitor in self._parts:
            monitor.close()

    @property
    def _parts(self) -> list[Monitor]:
        return list(self._monitors.values())
