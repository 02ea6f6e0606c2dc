"""What was seen of a codebook and of one batch of latents at successive times: what a diagnosis is made of."""

from __future__ import annotations

import io
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from vqtheory._base import check
from vqtheory._base.config import parse, text
from vqtheory._base.folder import write_beside
from vqtheory._base.randomness import Purpose, generator
from vqtheory._base.shards import Frames
from vqtheory.diagnosis.motion import Motion, motion_of
from vqtheory.measure import cells, perplexity
from vqtheory.protocols import Rule
from vqtheory.rules.base import declared
from vqtheory.streams.recorded import Recorded

if TYPE_CHECKING:
    import polars as pl

_PLAYED, _FEWEST, _NUMBERS = 1024, 64, 2**22  # samples of a recording on disk that are played, at least, and numbers
FILE = "monitor.npz"  # the name of a recording in the folder of a training
_PLAIN = ("optimizer", "weight_decay", "batch_size", "since", "every", "updates", "package", "place", "width")


@dataclass(frozen=True, eq=False)
class Recording:
    """A probe batch of latents and the codebook that follows them, at T times.

    Attributes
    ----------
    steps : int64 [T]
        Updates done.
    latents : float [T, N, D]
        The same N samples in the same rows; on disk, where they were given so.
    codes : float [K, D]
        At the last time.
    code_means, code_spreads : float [T, D], [T]
        Mean of the codes, and root of the mean squared distance from it.
    distortions : float [T]
        Mean squared distance of the latents to their codes.
    hits : int64 [T, K] or [1, K]
        Of all latents since the time before, or of those before the last time alone; of the probe, where that was not
        counted.
    used, perplexities : float [T]
        Codes hit since the time before, or since a simulation's record before, and the perplexity of the hits.
    rule : rule or None
        How the codebook moves.
    optimizer : str or None
        What moves it by the rule's gradient, "sgd", "adam" or the name of another; None where `rates` is the rule's own.
    rates : float [T]
        With SGD the step size eta in the simulator's units, momentum included, with Adam the learning rate; nan where
        it is not known or not used.
    weight_decay : float
        On the codebook, as the optimizer has it.
    batch_size : int or None
        Latents in an update.
    since : int or None
        The update after which the hits of the last time begin; that of the time before it by default.
    pending : int64 [K] or None
        Hits since the last time. With `every` and `updates`, what a Monitor goes on from.
    first_codes : float [K, D] or None
        The codes at the first time.
    package, place : str or None
        Whose quantizer it is, and what it is called in the model, such as "diffusers" and "model.quantize".
    width : int or None
        Dimensions of the latents before the quantizer's own projection.
    """

    steps: np.ndarray
    latents: np.ndarray  # or Frames, which are read one at a time
    codes: np.ndarray
    code_means: np.ndarray
    code_spreads: np.ndarray
    distortions: np.ndarray
    hits: np.ndarray
    used: np.ndarray
    perplexities: np.ndarray
    rates: np.ndarray
    rule: Rule | None = None
    optimizer: str | None = None
    weight_decay: float = 0.0
    batch_size: int | None = None
    since: int | None = None
    pending: np.ndarray | None = None
    every: int | None = None
    updates: int | None = None
    first_codes: np.ndarray | None = None
    package: str | None = None
    place: str | None = None
    width: int | None = None

    @classmethod
    def of(
        cls,
        latents: ArrayLike | Frames,
        codes: ArrayLike,
        rule: Rule | None = None,
        every: int = 1,
        batch_size: int | None = None,
    ) -> Recording:
        """From latents [T, N, D] of one batch, and codes [K, D] of the last time or [T, K, D] of each."""
        held = {"latents": latents} if isinstance(latents, np.memmap | Frames) else {}  # too large to be copied
        latents = latents if isinstance(latents, Frames) else np.asarray(latents)
        codes, every = np.asarray(codes), check.integer("diagnose", "every", every)
        if latents.ndim != 3 or min(latents.shape[:2]) < 2:
            raise check.fail("diagnose", "latents", "an array [T >= 2, N >= 2, D]", latents.shape)
        if codes.shape[-1:] != latents.shape[2:] or codes.shape[:-2] not in ((), latents.shape[:1]):
            wanted = f"an array [K, {latents.shape[2]}] or [{len(latents)}, K, {latents.shape[2]}]"
            raise check.fail("diagnose", "codes", wanted, codes.shape)
        _check_finite(latents)
        check.finite("diagnose", "codes", codes)
        steps = every * np.arange(len(latents))
        codebooks = codes if codes.ndim == 3 else [codes] * len(latents)
        times = [seen(*pair) for pair in zip(latents, codebooks, strict=True)]
        first = codes[0] if codes.ndim == 3 else None
        return joined(times, steps, rule, batch_size=batch_size, first_codes=first, **held, **of_rule(rule, steps))

    @property
    def table(self) -> pl.DataFrame:
        """One row per time: step, used, usage, perplexity, speed, moved, spread, dimension, distortion.

        `used`, `usage` and `perplexity` are of all hits since the row before; `speed` is the distance that the probe's
        mean has moved per update since then, and `moved` the root mean square of its samples' own moves.
        """
        import polars as pl

        motion = self.motion
        between = {name: np.append(np.nan, getattr(motion, name)) for name in ("speed", "moved")}
        columns = {"step": self.steps, "used": self.used, "usage": self.used / len(self.codes)}
        columns |= {"perplexity": self.perplexities, **between, "spread": motion.spread, "dimension": motion.dimension}
        columns |= {"distortion": self.distortions}
        return pl.DataFrame(columns).fill_nan(None)

    @cached_property
    def motion(self) -> Motion:
        """How the probe has moved."""
        return motion_of(self.latents, self.steps)

    @cached_property
    def probe(self) -> np.ndarray:
        """The latents [T, n, D] that changes are played on: all, or at random some of those that stay on disk."""
        if not isinstance(self.latents, np.memmap | Frames):
            return self.latents
        times, samples, dim = self.latents.shape
        size = min(samples, _PLAYED, max(_FEWEST, _NUMBERS // (times * dim)))
        rows = np.sort(generator(0, Purpose.PROBE).permutation(samples)[:size])
        return np.stack([self.latents[i][rows] for i in range(times)])

    @property
    def stream(self) -> Recorded:
        """The probe's motion as a stream, for `simulate`: what would another rule have kept, had the encoder moved alike?

        Raises `ValueError` where the times are not equally far apart.
        """
        every = np.unique(np.diff(self.steps))
        if len(every) != 1:
            raise ValueError(f"A stream is made of times that are equally far apart. Got steps {self.steps.tolist()}.")
        latents = self.latents.paths if isinstance(self.latents, Frames) else self.latents
        return Recorded(latents, every=int(every[0]), interpolate=True)

    def contents(self) -> bytes:
        """As the bytes of an .npz file."""
        arrays = {item.name: getattr(self, item.name) for item in fields(self) if getattr(self, item.name) is not None}
        if self.rule is not None:
            arrays["rule"] = text(self.rule)
        file = io.BytesIO()
        np.savez(file, **{name: np.asarray(value) for name, value in arrays.items()})  # type: ignore[arg-type]
        return file.getvalue()

    def save(self, path: str | Path) -> None:
        """Write an .npz file, under a temporary name until it is complete."""
        write_beside(Path(path), self.contents())

    @classmethod
    def load(cls, path: str | Path) -> Recording:
        """Read what `save` has written; `ValueError` names a file that is something else."""
        if not Path(path).is_file():
            raise FileNotFoundError(f"There is no file {str(path)!r}.")
        return cls.read(Path(path).read_bytes(), str(path))

    @classmethod
    def read(cls, content: bytes, name: str) -> Recording:
        """Read the bytes of `contents`."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                arrays = {key: stored[key] for key in stored.files}
            plain = {key: arrays[key].item() for key in _PLAIN if key in arrays}
            rule = {"rule": parse(arrays["rule"].item())} if "rule" in arrays else {}
            recording = cls(**(arrays | plain | rule))
            recording._check()
            return recording
        except Exception as error:  # zip, npy and the fields each have their own
            raise ValueError(f"{name} is no recording of a Monitor, or is damaged: {error}") from None

    def _check(self) -> None:
        """That the arrays are of one training, and of finite latents and codes."""
        (times, samples, dim), (codes, _) = self.latents.shape, self.codes.shape
        wanted: dict[str, tuple[int, ...]] = dict.fromkeys(
            ("steps", "code_spreads", "distortions", "used", "perplexities", "rates"), (times,)
        )
        wanted |= {"codes": (codes, dim), "code_means": (times, dim)}
        wanted |= {"hits": (len(self.hits) if len(self.hits) == 1 else times, codes)}
        wanted |= {} if self.pending is None else {"pending": (codes,)}
        wanted |= {} if self.first_codes is None else {"first_codes": (codes, dim)}
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array.shape != shape or not np.issubdtype(array.dtype, np.number):
                raise ValueError(f"its {name} must be numbers of shape {shape}, and are {array.dtype} {array.shape}.")
        if not samples or not (np.isfinite(self.latents).all() and np.isfinite(self.codes).all()):
            raise ValueError("its latents and codes must be finite.")
        if (np.diff(self.steps) <= 0).any() or (self.hits < 0).any():
            raise ValueError("its steps must grow, and its hits be counts.")


def _check_finite(latents: np.ndarray | Frames) -> None:
    """Refuse latents [T, N, D] that are not finite, with the index of the first."""
    for time in range(len(latents)):  # one by one: they may be more than memory holds
        frame = np.asarray(latents[time])
        good = np.isfinite(frame)
        if not good.all():
            row, column = np.argwhere(~good)[0].tolist()
            raise ValueError(
                "The 'latents' parameter of diagnose must be finite. "
                f"Got {frame[row, column]} at index ({time}, {row}, {column})."
            )


def seen(latents: np.ndarray, codes: np.ndarray) -> dict[str, Any]:
    """One time."""
    partition = cells(latents, codes)
    mean = codes.mean(axis=0)
    spread = np.sqrt(np.mean(np.sum((codes - mean) ** 2, axis=1)))
    place = {"latents": latents, "code_means": mean, "code_spreads": spread, "distortions": partition.distortion}
    return place | counted(partition.hits) | {"codes": codes}


def counted(hits: np.ndarray) -> dict[str, Any]:
    """What hits [K] say."""
    return {"hits": hits, "used": float(np.count_nonzero(hits)), "perplexities": perplexity(hits)}


def joined(times: list[dict[str, Any]], steps: ArrayLike, rule: Rule | None = None, **known: Any) -> Recording:
    """All times, one after the other; `known` are fields of the recording that are not in them."""
    names = [name for name in times[0] if name not in ("codes", "steps", *known)]
    columns: dict[str, Any] = {name: np.array([time[name] for time in times]) for name in names}
    columns |= {"codes": times[-1]["codes"]} if "codes" in times[-1] else {}
    return Recording(np.asarray(steps, np.int64), **(columns | known), rule=rule)


def of_rule(rule: Rule | None, steps: np.ndarray) -> dict[str, Any]:
    """The step size that a rule of the simulator has at these steps, with its momentum, and its weight decay."""
    if rule is None:
        return {"rates": np.full(len(steps), np.nan)}
    rates = values(rule, "step_size", steps) / (1 - declared(rule, "momentum"))
    return {"rates": rates, "weight_decay": float(declared(rule, "weight_decay")), "optimizer": None}


def values(rule: Rule, name: str, steps: np.ndarray) -> np.ndarray:
    """A hyperparameter of the rule at these steps, whether a number or a schedule; nan where it has none."""
    value = getattr(rule, name, None)
    if value is None:
        return np.full(len(steps), np.nan)
    return np.broadcast_to(np.asarray(value(steps) if callable(value) else value, np.float64), len(steps)).copy()
