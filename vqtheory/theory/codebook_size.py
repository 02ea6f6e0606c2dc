"""How large a codebook survives on latents as they drifted, under each rule, and what distortion it buys."""

from __future__ import annotations

import math
import textwrap
import warnings
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from vqtheory._base import check
from vqtheory.protocols import Rule
from vqtheory.reference import cell_moment, lloyd
from vqtheory.rules import EMA, VQ, TrainedVQ
from vqtheory.theory._arguments import closed_form
from vqtheory.theory._ball import ball_codes, radius_of
from vqtheory.theory._clouds import of_latents
from vqtheory.theory._flow import mobility_of
from vqtheory.theory.cures import count
from vqtheory.theory.potential import LEAST_LAYERS, MOST_DIMENSIONS, MOST_LATENTS, critical_drift, live_codes

_FASTEST = 3  # stretches that are asked, of all
_CHECKED, _TO_A_CODE = 64, 20  # codes of the Lloyd run beside Zador's law, and latents to each of them at least


@runtime_checkable
class HasLatents(Protocol):
    """What has seen the same latents at successive times: a recording of a Monitor."""

    @property
    def latents(self) -> np.ndarray:
        """[T, N, D], the same samples in the same rows."""

    @property
    def steps(self) -> np.ndarray:
        """Updates done, [T]."""


class Stretch(NamedTuple):
    """How latents moved between two times, per update: x -> x + velocity + matrix (x - mean)."""

    latents: np.ndarray  # in the end, [N, D]
    velocity: np.ndarray
    matrix: np.ndarray

    @property
    def pace(self) -> float:
        """How far codes are left behind, over the spread of the latents."""
        centred = self.latents - self.latents.mean(axis=0)
        left = self.velocity + centred @ self.matrix.T
        return math.sqrt(np.mean(np.sum(left**2, axis=1)) / max(np.mean(np.sum(centred**2, axis=1)), 1e-300))

    @property
    def shrinking(self) -> float:
        """How far the shrinking of its fastest axis alone leaves codes behind."""
        rate = max(0.0, -float(np.linalg.eigvalsh((self.matrix + self.matrix.T) / 2)[0]))
        return rate * math.sqrt(np.mean(np.sum((self.latents - self.latents.mean(axis=0)) ** 2, axis=1)))


@dataclass(frozen=True)
class Size:
    """What a rule can keep of latents that drift.

    Attributes
    ----------
    rule : rule
        With its hyperparameters.
    codes : float
        The largest codebook that survives the fastest stretch; infinite where none is lost, nan where fewer than two
        codes to an axis are left, and where no law is of the rule and the motion.
    needed : float
        The step size, decay or learning rate with which the codebook asked for survives; nan where none does.
    distortion : float
        Mean squared distance with as many codes as survive of those asked for, by Zador's law.
    """

    rule: Rule
    codes: float
    needed: float
    distortion: float


@dataclass(frozen=True)
class CodebookSizes:
    """The answer of `which_codebook`; `print` it to read it.

    Attributes
    ----------
    asked : int
        K.
    sizes : tuple of Size
        One for each rule.
    distortion : float
        Of all K codes, alive, by Zador's law: the mean squared distance.
    dim : int
        As many dimensions as the cells of K codes resolve.
    variance : float
        Mean squared distance of the latents from their mean.
    checked : int
        Codes of a Lloyd run on the latents themselves.
    lloyd_over_zador : float
        Its distortion over Zador's law for as many codes: how far the law is to be trusted.
    """

    asked: int
    sizes: tuple[Size, ...]
    distortion: float
    dim: int
    variance: float
    checked: int
    lloyd_over_zador: float

    def __str__(self) -> str:
        head = (
            f"{count(self.asked)}, of which cells resolve {self.dim} dimensions of the latents. All alive they leave "
            f"{self.distortion / self.variance:.3g} of the variance by Zador's law, of which Lloyd's algorithm leaves "
            f"{self.lloyd_over_zador:.2f} times as much with {self.checked} codes."
        )
        title = f"{'rule':<34}{'largest codebook':>18}{'leaves of variance':>20}   keeps all with"
        unknown = any(math.isnan(size.codes) for size in self.sizes)
        note = (
            ["", "-: fewer than two codes to an axis are left, or no law is of the rule and the motion."] if unknown else []
        )
        return "\n".join([textwrap.fill(head, 100), "", title, *map(self._line, self.sizes), *note])

    def _line(self, size: Size) -> str:
        largest = "-" if math.isnan(size.codes) else "any" if math.isinf(size.codes) else f"{int(size.codes):,}"
        knob = "decay" if isinstance(size.rule, EMA) else "step_size"
        needed = "nothing" if math.isnan(size.needed) else f"{knob} {'<=' if knob == 'decay' else '>='} {size.needed:.4g}"
        needed = "it does" if size.codes >= self.asked else needed
        return f"{size.rule!r:<34}{largest:>18}{size.distortion / self.variance:>20.3g}   {needed}"


@closed_form
def which_codebook(
    latents: Any,
    num_codes: int = 1024,
    *,
    every: int = 1,
    batch_size: int = 1024,
    rules: tuple[Rule, ...] = (VQ(0.05), EMA(0.99), TrainedVQ(5e-4)),
) -> CodebookSizes:
    """How large a codebook survives on latents as they drifted, and the distortion that it buys.

    The motion between two times is fitted as x -> x + v + A (x - mean), and the fastest stretch decides. Plain VQ is
    answered by `live_codes` of the latents themselves; EMA and Adam by the law of a ball with their variances, for the
    translation alone: growth costs them no code, and of a cloud that shrinks by more than it moves they have no law. The
    distortion is Zador's, D G_D (integral of f^(D/(D+2)))^((D+2)/D) K^(-2/D) on the first D principal axes plus the
    variance of the others, D being all along which cells are shorter than the cloud.

    Parameters
    ----------
    latents : array [T, N, D], or a recording of `vqtheory.nn.Monitor`
        The same N samples at T >= 2 times.
    num_codes : int, default 1024
        K, the codebook that is wanted.
    every : int, default 1
        Updates between two times of an array; a recording has its own.
    batch_size : int, default 1024
        Latents in an update. For Adam.
    rules : tuple of VQ, EMA and TrainedVQ, default (VQ(0.05), EMA(0.99), TrainedVQ(5e-4))
        With the hyperparameters in question.

    Returns
    -------
    CodebookSizes
        Numbers are infinite where no code is lost, and nan where no law says.

    Raises
    ------
    ValueError
        For parameters out of range, and fewer than 20 latents.

    Examples
    --------
    A Gaussian cloud in two of eight dimensions that moves by 1e-4 deviations per update:

    >>> x = np.random.default_rng(0).standard_normal((4096, 8)) * [1, 1, *[0.01] * 6]
    >>> found = which_codebook(np.stack([x, x + 1e-4 * np.eye(8)[0]]), num_codes=256)
    >>> found.dim, [round(size.codes) for size in found.sizes]
    (2, [15, 200, 322])
    """
    owner = "which_codebook"
    num_codes, batch_size = check.integer(owner, "num_codes", num_codes, 2), check.integer(owner, "batch_size", batch_size)
    check.instance(owner, "rules", rules, tuple, "a tuple of VQ, EMA and TrainedVQ")
    stretches = _stretches(owner, latents, every)
    by_pace = sorted(stretches, key=lambda stretch: -stretch.pace)[:_FASTEST]
    last = by_pace[0].latents
    if not np.ptp(last, axis=0).any():
        raise check.fail(owner, "latents", "not all at one place", last)
    axes = _Axes(last)
    sizes = [_size(rule, by_pace if isinstance(rule, VQ) else stretches, axes, num_codes, batch_size) for rule in rules]
    distortion, dim = axes.zador(num_codes)
    checked = max(2, min(_CHECKED, len(np.unique(axes.sample, axis=0)) // _TO_A_CODE))
    ran = lloyd(axes.sample, checked, restarts=3).distortion
    return CodebookSizes(num_codes, tuple(sizes), distortion, dim, axes.variance, checked, ran / axes.zador(checked)[0])


def _stretches(owner: str, latents: Any, every: int) -> list[Stretch]:
    if isinstance(latents, HasLatents):
        frames, steps = np.asarray(latents.latents, np.float64), np.asarray(latents.steps)
    else:
        frames = check.array(owner, "latents", latents, "an array [T, N, D]").astype(np.float64)
        steps = check.integer(owner, "every", every) * np.arange(len(np.atleast_1d(frames)))
    if frames.ndim != 3 or len(frames) < 2 or frames.shape[1] < 20:
        raise check.fail(owner, "latents", "an array [T >= 2, N >= 20, D]", frames.shape)
    check.finite(owner, "latents", frames)
    return [
        _moved(before, after, int(taken))
        for before, after, taken in zip(frames[:-1], frames[1:], np.diff(steps), strict=True)
    ]


def _moved(before: np.ndarray, after: np.ndarray, steps: int) -> Stretch:
    """The affine motion by least squares, on the axes that cells may resolve."""
    mean = before.mean(axis=0)
    axes = np.linalg.eigh(np.atleast_2d(np.cov(before.T)))[1][:, ::-1][:, :MOST_DIMENSIONS]
    moves = (after - before - (after.mean(axis=0) - mean)) / steps
    slope = np.linalg.lstsq((before - mean) @ axes, moves @ axes, rcond=None)[0]
    return Stretch(after, (after.mean(axis=0) - mean) / steps, axes @ slope.T @ axes.T)


class _Axes:
    """The principal axes of latents, and Zador's law on the first of them."""

    def __init__(self, latents: np.ndarray) -> None:
        self.sample = latents[np.random.default_rng(0).permutation(len(latents))[:MOST_LATENTS]]
        centred = self.sample - self.sample.mean(axis=0)
        variances, axes = np.linalg.eigh(centred.T @ centred / len(centred))
        self.variances = variances[::-1].clip(0)
        self.variance = float(self.variances.sum())
        self.sides = np.sqrt(12 * self.variances[: min(MOST_DIMENSIONS, int(np.count_nonzero(self.variances)))])
        inside = centred @ axes[:, ::-1]
        self._norms = [float(of_latents(inside[:, :d]).measure.sum()) for d in range(1, len(self.sides) + 1)]

    def zador(self, num_codes: float) -> tuple[float, int]:
        """The distortion of so many codes, and in how many dimensions: all along which cells are shorter than the cloud."""
        distortions = [
            d * cell_moment(d) * norm ** ((d + 2) / d) * num_codes ** (-2 / d) for d, norm in enumerate(self._norms, start=1)
        ]
        resolved = [d for d, inside in enumerate(distortions, start=1) if inside / d <= self.variances[d - 1]]
        dim = max(resolved, default=1)
        return min(distortions[dim - 1] + float(self.variances[dim:].sum()), self.variance), dim


def _size(rule: Rule, stretches: list[Stretch], axes: _Axes, num_codes: int, batch_size: int) -> Size:
    moving = [stretch for stretch in stretches if stretch.pace > 0]
    if isinstance(rule, VQ):
        codes, needed = _of_plain(rule, moving, num_codes)
    else:
        codes, needed = _of_body(rule, moving, num_codes, batch_size)
    alive = num_codes if math.isnan(codes) else max(1.0, min(num_codes, codes))
    distortion = math.nan if math.isnan(codes) else axes.zador(alive)[0]
    return Size(rule, codes, needed, distortion)


def _of_plain(rule: VQ, stretches: list[Stretch], num_codes: int) -> tuple[float, float]:
    """Survivors of plain VQ, and the step size that keeps all; one beyond K would throw a code past all it has won."""
    if not stretches:
        return math.inf, rule.step_size
    drifts: list[dict[str, Any]] = [
        {"velocity": stretch.velocity, "matrix": stretch.matrix, "rule": rule} for stretch in stretches
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the table says itself
        answers = [live_codes(stretch.latents, **drift).codes for stretch, drift in zip(stretches, drifts, strict=True)]
        fastest = int(np.argmin([0.0 if codes is None else codes for codes in answers]))
        needed = rule.step_size / critical_drift(stretches[fastest].latents, num_codes, **drifts[fastest])
    codes = answers[fastest]
    return math.nan if codes is None else codes, needed if needed <= num_codes else math.nan


def _of_body(rule: Rule, stretches: list[Stretch], num_codes: int, batch_size: int) -> tuple[float, float]:
    """Survivors of EMA or Adam on a ball with the variances of the latents, and the decay or rate that keeps all."""
    if not stretches:
        return math.inf, math.nan
    answers = [_ball_of(rule, stretch, num_codes, batch_size) for stretch in stretches]
    codes, factor = min(answers, key=lambda answer: 0.0 if math.isnan(answer[0]) else answer[0])
    if isinstance(rule, EMA):
        gain = (1 - rule.decay) / factor
        return codes, 1 - gain if gain <= 1 else math.nan
    assert isinstance(rule, TrainedVQ)
    return codes, rule.step_size / factor


def _ball_of(rule: Rule, stretch: Stretch, num_codes: int, batch_size: int) -> tuple[float, float]:
    """K_live in as many dimensions as leave the most, and how many times as fast K codes could follow.

    nan for a cloud that shrinks by more than it moves, and for a drift beyond what Adam's law is for.
    """
    covariance = np.atleast_2d(np.cov(stretch.latents.T))
    sides = np.sqrt(12 * np.linalg.eigvalsh(covariance)[::-1].clip(0))
    speed = float(np.linalg.norm(stretch.velocity))
    if stretch.shrinking > speed:
        return math.nan, math.nan
    if speed == 0:
        return math.inf, math.inf
    along = math.sqrt(12 * stretch.velocity @ covariance @ stretch.velocity) / speed
    most, best, factor = min(MOST_DIMENSIONS, int(np.count_nonzero(sides > 0))), math.nan, math.nan
    for dim in range(2, 1 + most):
        mobility, mean = mobility_of("which_codebook", rule, dim, batch_size), float(np.exp(np.mean(np.log(sides[:dim]))))
        codes = ball_codes(speed * along / mean, mobility, radius_of(mean, dim), dim)
        follows = mobility.most is None or speed <= mobility.most
        if follows and codes ** (1 / dim) >= LEAST_LAYERS:
            best = float(np.fmax(best, codes))
        if num_codes ** (1 / dim) >= LEAST_LAYERS:
            factor = float(np.fmax(factor, (codes / num_codes) ** (1 / mobility.exponent)))
    return best, factor
