"""What a recording shows in numbers: all that the text and the picture of a diagnosis are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vqtheory.diagnosis.causes import Cause, causes_in
from vqtheory.diagnosis.forecast import Forecast, Kind
from vqtheory.diagnosis.laws import Outlook, kernel_cures, outlook
from vqtheory.diagnosis.ranking import SECONDS, Ranking, ranked
from vqtheory.diagnosis.recording import Recording
from vqtheory.measure import carrying
from vqtheory.theory import never_chosen
from vqtheory.theory.cures import Cure

MOST = 0.99  # of the hits


@dataclass(frozen=True, eq=False)
class Findings:
    """Which codes are alive, what the laws say will survive, and which knob would change it, as numbers.

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
        return carrying(self.recording.hits[-1], MOST)

    @property
    def short(self) -> bool:
        """Whether there were under 20 K hits to tell it by, so that codes which are alive may be missed."""
        return int(self.recording.hits[-1].sum()) < 20 * self.num_codes

    @cached_property
    def shut_out(self) -> int:
        """Codes that were not hit, and that no latent can choose which is as near to the probe's mean as the probe is."""
        probe, codes = self.recording.latents[-1].astype(np.float64), self.recording.codes.astype(np.float64)
        centre = probe.mean(axis=0)
        radius = float(np.linalg.norm(probe - centre, axis=1).max())
        return int(np.count_nonzero(never_chosen(codes, centre, radius) & ~self.alive))

    @cached_property
    def laws(self) -> list[Outlook]:
        """What the law says of a drift that goes on as it was between two times, for each of the T - 1."""
        return [outlook(self.recording, i) for i in range(len(self.recording.steps) - 1)]

    @cached_property
    def predicted(self) -> np.ndarray:
        """How many codes are alive after each of the T - 1, if all were at the first time; nan from where there is no law.

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
    def forecast(self) -> Forecast:
        """What the laws say."""
        i, steps = self.worst, self.recording.steps
        law, excess = self.laws[i], float(self.excess[i])
        allowed: Kind = "within reach" if law.limit else "slow enough"
        kind: Kind = "too fast" if excess > 1 else allowed
        return Forecast(
            kind="no law" if math.isnan(excess) else kind,
            stretch=(int(steps[i]) + 1, int(steps[i + 1])),
            excess=excess,
            survivors=law.survivors,
            speed=float(self.recording.motion.speed[i]),
            limit=law.limit or f"the critical speed of {self.num_codes:,} codes",
            predicted=float(self.predicted[-1]),
            alive=int(self.alive.sum()),
            num_codes=self.num_codes,
            validity=law.validity,
        )

    @property
    def causes(self) -> tuple[Cause, ...]:
        """Whatever else takes codes: a start elsewhere, a kernel, weight decay, a cloud that grows or shrinks."""
        return causes_in(self.recording)

    @property
    def cures(self) -> tuple[Cure, ...]:
        """Knobs within reach, and where each by itself would keep all codes alive, at the worst speed that was seen."""
        if self.alive.all() or not self.excess[self.worst] > 1:
            return ()
        cures = self.laws[self.worst].cures + kernel_cures(self.recording, self.worst)
        return tuple(cure for cure in cures if cure.reachable)

    @cached_property
    def ranking(self) -> Ranking:
        """What changes would have kept, the best first, by playing them on the motion that was seen: a few seconds' work."""
        return ranked(self.recording, SECONDS)
