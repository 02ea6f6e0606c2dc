"""From a training to the simulator and back: does the simulator's rule do what the trained codebook has done?

A training that has kept the latents and codes of a window of updates (`TrainingConfig.latents`) is played again without the
network: the simulator's rule, at the step size that matches the optimizer, from the codes at the window's start.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from vqtheory._base import check
from vqtheory.assign import nearest
from vqtheory.nn.branches import BranchQuantize
from vqtheory.nn.codebooks import RULES
from vqtheory.nn.quantize import step_size
from vqtheory.nn.training.recorder import CODES, LATENTS, recorded
from vqtheory.nn.training.run import TrainingRun
from vqtheory.protocols import Batches
from vqtheory.rules.base import Rule
from vqtheory.streams import Recorded


class Replay(NamedTuple):
    """A training and its replay, over a window of updates.

    Attributes
    ----------
    window : (int, int)
        The first update, and the one after the last.
    hits, replayed_hits : int64 [K]
        Latents that each code was given in the window.
    difference : float [T]
        Before each update, how far the code is that is farthest from its own replay, in units of the codebook's spread,
        the root of the mean squared distance of the codes from their centre.
    agreement : float [T]
        Share of each update's latents that are given the same code in both.
    """

    window: tuple[int, int]
    hits: np.ndarray
    replayed_hits: np.ndarray
    difference: np.ndarray
    agreement: np.ndarray

    @property
    def usage(self) -> float:
        """Share of the codes that the training has used in the window."""
        return float((self.hits > 0).mean())

    @property
    def replayed_usage(self) -> float:
        """Share of the codes that the replay has used."""
        return float((self.replayed_hits > 0).mean())

    @property
    def largest_difference(self) -> float:
        """The largest `difference` in the window."""
        return float(self.difference.max())

    @property
    def first_difference(self) -> int | None:
        """The first update in which a latent is given another code, or None."""
        differs = np.flatnonzero(self.agreement < 1)
        return self.window[0] + int(differs[0]) if len(differs) else None

    def __str__(self) -> str:
        start, stop = self.window
        first = self.first_difference
        alike = "in all updates" if first is None else f"until update {first:,}, and {self.agreement.mean():.2%} of all"
        return (
            f"Updates {start:,} to {stop:,}: {np.count_nonzero(self.hits):,} of {len(self.hits):,} codes used in the "
            f"training, {np.count_nonzero(self.replayed_hits):,} in the replay. All latents are given the same codes "
            f"{alike}. No code is farther from its replay than {self.largest_difference:.1e} of the codebook's spread."
        )


def replay(folder: str | Path, progress: bool = True) -> Replay:
    """Play the recorded window of a training again by the simulator's rule, and compare.

    A codebook under SGD is the rule at the step size 2 lr / D (`vqtheory.nn.step_size`), which follows the training's
    rate from epoch to epoch. Under Adam plain VQ is `rules.TrainedVQ`. What a rule or an optimizer remembers beside the
    codes is known at the first update only: EMA, Adam and map rules are replayed from windows that begin there.
    Both are the same up to rounding: a latent half way between two codes may be given to either, and codes go apart.

    Parameters
    ----------
    folder : path
        Of a training with `latents`.
    progress : bool, default True
        Show a bar if the replay takes more than two seconds.

    Raises
    ------
    ValueError
        For a folder without a whole window, and for a training whose codes no rule of the simulator moves.

    Examples
    --------
    >>> import tempfile
    >>> from vqtheory.nn.training import train
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     options = {"codes": 16, "dim": 4, "size": 16, "steps": 6, "latents": (2, 6), "save": folder}
    ...     run = train(**options, codebook_optimizer="sgd", codebook_lr=1.0, progress=False)
    ...     again = replay(folder)
    >>> again.window, again.usage == again.replayed_usage, again.first_difference
    ((2, 6), True, None)
    """
    run = TrainingRun.load(folder)
    (start, stop), frames, codes = _window(run, Path(folder))
    rule, size = _rule(run, start, codes.shape[2])
    stream, unit = Recorded(frames), codes.dtype.type(size)
    state = rule.init(unit * codes[0], run.config.seed)._replace(step=np.int64(start))
    hits, difference, agreement = np.zeros((2, codes.shape[1]), np.int64), np.zeros(stop - start), np.zeros(stop - start)
    for t in tqdm(range(stop - start), unit=" updates", delay=2, disable=not progress):
        x = stream.draw(t, 1, frames.shape[1], seed=0, dtype=codes.dtype).x
        assignment, _ = nearest(rule.project(x[0]), codes[t])
        difference[t] = _farthest(state.codes / unit, codes[t])
        state, info = rule.advance(state, Batches(unit * x))
        agreement[t] = (info["assignment"] == assignment).mean()
        hits += [np.bincount(assignment, minlength=codes.shape[1]), info["hits"]]
    return Replay((start, stop), hits[0], hits[1], difference, agreement)


def _farthest(codes: np.ndarray, trained: np.ndarray) -> float:
    trained = trained.astype(np.float64)
    spread = np.sqrt(trained.var(axis=0).sum())
    return float(np.linalg.norm(codes - trained, axis=1).max() / max(spread, np.finfo(float).tiny))


def _window(run: TrainingRun, folder: Path) -> tuple[tuple[int, int], np.ndarray, np.ndarray]:
    """Which updates were recorded, their latents [T, N, D] and the codes before each, [T, K, D]."""
    window = run.config.latents
    if window is None:
        raise check.fail("replay", "folder", "a training that keeps latents=(start, stop)", str(folder))
    frames, codes = recorded(folder, window, run.step)
    wanted = (window[1] - window[0], run.quantizer.codebook_size, run.quantizer.codebook_dim)
    if codes.shape != wanted or frames.shape[::2] != wanted[::2]:
        raise ValueError(
            f"{folder / LATENTS} and {CODES} must be of the folder's training, with codes of shape {wanted}. "
            f"Got latents of shape {frames.shape} and codes of shape {codes.shape}."
        )
    return window, frames, codes


def _rule(run: TrainingRun, start: int, dim: int) -> tuple[Rule, float]:
    """The simulator's rule for a training from update `start` on, and the unit in which it is played.

    Adam's 1e-8 has the unit of its gradient, the gradient of a mean over dimensions. Where Adam's step is a length, so where
    it moves codes and no map of them, latents, codes and rate are played in a unit in which the gradient is the rule's.
    """
    optimizer, per_dimension = _optimizer(run), step_size(lr=1, dim=dim)
    rule = run.quantizer.rule.under(optimizer, 1.0)
    _refuse(run, start, rule)
    assert rule is not None
    unit = per_dimension if "step_size" in rule.lengths else 1.0
    if optimizer is not None:
        rates = _rates(per_dimension if optimizer == "sgd" else unit, run)
        rule = replace(rule, step_size=rates)  # type: ignore[type-var]
    return (rule if rule.memory else rule.matched()), unit  # one with a memory begins as the training did


def _optimizer(run: TrainingRun) -> str | None:
    """What moves the codes, or None where they move without a gradient."""
    return run.config.codebook_optimizer if run.quantizer.codebook_parameters() else None


def _rates(unit: float, run: TrainingRun) -> Any:
    """The step size as a function of the update: it falls from epoch to epoch, or by the codebook's own schedule."""
    config = run.config
    updates, rate = (run.num_images or 1) // config.batch_size, config.codebook_schedule
    return lambda t: unit * rate(t) * config.lr_decay ** (t // updates)


def _refuse(run: TrainingRun, start: int, played: Rule | None) -> None:
    """Trainings whose codes cannot be known from a rule and the codes at the start."""
    config, rule = run.config, run.quantizer.rule
    memory = rule.memory or ("the moments of Adam" if _optimizer(run) == "adam" else "")
    replaced, moved = config.replace_every is not None, rule.needs_displacement
    carried = config.transport is not None
    late = config.quantize_from
    by_decoder = run.quantizer.estimator.moves_codes and _optimizer(run) is not None
    branches = isinstance(run.quantizer, BranchQuantize)
    for refused, wanted, got in (
        (branches, "of a model that gives each latent its nearest code", f"model={config.model!r}"),
        (late > start, "one whose window starts at quantize_from or later", f"quantize_from={late}"),
        (replaced, "without replacement, which is no part of a rule", f"replace_every={config.replace_every}"),
        (carried, "without transport, whose probe is not recorded", f"transport={config.transport}"),
        (by_decoder, "one whose codes the decoder does not move", f"estimator={config.estimator!r}"),
        (moved, "of a rule that does not ask how far each latent has moved, which is not recorded", rule),
        (played is None, f"with codebook_optimizer='sgd': under Adam there are {_under_adam()}", rule),
        (memory and start > 0, f"one whose window starts at update 0, since {memory} are not recorded", config.latents),
    ):
        if refused:
            raise ValueError(f"The training to replay must be {wanted}. Got {got}.")


def _under_adam() -> str:
    """The names of the rules that the simulator has under Adam too."""
    *names, last = (rule.__name__ for rule in RULES.values() if rule().under("adam", 1.0) is not None)
    return f"{', '.join(names)} and {last}"
