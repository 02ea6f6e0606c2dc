"""A diagnosis, the thing that people call: `diagnose`, and `Diagnosis` with its text, its picture and its replay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from vqtheory._base import check
from vqtheory._base.config import parse
from vqtheory.diagnosis import html, report
from vqtheory.diagnosis.findings import Findings
from vqtheory.diagnosis.intake import Source, recording_of
from vqtheory.diagnosis.plot import plot_diagnosis
from vqtheory.diagnosis.ranking import Ranking, ranked
from vqtheory.diagnosis.replay import play
from vqtheory.protocols import Rule
from vqtheory.simulation.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Diagnosis(Findings):
    """Which codes are alive, what the laws say will survive, and which knob would change it.

    `print` it to read it, `plot` it to see it, `save` it as a page. `forecast`, `causes` and `cures` have numbers as their
    fields, and print as sentences. `ranking` has what changes would have kept, each with the line that makes it, and as a
    frame in its `table`.

    Attributes
    ----------
    recording : Recording
        What it is made of; its `table` has speed, spread and usage over time.
    """

    @property
    def state(self) -> str:
        """Which codes are alive, in sentences."""
        return report.state(self)

    def __str__(self) -> str:
        return report.text(self)

    def plot(self) -> Figure:
        """Codes among latents, survivors over the updates beside what the laws say, and speed against codebook size."""
        return plot_diagnosis(self)

    def save(self, path: str | Path, *, title: str = "", notes: str = "", overwrite: bool = False) -> None:
        """Write all of it as one HTML file, which can be read without network: needs the extra "report".

        It has the text, the ranking with lines to copy, plots that can be zoomed, the table, the settings and versions.

        Parameters
        ----------
        path : str or Path
            Of a .html file; folders on the way to it are made.
        title, notes : str, optional
            Of your own, as plain text: above everything else, and below the title.
        overwrite : bool, default False
            Replace a file that is there.

        Raises
        ------
        ValueError
            For a path that is not of a .html file, or a title or notes that are no text.
        FileExistsError
            Where there is such a file and `overwrite` is False.
        ImportError
            Where plotly is not installed.

        Examples
        --------
        >>> import numpy as np, tempfile
        >>> from vqtheory import diagnose
        >>> probe = np.linspace(0, 1, 100)[:, None] + 0.001 * np.arange(0, 300, 100)[:, None, None]
        >>> diagnosis = diagnose(probe, probe[-1, ::10], rule="VQ(step_size=0.05)", every=100)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     diagnosis.save(f"{folder}/report.html", title="My run")
        ...     "<h1>My run</h1>" in Path(f"{folder}/report.html").read_text()
        True
        """
        owner = "Diagnosis.save"
        for name, text in (("title", title), ("notes", notes)):
            check.instance(owner, name, text, str, "a text")
        target = html.check_target(owner, path, check.flag(owner, "overwrite", overwrite))
        html.write(self, target, title, notes)

    def ranked(self, seconds: float, progress: bool = True, seed: int = 0) -> Ranking:
        """The `ranking`, from now on, with about so many seconds' work: more changes are in it, and finer steps.

        Parameters
        ----------
        seconds : float
            By what replays take on an idle core; compiling them for the first time is not counted.
        progress : bool, default True
            Show a bar if it takes more than two seconds.
        seed : int, default 0
        """
        seconds = check.real("ranked", "seconds", seconds, 0, above=True)
        vars(self)["ranking"] = ranked(self.recording, seconds, progress, check.seed("ranked", seed))  # as if it were cached
        return self.ranking

    def replayed(self, rule: Rule | None = None, codes: int | None = None, seed: int = 0) -> Run:
        """What a rule would have kept, had the encoder moved as it did: the rule simulated on the probe's own motion.

        It asks no law: growth, turns and all that a drift is not are in it. Compare `carrying` of the run's hits with the
        same number of the training; codes in thin tails, which a probe hardly has, are counted in neither.

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
        return play(self.recording, rule, codes, seed)


def diagnose(
    source: Source,
    codes: ArrayLike | None = None,
    *,
    rule: Rule | str | None = None,
    every: int = 1,
    batch_size: int | None = None,
) -> Diagnosis:
    """Say which codes of a codebook are alive, what the collapse laws predict will survive, and which knob would change it.

    Parameters
    ----------
    source : Monitor, Recording, Run, TrainingRun, path, Recorded, or float [T, N, D]
        What was seen: a `vqtheory.nn.Monitor`, its recording or the file of it, a run of `simulate` or `train` or the
        folder of one, or the latents of one and the same batch at T >= 2 successive times. Latents that are mapped
        (``np.load(path, mmap_mode="r")``) or `vqtheory.streams.Recorded` from files stay on disk, and a few times of them
        are in memory: what is said is the same, but that changes are ranked on 1,024 samples of them or fewer.
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

    >>> import numpy as np
    >>> from vqtheory import rules
    >>> codes = (np.arange(16)[:, None] + 0.5) / 16
    >>> probe = np.linspace(0, 1, 1000)[:, None] + 0.001 * np.arange(0, 3000, 100)[:, None, None]
    >>> diagnosis = diagnose(probe, codes, rule=rules.VQ(step_size=0.05), every=100)
    >>> diagnosis.forecast.kind, round(diagnosis.forecast.excess), diagnosis.forecast.survivors
    ('too fast', 288, 2)
    >>> print(diagnosis.forecast)
    The drift was too fast: in updates 1 to 100 the latents moved by 0.001 per update, 288 times the critical speed of
    16 codes; going on so would leave 2. By the laws 2 of 16 are alive now.
    >>> diagnosis.cures[2].value, str(diagnosis.cures[2])
    (2, 'a smaller codebook, at most 2 codes')
    """
    recording = recording_of(source, codes, parse(rule) if isinstance(rule, str) else rule, every, batch_size)
    if len(recording.steps) < 2:
        raise ValueError(
            "A diagnosis needs what was seen at two times or more. This is one: a Monitor sees more with a smaller `every`."
        )
    return Diagnosis(recording)
