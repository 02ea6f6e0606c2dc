"""`vqtheory diagnose`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from vqtheory.cli.options import option, picture_file, read, say, torch_module


def diagnose(
    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER|FILE")],
    /,
    *,
    rule: Annotated[str | None, option("TEXT", "the source's own")] = None,
    codes: Annotated[Path | None, option("FILE.npy")] = None,
    every: Annotated[str | None, option("INT", "1")] = None,
    batch_size: Annotated[str | None, option("INT")] = None,
    seconds: Annotated[str | None, option("FLOAT", "1.5")] = None,
    replay: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    picture: Annotated[Path | None, option("FILE.png", "diagnosis.png in the folder, else vqtheory-diagnosis.png")] = None,
    html: Annotated[Path | None, option("FILE.html")] = None,
    overwrite: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
) -> None:
    """Say which codes are alive, what the laws predict will survive the drift that was seen, and which changes would help.

    Args:
        source: The --save folder of train or simulate, a file that a Monitor's recording was saved in (.npz), or latents
            [time, N, D] of one and the same batch (.npy).
        rule: How the codebook moves, where the source does not say: a name such as ema, or a call such as "EMA(decay=0.99)".
        codes: With latents, the codebook at the last time [K, D] or at each [time, K, D].
        every: With latents, updates from one time to the next.
        batch_size: With latents, how many there are in an update of the training; Adam's law depends on it.
        seconds: About how long changes may be played again for their ranking.
        replay: Also play what a training with --latents has kept again by the simulator's rule, and compare the codes.
        picture: Where to draw it; .pdf, .svg and .jpg too.
        html: Where to write a report, one file with plots that can be zoomed.
        overwrite: Replace a report that is there.
    """
    default = source / "diagnosis.png" if source.is_dir() else Path("vqtheory-diagnosis.png")
    target = picture_file(picture or default)
    import vqtheory as vq
    from vqtheory._base.files import load_array

    page = None if html is None else _checked(html, overwrite)
    diagnosis = vq.diagnose(
        load_array(str(source), mapped=True) if source.suffix == ".npy" else source,
        None if codes is None else read("codes", str(codes)),
        rule=rule,
        every=1 if every is None else read("every", every),
        batch_size=None if batch_size is None else read("batch_size", batch_size),
    )
    if seconds is not None:
        diagnosis.ranked(read("seconds", seconds))
    text = str(diagnosis)
    if replay:
        text += f"\n\nReplay. {torch_module('training.replay').replay(source)}"
    target.parent.mkdir(parents=True, exist_ok=True)
    diagnosis.plot().savefig(target, dpi=150)
    say(text)
    say(f"\nPicture: {target}")
    if page is not None:
        diagnosis.save(page, overwrite=overwrite)
        say(f"Report: {page}")


def _checked(html: Path, overwrite: bool) -> Path:
    """Where the report goes; refused before the work and not after it."""
    from vqtheory.diagnosis.html import check_target

    try:
        return check_target("diagnose --html", html, overwrite)
    except ImportError as error:
        raise ValueError(str(error)) from None
