"""The subcommands on models in training: train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import tyro

from vqtheory._options import command, number, option


@command
def train(
    *,
    rule: Annotated[str | None, option("TEXT", "vq")] = None,
    codes: Annotated[str | None, option("INT", "1024")] = None,
    dim: Annotated[str | None, option("INT", "64")] = None,
    codebook_dim: Annotated[str | None, option("INT", "dim")] = None,
    model: Annotated[str | None, option("{small,paper}", "small")] = None,
    data: Annotated[str | None, option("PATH", "VQTHEORY_DATA, else one photograph")] = None,
    size: Annotated[str | None, option("INT", "64")] = None,
    steps: Annotated[str | None, option("INT", "2000")] = None,
    batch_size: Annotated[str | None, option("INT", "16")] = None,
    lr: Annotated[str | None, option("REAL", "5e-4")] = None,
    lr_decay: Annotated[str | None, option("REAL", "1.0")] = None,
    codebook_optimizer: Annotated[str | None, option("{adam,sgd}", "adam")] = None,
    codebook_lr: Annotated[str | None, option("REAL", "lr")] = None,
    clip: Annotated[str | None, option("REAL", "none")] = None,
    beta: Annotated[str | None, option("REAL", "0.25")] = None,
    estimator: Annotated[str | None, option("{straight-through,rotation,code-gradient}", "straight-through")] = None,
    amp: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    seed: Annotated[str | None, option("INT", "0")] = None,
    records: Annotated[str | None, option("INT", "20")] = None,
    latents: Annotated[tuple[str, str] | None, option("START STOP")] = None,
    save: Annotated[Path | None, option("FOLDER")] = None,
    resume: Annotated[Path | None, option("FOLDER")] = None,
) -> None:
    """Train a VQ-VAE on images, and tell how many codes it uses. Needs torch: pip install torch.

    With several processes: torchrun --nproc-per-node 2 -m vqtheory train ...

    Args:
        rule: How the codebook moves: vq, ema, nsvq, transvq, simvq, cosine, or a call such as "NSVQ(bandwidth=0.1)".
        codes: How many codes.
        dim: Dimensions of the latents.
        codebook_dim: Dimensions of the codes, where latents are projected to fewer.
        model: Sizes of encoder and decoder; small trains on a CPU, paper is that of the published experiments.
        data: A folder or a .zip of images, or .parquet files with the column image, such as copies of CelebA-HQ.
        size: Pixels along a side; the images' central square is scaled to it.
        steps: Updates.
        batch_size: Images in an update, of all processes together.
        lr: Rate of Adam.
        lr_decay: Its factor from epoch to epoch; 0.995 in the published experiments.
        codebook_optimizer: Of the codes; sgd is the simulator's rule with the step size 2 lr / dim.
        codebook_lr: Rate of the codes.
        clip: Largest norm of the gradient. That of the codebook is never clipped.
        beta: Weight of the commitment loss.
        estimator: How the decoder's gradient passes the quantizer.
        amp: Compute convolutions in bfloat16.
        seed: The same seed gives the same run on a CPU.
        records: Rows of the history.
        latents: Keep the latents and codes of these updates as latents.npy and codes.npy in the folder, for Recorded; they
            are each update's own batch, so that what moves from one to the next is not the encoder alone.
        save: Keep the run in this folder, up to date while it goes on.
        resume: Go on with the run in this folder, further with --steps.
    """
    given: dict[str, Any] = {"rule": rule, "model": model, "data": data, "estimator": estimator}
    numbers = {"codes": codes, "dim": dim, "codebook_dim": codebook_dim, "size": size, "steps": steps, "seed": seed}
    numbers |= {"batch_size": batch_size, "lr": lr, "lr_decay": lr_decay, "codebook_lr": codebook_lr, "clip": clip}
    numbers |= {"beta": beta, "records": records}
    given |= {name: number(text) for name, text in numbers.items() if text is not None}
    given |= {"codebook_optimizer": codebook_optimizer, "latents": latents and tuple(map(number, latents))}
    given |= {"amp": amp or None}
    try:
        from vqtheory.nn._command import run_training
    except ImportError as error:
        raise ValueError(str(error)) from None
    run_training({name: value for name, value in given.items() if value is not None}, save, resume)
