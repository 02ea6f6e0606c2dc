"""`vqtheory train`."""

from __future__ import annotations

import io
import math
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from vqtheory._base import check
from vqtheory._base.folder import HISTORY, MANIFEST, verified
from vqtheory.cli.options import number, option, say, torch_module

if TYPE_CHECKING:
    from vqtheory.nn.training import TrainingRun


def train(
    *,
    rule: Annotated[str | None, option("TEXT", "vq; graph with vqct")] = None,
    codes: Annotated[str | None, option("INT", "1024")] = None,
    dim: Annotated[str | None, option("INT", "64")] = None,
    codebook_dim: Annotated[str | None, option("INT", "dim")] = None,
    model: Annotated[str | None, option("NAME", "small")] = None,
    prior: Annotated[str | None, option("FOLDER")] = None,
    degradation: Annotated[str | None, option("TEXT", "Degradation()")] = None,
    gate: Annotated[str | None, option("{learned,entropy}", "learned")] = None,
    budget: Annotated[str | None, option("REAL", "0.5")] = None,
    data: Annotated[str | None, option("PATH", "VQTHEORY_DATA, else one photograph")] = None,
    size: Annotated[str | None, option("INT", "64")] = None,
    steps: Annotated[str | None, option("INT", "2000")] = None,
    batch_size: Annotated[str | None, option("INT", "16")] = None,
    lr: Annotated[str | None, option("REAL", "5e-4")] = None,
    lr_decay: Annotated[str | None, option("REAL", "1.0")] = None,
    codebook_optimizer: Annotated[str | None, option("{adam,sgd}", "adam")] = None,
    codebook_lr: Annotated[str | None, option("REAL|TEXT", "lr")] = None,
    clip: Annotated[str | None, option("REAL", "none")] = None,
    beta: Annotated[str | None, option("REAL", "0.25")] = None,
    perceptual: Annotated[str | None, option("FILE.pt")] = None,
    perceptual_weight: Annotated[str | None, option("REAL", "1.0")] = None,
    adversarial: Annotated[str | None, option("FILE.pt")] = None,
    adversarial_weight: Annotated[str | None, option("REAL", "0.1")] = None,
    replace_every: Annotated[str | None, option("INT", "never")] = None,
    replace_policy: Annotated[str | None, option("{random,count,oldest,split}", "random")] = None,
    transport: Annotated[str | None, option("INT", "never")] = None,
    transport_images: Annotated[str | None, option("INT", "batch_size")] = None,
    transport_neighbours: Annotated[str | None, option("INT", "1")] = None,
    estimator: Annotated[str | None, option("TEXT", "straight-through")] = None,
    codebook_weight: Annotated[str | None, option("REAL", "1.0")] = None,
    alternate: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    amp: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    seed: Annotated[str | None, option("INT", "0")] = None,
    quantize_from: Annotated[str | None, option("INT", "0")] = None,
    freeze_encoder_at: Annotated[str | None, option("INT", "never")] = None,
    validation: Annotated[str | None, option("INT", "0")] = None,
    records: Annotated[str | None, option("INT", "20")] = None,
    latents: Annotated[tuple[str, str] | None, option("START STOP")] = None,
    in_memory: Annotated[str | None, option("BYTES", "2^31")] = None,
    save: Annotated[Path | None, option("FOLDER")] = None,
    resume: Annotated[Path | None, option("FOLDER")] = None,
) -> None:
    """Train a VQ-VAE on images, and say how many codes it uses. Needs torch: pip install '.[torch]' in the checkout.

    With several processes: torchrun --nproc-per-node 2 -m vqtheory train ...; on several hosts: docs/clusters.md.

    Args:
        rule: How the codebook moves: a name such as vq, ema, nsvq or transvq, or a call such as "EMA(decay=0.9)". To compare
            with: fsq, lfq, bsq and expiring-ema, of the package vector-quantize-pytorch.
        codes: How many codes.
        dim: Dimensions of the latents.
        codebook_dim: Dimensions of the codes, where latents are projected to fewer.
        model: What is around the codebook: a plain autoencoder that trains on a CPU (small) or is that of the published
            experiments (paper), or DQ-VAE, which codes flat regions by few tokens (dq-vae of two grains, dq-vae-triple of
            three, dq-vae-paper), or VQCT, whose codes are adjectives and nouns of a graph (vqct, vqct-paper),
            or stage 2 of VQFR, which restores degraded images (vqfr, vqfr-paper).
        prior: With VQFR, the --save folder of stage 1: a training with --model small, or paper for vqfr-paper.
        degradation: With VQFR, how images are made worse, such as "Degradation(noise=[0, 10], quality=None)".
        gate: What chooses the grain of a region in DQ-VAE: a network (learned), or the entropy of its gray values
            (entropy).
        budget: The share of regions that DQ-VAE codes by its finest grain.
        data: A folder or a .zip of images, or .parquet files with the column image, such as copies of CelebA-HQ.
        size: Pixels along a side; the images' central square is scaled to it.
        steps: Updates.
        batch_size: Images in an update, of all processes together.
        lr: Rate of Adam.
        lr_decay: Its factor from epoch to epoch; 0.995 in the published experiments.
        codebook_optimizer: Of the codes; sgd is the simulator's rule with the step size 2 lr / dim.
        codebook_lr: Rate of the codes, or a schedule of it, such as "exponential(0.04, half_life=300)".
        clip: Largest norm of the gradient. That of the codebook is never clipped.
        beta: Weight of the commitment loss.
        perceptual: A TorchScript network from images in [-1, 1] to features, which are compared too. Its code is run: take
            only files that you trust.
        perceptual_weight: Weight of their mean squared error.
        adversarial: A TorchScript discriminator of images in [-1, 1], trained beside the model. Its code is run.
        adversarial_weight: Weight of the adversarial loss.
        replace_every: After so many updates each, put codes that were not chosen since on latents; optional, off by default.
        replace_policy: Which codes are replaced: those without a hit since (random), with a low running count (count), or
            without a hit for so many updates (oldest); or those without a hit, put into the worst cells (split).
        transport: After so many updates each, move every code as the nearest latents of one fixed batch have moved since;
            optional, off by default. 10 costs little.
        transport_images: How many images transport follows.
        transport_neighbours: Over how many of the nearest latents a move is averaged.
        estimator: How the decoder's gradient passes the quantizer: straight-through, rotation, rotation-centred,
            rotation-tangent, rotation-unscaled, reflection, diveq, space-filling-diveq, gumbel, synchronised or
            code-gradient, or a call such as "GumbelSoftmax(temperature=exponential(1.0, half_life=500))".
        codebook_weight: Weight of the codebook loss.
        alternate: Let the codebook's optimizer take its step first, so that the decoder is given the codes after it.
        amp: Compute convolutions in bfloat16.
        seed: The same seed gives the same run on a CPU with the same number of threads.
        quantize_from: The first update that quantizes; until then the decoder is given the latents as they are.
        freeze_encoder_at: The update from which the encoder stays as it is, while codes and decoder go on.
        validation: So many images are left out of the training, for vqtheory evaluate --part validation.
        records: Rows of the history.
        latents: Keep the latents and codes of these updates as latents.npy and codes.npy in the folder, for Recorded; they
            are each update's own batch, so that what moves from one to the next is not the encoder alone.
        in_memory: Decoded images of more bytes than this are not held in memory; each is decoded when it is needed, by
            processes that read ahead. The bits are the same.
        save: Keep the run in this folder, up to date while it goes on.
        resume: Go on with the run in this folder, further with --steps.
    """
    options: dict[str, Any] = {"rule": rule, "model": model, "gate": gate, "data": data, "estimator": estimator}
    options |= {"replace_policy": replace_policy, "prior": prior, "degradation": degradation}
    options |= {"perceptual": perceptual, "adversarial": adversarial}
    numbers = {"codes": codes, "dim": dim, "codebook_dim": codebook_dim, "size": size, "steps": steps, "seed": seed}
    numbers |= {"batch_size": batch_size, "lr": lr, "lr_decay": lr_decay, "codebook_lr": codebook_lr, "clip": clip}
    numbers |= {"codebook_weight": codebook_weight, "budget": budget}
    numbers |= {"perceptual_weight": perceptual_weight, "adversarial_weight": adversarial_weight}
    numbers |= {"beta": beta, "replace_every": replace_every, "transport": transport, "records": records}
    numbers |= {
        "transport_images": transport_images,
        "transport_neighbours": transport_neighbours,
        "quantize_from": quantize_from,
        "freeze_encoder_at": freeze_encoder_at,
        "validation": validation,
        "in_memory": in_memory,
    }
    options |= {name: number(text) for name, text in numbers.items() if text is not None}
    options |= {"codebook_optimizer": codebook_optimizer, "latents": latents and tuple(map(number, latents))}
    options |= {"amp": amp or None, "alternate": alternate or None}
    run_training({name: value for name, value in options.items() if value is not None}, save, resume)


def run_training(options: dict[str, Any], save: Path | None, folder: Path | None) -> None:
    """Train with these options, or resume the folder's run, and say what came out."""
    if folder is not None and (save is not None or set(options) - {"steps", "in_memory"}):
        wanted = "alone, or with --steps and --in-memory: the rest is the folder's"
        raise check.fail("train", "resume", wanted, str(folder))
    kept = folder or save
    try:
        training = torch_module("training")
        run = training.train(**options, save=save) if folder is None else training.resume(folder, **options)
    except KeyboardInterrupt:
        if kept is None:
            raise KeyboardInterrupt("Nothing was kept: --save FOLDER makes a run that can be resumed.") from None
        if not (kept / MANIFEST).is_file():
            raise KeyboardInterrupt("Nothing was kept yet.") from None
        raise KeyboardInterrupt(_going_on(kept)) from None
    except BrokenPipeError:  # of whoever reads the bar, and not of another process of the training
        raise
    except ConnectionError as lost:
        raise ConnectionError(f"{lost} {_going_on(kept)}" if kept and (kept / MANIFEST).is_file() else str(lost)) from None
    if os.environ.get("RANK", "0") != "0":  # of torchrun's processes the first one speaks
        return
    say(sentences(run))
    if kept is not None:
        say(f"Run: {kept}; to go further, with --steps: vqtheory train --resume {shlex.quote(str(kept))}")


def _going_on(kept: Path) -> str:
    return f"Kept up to update {_kept_steps(kept):,}. Go on with: vqtheory train --resume {shlex.quote(str(kept))}"


def _kept_steps(folder: Path) -> int:
    """Updates in the last checkpoint, each of which is at a row of the history."""
    import polars as pl

    rows = pl.read_parquet(io.BytesIO(verified(folder, [HISTORY])[HISTORY]))
    return int(rows["step"][-1]) if len(rows) else 0


def sentences(run: TrainingRun) -> str:
    """What came out."""
    config, row = run.config, run.rows[-1]
    since = run.rows[-2]["step"] if len(run.rows) > 1 else 0
    psnr = 10 * math.log10(4 / row["reconstruction"])  # images span [-1, 1]
    default = type(config)(config.rule)
    about = f"{config.rule!r} in the {config.model} VQ-VAE" + ("" if config == default else f", of {config!r}")
    return (
        f"{about}.\nAfter {run.step:,} updates {row['used']:,} of {config.codes:,} codes are used from update "
        f"{since + 1:,} on (perplexity {row['perplexity']:.1f}), and images come back at {psnr:.1f} dB."
    )
