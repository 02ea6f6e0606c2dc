"""A training that is built upon a finished one: stage 2 of VQFR."""

from __future__ import annotations

from dataclasses import fields, replace

from vqtheory._base import check
from vqtheory.nn.models import VQFR, VQVAE
from vqtheory.nn.models.vqfr import STAGE_1
from vqtheory.nn.references import Reference
from vqtheory.nn.training.config import TrainingConfig
from vqtheory.nn.training.run import TrainingRun

_INHERITED = ("rule", "codes", "dim", "codebook_dim")


def founded(config: TrainingConfig) -> TrainingRun:
    """A new run by a configuration, upon the run that its `prior` names: its codes, its encoder and its decoder."""
    if config.prior is None:
        return TrainingRun.new(config)
    stage = TrainingRun.load(config.prior)
    _check(config, stage)
    known = {name: getattr(stage.config, name) for name in _INHERITED}
    for item in fields(config):
        if item.name in _INHERITED and getattr(config, item.name) not in (item.default, known[item.name], VQFR.rule):
            wanted = f"the one of {config.prior}, {known[item.name]!r}, or left out"
            raise check.fail("train", item.name, wanted, getattr(config, item.name))
    run = TrainingRun.new(replace(config, **known))
    assert isinstance(run.model, VQFR)
    assert isinstance(stage.model, VQVAE)
    run.model.adopt(stage.model)
    return run


def _check(config: TrainingConfig, stage: TrainingRun) -> None:
    """Refuse what is no stage 1 of the model."""
    for refused, wanted, got in (
        (stage.config.model != STAGE_1[config.model], f"model={STAGE_1[config.model]!r}", f"model={stage.config.model!r}"),
        (isinstance(stage.config.rule, Reference), "a rule of the layer's own", f"rule={stage.config.rule!r}"),
        (stage.step == 0 or not stage.quantizes, "codes that have been trained", f"{stage.step} updates"),
    ):
        if refused:
            raise ValueError(f"The prior of train must be a training with {wanted}. {config.prior} has {got}.")
