"""From how latents were seen to move, to which codes of a real codebook live, what the laws say of it, and what to turn."""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from vqtheory.diagnosis.laws import Law, kernel_cure, law_of
from vqtheory.diagnosis.recording import Recording
from vqtheory.diagnosis.report import _MOST, _about, _can_be_turned, _dead, _decay, _growth, _kernel, _start, _times
from vqtheory.measure import carrying
from vqtheory.simulation.run import Run
from vqtheory.theory import never_chosen
from vqtheory.theory.cures import STEP_SIZE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
        from vqtheory.diagnosis.replay import play

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
        from vqtheory.diagnosis.plot import plot_diagnosis

        return plot_diagnosis(self)
