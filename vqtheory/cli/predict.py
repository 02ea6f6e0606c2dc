"""`vqtheory predict`: what the collapse law says of a codebook, and what would save it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from vqtheory.cli.options import number, option, read, say


def predict(
    *,
    codes: Annotated[str, option("INT")],
    speed: Annotated[str | None, option("REAL")] = None,
    latents: Annotated[Path | None, option("FILE|FOLDER")] = None,
    every: Annotated[str | None, option("INT", "1")] = None,
    rule: Annotated[str, option("{vq,sgd,adam,ema,nsvq}|TEXT")] = "vq",
    step_size: Annotated[str | None, option("REAL", "0.05; adam 1e-5")] = None,
    momentum: Annotated[str | None, option("REAL", "0")] = None,
    decay: Annotated[str | None, option("REAL", "0.99; nsvq 0.9")] = None,
    bandwidth: Annotated[str | None, option("REAL", "1.0")] = None,
    strength: Annotated[str | None, option("REAL", "0.5")] = None,
    batch_size: Annotated[str | None, option("INT", "1; adam 1024")] = None,
    width: Annotated[str | None, option("REAL", "1.0")] = None,
    dim: Annotated[str | None, option("INT", "1")] = None,
    density: Annotated[str | None, option("TEXT", "uniform")] = None,
    direction: Annotated[str | None, option("{1,-1}", "1")] = None,
    steps: Annotated[str | None, option("INT", "the limit of a small step size")] = None,
) -> None:
    """Say how many codes a drift leaves alive, and which step size, codebook or decay would save all.

    The drift is given by --speed, or by recorded latents: then for plain VQ, EMA and Adam in one table, with the distortion
    that the largest codebook of each would leave.

    Args:
        codes: How many codes, as in vqtheory predict --codes 1024 --step-size 0.05 --dim 8 --speed 1e-4.
        speed: How far the latents move per update of the codebook, in their own unit.
        latents: In place of a speed: latents [time, N, D] of one batch (.npy), a Monitor's .npz, or a training's folder.
        every: With latents, updates from one time to the next.
        rule: How the codebook moves: vq by online k-means, sgd by SGD with momentum, adam by Adam, ema by running means,
            nsvq by running means with a kernel, or with a step size or a bandwidth in its gaussian form; or any rule as a
            call, e.g. "EMA(decay=0.9)".
        step_size: Of vq, sgd and nsvq, 1 moves a code that wins the whole batch onto its mean; of adam the learning rate.
        momentum: Of sgd.
        decay: Of ema and nsvq, per update.
        bandwidth: Of the kernel of nsvq's gaussian form, a length.
        strength: Of that kernel.
        batch_size: Latents in an update.
        width: Of the uniform cloud, along each axis.
        dim: How many dimensions the latents fill, which may be far fewer than they have.
        density: A cloud in one dimension that is not uniform, e.g. "Gaussian(dim=1)" or "Distribution('expon')".
        direction: Which way such a cloud moves.
        steps: Updates in the run, for what the noise of its samples takes off.
    """
    from vqtheory import theory

    if latents is not None:
        options = {"speed": speed, "step_size": step_size, "momentum": momentum, "decay": decay, "bandwidth": bandwidth}
        options |= {"strength": strength, "width": width, "dim": dim, "density": density, "direction": direction}
        _refuse_beside(latents, options | {"steps": steps, "rule": None if rule == "vq" else rule})
        if every is not None and latents.suffix != ".npy":
            raise ValueError("A recording has its own steps: leave out --every, which is for an array of latents.")
        sizes = {"num_codes": codes, "batch_size": batch_size, "every": every}
        counts: dict[str, Any] = {name: number(text) for name, text in sizes.items() if text is not None}
        return say(theory.which_codebook(_seen(latents), **counts))
    if every is not None:
        raise ValueError("--every is for --latents: leave it out beside --speed.")
    if speed is None:
        raise ValueError("vqtheory predict needs --speed, how far the latents move per update, or --latents.")
    texts = {
        "num_codes": codes,
        "speed": speed,
        "step_size": step_size,
        "momentum": momentum,
        "decay": decay,
    }
    texts |= {"bandwidth": bandwidth, "strength": strength, "batch_size": batch_size, "width": width, "dim": dim}
    texts |= {"direction": direction, "steps": steps}
    numbers: dict[str, Any] = {name: number(text) for name, text in texts.items() if text is not None}
    say(theory.predict(rule, **numbers, density=None if density is None else read("stream", density)))


def _seen(source: Path) -> Any:
    """Latents at successive times, or the recording that has them."""
    if source.suffix == ".npy":
        from vqtheory._base.files import load_array

        return load_array(str(source))
    from vqtheory.diagnosis.intake import recording_of

    return recording_of(source, None, None, 1, None)


def _refuse_beside(latents: Path, options: dict[str, str | None]) -> None:
    for name, text in options.items():
        if text is not None:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"Latents have their own drift: leave out {option} beside --latents {latents}.")
