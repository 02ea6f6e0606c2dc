"""From how latents were seen to move, to which codes of a real codebook live, what the laws say of it, and what to turn."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vqtheory import rules
from vqtheory._base import check
from vqtheory._base.config import parse
from vqtheory._base.folder import verified
from vqtheory._prediction import STEP_SIZE
from vqtheory._recording import Recording, of_rule, values
from vqtheory._stretches import Law, kernel_cure, law_of
from vqtheory.measure import carrying
from vqtheory.simulation.run import Run
from vqtheory.theory import never_chosen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FAR = 1.0  # spreads of the latents between their mean and the codes'
_MANY = 0.1  # of the codes, dead
_MOST = 0.99  # of the hits
_UNLIKE = 2.0  # ratio of the spreads of codes and latents, either way


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Which codes are alive, what the laws say will survive, and which knob would change it.

    `print` it to read it, `plot` it to see it.

    Attributes
    ----------
    recording : Recording
        What it is made of; its `table` has speed, spread and usage over time.
    """

    recording: Recording

    @property
    def num_codes(self) -> int:
        """K."""
        return len(self.recording.codes)

    @property
    def alive(self) -> np.ndarray:
        """Which codes were hit since the time before the last, bool [K]."""
        return self.recording.hits[-1] > 0

    @property
    def carrying(self) -> int:
        """The fewest codes that are given 99 of 100 of the hits since the time before the last."""
        return carrying(self.recording.hits[-1], _MOST)

    @property
    def short(self) -> bool:
        """Whether there were under 20 K hits to tell it by, so that living codes may be missed."""
        return int(self.recording.hits[-1].sum()) < 20 * self.num_codes

    @cached_property
    def laws(self) -> list[Law]:
        """What the law says of a drift that goes on as it was between two times, for each of the T - 1."""
        return [law_of(self.recording, i) for i in range(len(self.recording.steps) - 1)]

    @cached_property
    def predicted(self) -> np.ndarray:
        """How many codes live after each of the T - 1, if all did at the first time; nan from where there is no law.

        A drift leaves what its law says once it has crossed the cloud. Until then it has lost no larger share of the
        codes than the cloud has left of its length. What is lost stays lost.
        """
        alive, behind, path = float(self.num_codes), 0.0, []
        for law, left in zip(self.laws, self.recording.motion.left, strict=True):
            behind = min(1.0, behind + left)
            floor = max(law.survivors, self.num_codes * (1 - behind), 1.0)
            alive = min(alive, floor) if not math.isnan(law.survivors + alive) else math.nan
            path.append(alive)
        return np.array(path)

    def replayed(self, rule: Any = None, codes: int | None = None, seed: int = 0) -> Run:
        """What a rule would have kept, had the encoder moved as it did: the rule simulated on the probe's own motion.

        It asks no law: growth, turns and all that a drift is not are in it. `carrying` of the run's hits is the number to
        compare with that of the training; codes in thin tails, which a probe hardly has, are counted in neither.

        Parameters
        ----------
        rule : rule, optional
            By default the recording's own, at the optimizer's rate of the last time.
        codes : int, optional
            By default as many as there are, from latents of the probe at the first time.
        seed : int, default 0

        Raises
        ------
        ValueError
            For times that are not equally far apart, and where no rule of the simulator does what the optimizer did.
        """
        from vqtheory._replay import play

        return play(self.recording, rule, codes, seed)

    @property
    def excess(self) -> np.ndarray:
        """The speed over the critical speed of all codes, for each of the T - 1; nan where there is no law."""
        return self.recording.motion.speed / np.array([law.critical_speed for law in self.laws])

    @cached_property
    def worst(self) -> int:
        """The stretch that goes farthest beyond what its law allows; the first of equals."""
        excess = np.nan_to_num(self.excess, nan=-1.0)
        return int(np.argmax(excess >= excess.max() * (1 - 1e-6)))

    @property
    def state(self) -> str:
        """Which codes are alive, in a sentence."""
        steps, count = self.recording.steps, int(self.alive.sum())
        first = steps[-2] if self.recording.since is None else self.recording.since
        since = f"were chosen in updates {first + 1:,} to {steps[-1]:,}"
        said = f"{count:,} of {self.num_codes:,} codes {since}; {self.carrying:,} of them have {_MOST:.0%} of the latents."
        if self.short:
            said += f" By {self.recording.hits[-1].sum():,} latents only: some that live may be missed."
        shut = self._shut_out
        return f"{said} {shut:,} of the others cannot be chosen by any latent within the probe's radius." if shut else said

    @property
    def _shut_out(self) -> int:
        """Codes that were not hit, and that no latent can choose which is as near to the probe's mean as the probe is."""
        probe, codes = self.recording.latents[-1].astype(np.float64), self.recording.codes.astype(np.float64)
        centre = probe.mean(axis=0)
        radius = float(np.linalg.norm(probe - centre, axis=1).max())
        return int(np.count_nonzero(never_chosen(codes, centre, radius) & ~self.alive))

    @property
    def forecast(self) -> str:
        """What the laws say, in a sentence."""
        i, steps = self.worst, self.recording.steps
        law, excess, last = self.laws[i], self.excess[i], self.predicted[-1]
        if math.isnan(excess):
            return f"No law says how many codes survive here: {law.validity}"
        where = f"in updates {steps[i] + 1:,} to {steps[i + 1]:,} the latents moved by {self.recording.motion.speed[i]:.3g}"
        total = "" if math.isnan(last) else f" By the laws {last:,.0f} of {self.num_codes:,} are alive now."
        limit = law.limit or f"the critical speed of {self.num_codes:,} codes"
        if excess <= 1:
            how = "within reach" if law.limit else "slow enough"
            return f"The drift was {how}: at the fastest, {where} per update, {excess:.2g} of {limit}.{total}"
        over = f"{where} per update, {_times(excess)} times {limit}"
        rest = "" if math.isnan(law.survivors) else f"; going on so would leave {law.survivors:,.0f}"
        despite = " All are alive nevertheless." if self.alive.all() else ""
        return f"The drift was too fast: {over}{rest}.{total}{despite}"

    @property
    def causes(self) -> list[str]:
        """Whatever else takes codes: a start elsewhere, a kernel, weight decay, a cloud that grows or shrinks."""
        found = [_start(self.recording), _growth(self.recording), _kernel(self.recording), _decay(self.recording)]
        found += [_dead(self.recording, ~self.alive)]
        return [sentence for sentence in found if sentence]

    @property
    def cures(self) -> list[tuple[str, str]]:
        """Knobs, and where each by itself would keep all codes alive, at the worst speed that was seen."""
        if self.alive.all() or not self.excess[self.worst] > 1:
            return []
        now = {STEP_SIZE: f"; it is {self.recording.rates[self.worst + 1]:.3g}"}
        cures = self.laws[self.worst].cures + kernel_cure(self.recording, self.worst)
        return [(knob, f"{where}{now.get(knob, '')}") for knob, where in cures if _can_be_turned(where)]

    def __str__(self) -> str:
        lines = [_about(self.recording), self.state, self.forecast, *self.causes]
        if not math.isnan(self.excess[self.worst]):
            lines.append(f"Validity: {self.laws[self.worst].validity}")
        text = "\n".join(textwrap.fill(line, 110) for line in lines)
        if not self.cures:
            return text
        width = max(len(knob) for knob, _ in self.cures)
        knobs = "\n".join(f"  {knob:<{width}}  {where}" for knob, where in self.cures)
        known = not math.isnan(self.laws[self.worst].survivors)
        what = f"keep all {self.num_codes:,} alive at that speed, each by itself"
        what = what if known else "let codes follow at that speed, which they have to, and which may not be enough"
        return f"{text}\n\nWhat would {what}:\n{knobs}"

    def plot(self) -> Figure:
        """Codes among latents, survivors over the updates beside what the laws say, and speed against codebook size."""
        from vqtheory._diagnosis_plot import plot_diagnosis

        return plot_diagnosis(self)


def diagnose(
    source: Any, codes: Any = None, *, rule: Any = None, every: int = 1, batch_size: int | None = None
) -> Diagnosis:
    """Say which codes of a codebook are alive, what the collapse laws predict will survive, and which knob would change it.

    Parameters
    ----------
    source : Monitor, Recording, Run, Trained, path, or float [T, N, D]
        What was seen: a `vqtheory.nn.Monitor`, its recording or the file of it, a run of `simulate` or `train` or the
        folder of one, or the latents of one and the same batch at T >= 2 successive times.
    codes : float [K, D] or [T, K, D], with latents only
        The codebook at the last time, or at each.
    rule : rule or its text, optional
        How the codebook moves, where the source does not say, e.g. ``vq.rules.VQ(step_size=0.05)``; ``TrainedVQ`` under
        Adam. Without one the codes are counted and the drift is measured, and no law is asked. A step size that a Monitor
        has measured stays.
    every : int, default 1, with latents only
        Updates from one time to the next.
    batch_size : int, optional, with latents only
        Latents in an update, on which Adam's law depends.

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        For arrays of other shapes, values that are not finite, and files that hold no recording.

    Examples
    --------
    Sixteen codes at their places on an interval, and a probe that moves by 0.001 of it per update:

    >>> codes = (np.arange(16)[:, None] + 0.5) / 16
    >>> probe = np.linspace(0, 1, 1000)[:, None] + 0.001 * np.arange(0, 3000, 100)[:, None, None]
    >>> found = diagnose(probe, codes, rule=rules.VQ(step_size=0.05), every=100)
    >>> print(textwrap.fill(found.forecast, 110))
    The drift was too fast: in updates 1 to 100 the latents moved by 0.001 per update, 288 times the critical
    speed of 16 codes; going on so would leave 2. By the laws 2 of 16 are alive now.
    >>> found.cures[2]
    ('a smaller codebook', 'at most 2 codes')
    """
    recording = _recording(source, codes, parse(rule) if isinstance(rule, str) else rule, every, batch_size)
    if len(recording.steps) < 2:
        raise ValueError(
            "A diagnosis needs what was seen at two times or more. This is one: a Monitor sees more with a smaller `every`."
        )
    return Diagnosis(recording)


def _recording(source: Any, codes: Any, rule: Any, every: int, batch_size: int | None) -> Recording:
    if isinstance(source, (str, Path)):
        source = _kept(Path(source))
    source = getattr(source, "monitor", source)  # of a training
    source = getattr(source, "recording", source)
    if isinstance(source, Run):
        source = Recording.of_run(source)
    if not isinstance(source, Recording):
        if codes is None:
            raise check.fail("diagnose", "codes", "an array [K, D] beside latents [T, N, D]", codes)
        size = None if batch_size is None else check.integer("diagnose", "batch_size", batch_size)
        return Recording.of(source, codes, rule, every, size)
    given = {"codes": (codes, codes is not None), "every": (every, every != 1), "batch_size": (batch_size, bool(batch_size))}
    for name, (value, is_given) in given.items():
        if is_given:
            raise check.fail("diagnose", name, "given with an array of latents only", value)
    if rule is None:
        return source
    known = {} if source.optimizer else of_rule(rule, source.steps)
    return replace(source, rule=rule, **known)


def _kept(path: Path) -> Any:
    """What a path holds: a recording, a training or a simulated run."""
    if path.is_file() and path.suffix != ".npz":
        raise ValueError(f"{path} is no recording (.npz) of a Monitor. Of a run give the folder: {path.parent}.")
    if path.is_file():
        return Recording.load(path)
    if (path / "monitor.npz").exists() or (path / "checkpoint.pt").exists():
        return Recording.read(verified(path, ["monitor.npz"])["monitor.npz"], str(path / "monitor.npz"))
    return Run.load(path)


def _dead(recording: Recording, dead: np.ndarray) -> str:
    """What brings codes back that are lost."""
    if getattr(recording.rule, "moves_unselected", True) or dead.mean() < _MANY:
        return ""
    return (
        "A code that nothing chooses stays where it is with this rule, whatever the drift does later. Those that are dead "
        "come back by a rule that moves them (NSVQ with a kernel that shrinks, TransVQ), by vqtheory.nn.Replacement, or "
        "where the latents come to them."
    )


def _can_be_turned(where: str) -> bool:
    return "out of reach" not in where and not where.startswith("none") and where != "at most 1 code"


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def _about(recording: Recording) -> str:
    """What was looked at, in a sentence."""
    motion, steps = recording.motion, recording.steps
    rule = "An unnamed rule" if recording.rule is None else repr(recording.rule)
    name = {"sgd": "SGD", "adam": "Adam"}.get(recording.optimizer or "", recording.optimizer)
    by = f" under {name}" if name else ""
    rate, unit = recording.rates[-1], "step size" if recording.optimizer in (None, "sgd") else "learning rate"
    step = "" if math.isnan(rate) else f" ({unit} {rate:.3g})"
    cloud = f"in the end of spread {motion.spread[-1]:.3g} in about {motion.dimension[-1]:.1f} of {recording.codes.shape[1]}"
    return f"{rule}{by}{step}, seen {len(steps)} times up to update {steps[-1]:,}; latents {cloud} dimensions."


def _start(recording: Recording) -> str:
    """L7: a wrong start is a drift that has already happened."""
    spread, codes = recording.motion.spread[0], recording.code_spreads[0]
    away = np.linalg.norm(recording.code_means[0] - recording.latents[0].mean(axis=0)) / spread if spread > 0 else 0.0
    ratio = codes / spread if spread > 0 else 1.0
    if len(recording.codes) == 1 or not (away > _FAR or ratio > _UNLIKE or ratio < 1 / _UNLIKE):
        return ""
    return (
        f"The start was elsewhere: at the first look codes were {away:.2g} spreads of the latents away from them, "
        f"and {ratio:.2g} times as widely spread. A matched start takes them from the latents."
    )


def _growth(recording: Recording) -> str:
    """L4: codes move relative to a cloud that changes its size."""
    motion = recording.motion
    i = int(np.argmax(np.abs(motion.growth * np.diff(recording.steps))))
    factor = motion.spread[i + 1] / motion.spread[i] if motion.spread[i] > 0 else 1.0
    if 1 / _UNLIKE < factor < _UNLIKE:
        return ""
    when = f"to {factor:.3g} times their spread in updates {recording.steps[i] + 1:,} to {recording.steps[i + 1]:,}"
    if factor > 1:
        return f"The latents grew, {when}. Growth loses no code for good, but codes that cannot keep up crowd inside."
    return f"The latents shrank, {when}. That leaves the outer codes outside."


def _kernel(recording: Recording) -> str:
    """L6: a kernel that is wide against the codes' distances contracts the codebook."""
    rule = recording.rule
    if not isinstance(rule, rules.NSVQ):
        return ""
    width, spacing = float(values(rule, "bandwidth", recording.steps[-1:])[0]), math.sqrt(float(recording.distortions[-1]))
    if width <= spacing:
        return ""
    return (
        f"The kernel is still wide: its bandwidth is {width:.3g}, and latents are {spacing:.3g} from their codes. It "
        "draws codes together until it shrinks: bandwidth=exponential(start, half_life)."
    )


def _decay(recording: Recording) -> str:
    """Weight decay is a drift towards the origin."""
    if not recording.weight_decay:
        return ""
    return (
        f"Weight decay {recording.weight_decay:g} on the codebook is a drift towards the origin, for codes that are not "
        "chosen too: 0 is right."
    )
