"""A Monitor as a callback of Lightning, whose numbers go to the loggers of the Trainer.

Needs Lightning: ``pip install pytorch-lightning`` or ``pip install lightning``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from vqtheory._base import check
from vqtheory.diagnosis.recording import Recording
from vqtheory.nn.batches import tensors
from vqtheory.nn.foreign import quantizers_in
from vqtheory.nn.monitor import ModelMonitor, Monitor
from vqtheory.nn.wrappers import optimizer_of

try:
    from pytorch_lightning import Callback
except ImportError:
    try:
        from lightning.pytorch import Callback  # type: ignore[import-not-found, no-redef]
    except ImportError as error:
        raise ImportError(
            "vqtheory.nn.integrations.lightning needs Lightning, which is not installed: pip install pytorch-lightning."
        ) from error


class CodebookCallback(Callback):
    """Watches the quantizers of a LightningModule while it is fitted, for `vqtheory.diagnose` and the Trainer's loggers.

    ::

        callback = CodebookCallback(every=50)
        Trainer(callbacks=[callback]).fit(model, loader)
        print(vqtheory.diagnose(callback.monitor))         # of one quantizer; of several callback.monitor[name]

    The probe is the first training batch, which the LightningModule's own ``forward`` sees again every so many optimizer
    steps; under gradient accumulation the batches between are not counted as updates. What was seen is part of the
    checkpoints of Lightning. Of several processes each watches its own, and the first one logs.

    Parameters
    ----------
    quantizer : callable, optional
        Gives the quantizer of the LightningModule, as ``lambda model: model.vq``; by default all that are in it.
    every : int, default 50
        Optimizer steps from one probe to the next.
    inputs : callable, optional
        Gives what ``forward`` is called with for a batch; by default the first tensor of the batch.
    options
        Of `Monitor`, such as `rule`.

    Attributes
    ----------
    monitor : Monitor or ModelMonitor
        From the beginning of a fit.

    Raises
    ------
    ValueError
        For parameters out of range, and as `Monitor` does, from the beginning of a fit.

    Examples
    --------
    >>> callback = CodebookCallback(every=10)
    >>> callback.monitor
    Traceback (most recent call last):
        ...
    ValueError: CodebookCallback has seen nothing yet: give it to a Trainer as one of its callbacks, and call fit.
    """

    def __init__(
        self,
        quantizer: Callable[[Any], nn.Module] | None = None,
        *,
        every: int = 50,
        inputs: Callable[[Any], Any] | None = None,
        **options: Any,
    ) -> None:
        owner = "CodebookCallback"
        for name, value in (("quantizer", quantizer), ("inputs", inputs)):
            if value is not None and (isinstance(value, nn.Module) or not callable(value)):
                raise check.fail(owner, name, "a function", value)
        self.every, self.options = check.integer(owner, "every", every), options
        self._quantizer, self._inputs = quantizer or (lambda model: model), inputs or _first_tensor
        self._monitor: Any = None
        self._stored: dict[str, Any] = {}
        self._probe: Any = None
        self._steps = 0

    @property
    def monitor(self) -> Any:
        """What has watched the last fit."""
        if self._monitor is None:
            raise ValueError(
                "CodebookCallback has seen nothing yet: give it to a Trainer as one of its callbacks, and call fit."
            )
        return self._monitor

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Make the monitor, or another one for another fit."""
        if self._monitor is not None:
            self._monitor.close()
        quantizer = self._quantizer(pl_module)
        log = _Loggers(trainer) if trainer.is_global_zero and trainer.loggers else None
        options = {"optimizer": _optimizer(trainer.optimizers, quantizer), "log": log} | self.options
        self._monitor = Monitor(quantizer, self.every, **options)
        self._probe = None
        self._restore(trainer)
        self._steps = trainer.global_step

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count an update, if the optimizers have stepped since the last batch."""
        if trainer.global_step == self._steps:  # gradients are accumulated
            return
        self._steps = trainer.global_step
        if self._probe is None:
            self._probe = self._inputs(batch)
        self.monitor.step(pl_module, self._probe)
        if not self.monitor.has_probe:  # since it was not finite
            self._probe = None

    def state_dict(self) -> dict[str, Any]:
        """The probe, and what was seen as tensors of bytes, for Lightning's checkpoints."""
        if self._probe is None:
            return self._stored
        recordings = {name: part.recording for name, part in _parts(self._monitor).items() if part.recorded}
        seen = {name: torch.from_numpy(np.frombuffer(one.contents(), np.uint8).copy()) for name, one in recordings.items()}
        return {"probe": self._probe, "seen": seen, "updates": self._monitor.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a `state_dict`, once the fit starts."""
        self._stored = dict(state_dict)

    def _restore(self, trainer: Any) -> None:
        """Take over what a checkpoint has, once."""
        if not self._stored:
            return
        monitors = _parts(self._monitor)
        for name, content in self._stored["seen"].items():
            monitors[name].restore(Recording.read(content.cpu().numpy().tobytes(), "The checkpoint"))
        self._monitor.updates = self._stored["updates"]
        self._probe, self._stored = trainer.strategy.batch_to_device(self._stored["probe"]), {}


class _Loggers:
    """All loggers of a Trainer, as a run with a `log`."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def log(self, scalars: dict[str, float], step: int) -> None:
        """Hand the numbers to each."""
        for logger in self.trainer.loggers:
            logger.log_metrics(scalars, step=step)


def _first_tensor(batch: Any) -> Any:
    images = next(tensors(batch), None)
    if images is None:
        raise check.fail("CodebookCallback", "inputs", "given for batches without a tensor", type(batch).__name__)
    return images


def _optimizer(optimizers: Any, quantizer: nn.Module) -> Any:
    """The optimizer that has parameters of the quantizers, or the first one, which moves the encoder."""
    parts = quantizers_in(quantizer).values()
    own = {id(parameter) for part in (parts or [quantizer]) for parameter in part.parameters()}
    for optimizer in map(optimizer_of, optimizers):
        if own & {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}:
            return optimizer
    return optimizer_of(optimizers[0]) if optimizers else None


def _parts(monitor: Any) -> dict[str, Monitor]:
    """The monitors of the quantizers by their names; of one quantizer the name is ""."""
    return {name: monitor[name] for name in monitor.names} if isinstance(monitor, ModelMonitor) else {"": monitor}
