"""The subcommands on models in training: train, evaluate, compare."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import tyro

from vqtheory._options import Folder, command, number, option, picture_file


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
    codebook_lr: Annotated[str | None, option("REAL|TEXT", "lr")] = None,
    clip: Annotated[str | None, option("REAL", "none")] = None,
    beta: Annotated[str | None, option("REAL", "0.25")] = None,
    replace_every: Annotated[str | None, option("INT", "never")] = None,
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
        rule: How the codebook moves: vq, ema, nsvq, transvq, simvq, cosine, or a call such as "NSVQ(bandwidth=0.1)". By name
            nsvq is "NSVQ(form='softmax', bandwidth=exponential(2.0, half_life=STEPS/10))", which needs a --codebook-lr
            that lets codes follow, about 0.04.
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
        codebook_lr: Rate of the codes, or a schedule of it, such as "exponential(0.04, half_life=300)".
        clip: Largest norm of the gradient. That of the codebook is never clipped.
        beta: Weight of the commitment loss.
        replace_every: After so many updates each, put codes that were not chosen since on latents; a treatment of its own.
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
    numbers |= {"beta": beta, "replace_every": replace_every, "records": records}
    given |= {name: number(text) for name, text in numbers.items() if text is not None}
    given |= {"codebook_optimizer": codebook_optimizer, "latents": latents and tuple(map(number, latents))}
    given |= {"amp": amp or None}
    _torch("_command").run_training({name: value for name, value in given.items() if value is not None}, save, resume)


@command
def evaluate(
    folder: Folder,
    /,
    *,
    data: Annotated[str | None, option("PATH", "that of the training")] = None,
    images: Annotated[str | None, option("INT", "all")] = None,
    features: Annotated[str | None, option("FILE.pt")] = None,
    lpips: Annotated[str | None, option("FILE.pt")] = None,
    save: Annotated[Path | None, option("FOLDER|FILE", "the training's folder")] = None,
    picture: Annotated[Path | None, option("FILE.png", "reconstructions.png in the folder")] = None,
) -> None:
    """Measure a training on its test images: codes used, distortion, PSNR, SSIM; rFID and LPIPS with networks of yours.

    Args:
        folder: The --save folder of train.
        data: Other images, or where the training's own are now: a folder, a .zip or .parquet files. Its test part is used.
        images: How many of the test images, equally far apart.
        features: For rFID, a TorchScript network from uint8 images [n, 3, H, W] to features [n, d], such as the Inception
            of the FID literature, inception-2015-12-05.pt. Its code is run: take only files that you trust.
        lpips: For LPIPS, a TorchScript network from images and reconstructions in [-1, 1] to distances [n]. Its code is run.
        save: Where evaluation.md and evaluation.parquet go; or one .md, .csv or .parquet file.
        picture: Where to draw images and reconstructions; .pdf, .svg and .jpg too.
    """
    given = {"data": data, "images": None if images is None else number(images), "features": features, "lpips": lpips}
    _torch("_evaluations").run_evaluate(folder, given, save, None if picture is None else picture_file(picture))


@command
def compare(
    folders: Annotated[tuple[Path, ...], tyro.conf.Positional, option("FOLDER FOLDER ...")],
    /,
    *,
    data: Annotated[str | None, option("PATH", "that of the trainings")] = None,
    images: Annotated[str | None, option("INT", "all")] = None,
    features: Annotated[str | None, option("FILE.pt")] = None,
    lpips: Annotated[str | None, option("FILE.pt")] = None,
    save: Annotated[Path | None, option("FOLDER|FILE", "here")] = None,
    picture: Annotated[Path | None, option("FILE.png", "compare.png in the folder")] = None,
) -> None:
    """Measure trainings on the same test images: a table with a row for each, and a picture.

    The table tells what differs between their settings, and has the best of each column in bold. A difference smaller than
    that between two seeds of one setting says nothing: train each with several.

    Args:
        folders: The --save folders of train, on images of one size.
        data: The images for all, where the trainings were on different ones. Their test part is used.
        images: How many of the test images, equally far apart.
        features: For rFID, a TorchScript network, see vqtheory evaluate --help.
        lpips: For LPIPS, a TorchScript network, see there.
        save: The folder for compare.md and compare.parquet; or one .md, .csv or .parquet file.
        picture: Where to draw what each brings back of the same images; .pdf, .svg and .jpg too.
    """
    given = {"data": data, "images": None if images is None else number(images), "features": features, "lpips": lpips}
    _torch("_evaluations").run_compare(folders, given, save, None if picture is None else picture_file(picture))


def played_again(folder: Path) -> Any:
    """What the simulator makes of the recorded window of a training."""
    return _torch("bridge").replay(folder)


def _torch(name: str) -> Any:
    """A module of vqtheory.nn."""
    try:
        return import_module(f"vqtheory.nn.{name}")
    except ImportError as error:
        raise ValueError(str(error)) from None
