"""What is measured of a trained VQ-VAE on images: codebook, pixels, and what other networks say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vqtheory import measure
from vqtheory._base.extras import missing
from vqtheory.nn.branches import selected
from vqtheory.nn.evaluation.frechet import frechet_distance
from vqtheory.nn.foreign import compared
from vqtheory.nn.networks import Network
from vqtheory.nn.ops.mode import evaluating
from vqtheory.nn.ops.processes import device
from vqtheory.nn.training.run import TrainingRun
from vqtheory.nn.training.streamed import Pictures

_WINDOW = 11  # of SSIM, pixels
_SCALES = 16 * _WINDOW  # the fifth scale of MS-SSIM is a sixteenth, and has to hold a window
_FEW = 20  # latents per code: with fewer, a code that lives may be chosen by none
_FEATURES_MISSING = (
    "needs --features FILE.pt, a TorchScript network from uint8 images [n, 3, H, W] to features [n, d], "
    "such as the Inception of the FID literature, inception-2015-12-05.pt"
)
_LPIPS_MISSING = (
    "needs --lpips FILE.pt, a TorchScript network from images and reconstructions in [-1, 1] to distances [n], "
    "such as torch.jit.trace(lpips.LPIPS(), (x, x)) saves it"
)


class Row(NamedTuple):
    """A metric, its value if it is known, and what it is or why it is not."""

    metric: str
    value: float | None
    note: str


class Networks(NamedTuple):
    """The networks that judge images, where they are given."""

    features: Network | None = None
    lpips: Network | None = None


@torch.no_grad()
def of_images(run: TrainingRun, images: Pictures, networks: Networks, size: int, progress: bool) -> dict[str, np.ndarray]:
    """What is measured of each of the images, uint8 [N, H, W, 3], in batches of `size`: arrays [N, ...]."""
    starts = range(0, len(images), size)
    bar = tqdm(starts, repr(run.config.rule), unit=" batches", disable=not progress, leave=False)
    with bar, evaluating(run.model):
        batches = [_of_batch(run, _tensor(images[start : start + size]), networks) for start in bar]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


@torch.no_grad()
def reconstructions(run: TrainingRun, images: np.ndarray) -> dict[str, np.ndarray]:
    """Images, uint8 [N, H, W, 3], there and back as "reconstruction", and what the model has beside that."""
    x = _scaled(_tensor(images))
    with evaluating(run.model):
        shown = run.model.alternatives(x) | {"reconstruction": run.model(x).images}
    return {name: _eight_bit(pictures).permute(0, 2, 3, 1).cpu().numpy() for name, pictures in shown.items()}


def _tensor(images: Pictures) -> Tensor:
    """uint8 [n, 3, H, W] on the device; a copy, since the images themselves cannot be written to."""
    return torch.from_numpy(np.array(images)).to(device()).permute(0, 3, 1, 2)


def _scaled(images: Tensor) -> Tensor:
    return images.to(torch.get_default_dtype()) / 127.5 - 1


def _eight_bit(images: Tensor) -> Tensor:
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def _of_batch(run: TrainingRun, images: Tensor, networks: Networks) -> dict[str, np.ndarray]:
    x = _scaled(images)
    output = run.model(x)
    found = _of_latents(run.quantizer, output.latents, output.quantized.indices) | _of_pixels(x, output.images)
    for name, others in run.model.alternatives(x).items():
        found |= {f"{metric}_{name}": values for metric, values in _of_pixels(x, others).items()}
    if networks.features is not None:
        pair = images.contiguous(), _eight_bit(output.images)
        found["features"] = torch.stack([networks.features.features(each) for each in pair], dim=1)
    if networks.lpips is not None:
        found["lpips"] = networks.lpips.distances(x, output.images)
    return {name: value.cpu().numpy() for name, value in found.items()}


def _of_latents(quantizer: Any, latents: Tensor, indices: Tensor) -> dict[str, Tensor]:
    """Indices [n, ...], and means over the latents of an image in the codes' own space: |z - c|^2, z [n, D] and |z|^2.

    Of latents that are masked or not finite, whose indices are -1, nothing is measured; `latents` says how many are left.
    Where none is, the means are 0.
    """
    chosen, valid = selected(quantizer, indices)
    indices, weights = indices.flatten(1), valid.reshape(len(indices), -1).double()
    z = compared(quantizer, latents, quantizer.codebook).double().masked_fill(~valid.reshape(-1, 1), 0)
    error = z - chosen.double()
    squares = torch.stack([error.square().sum(dim=1), z.square().sum(dim=1)]).reshape(2, len(indices), -1)
    count = weights.sum(dim=1)
    number = count.clamp_min(1)
    distortion, square = (squares * weights).sum(dim=2) / number
    mean = z.reshape(len(indices), -1, z.shape[1]).sum(dim=1) / number[:, None]
    return {"indices": indices, "latents": count, "distortion": distortion, "mean": mean, "square": square}


def similarities() -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """SSIM and MS-SSIM of torchmetrics, without which all but an evaluation works."""
    try:
        from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim
        from torchmetrics.functional.image import structural_similarity_index_measure as ssim
    except ImportError as error:
        raise ImportError(missing("An evaluation", "torchmetrics", "torch")) from error
    return ssim, ms_ssim  # type: ignore[return-value]


def _of_pixels(images: Tensor, others: Tensor) -> dict[str, Tensor]:
    x, y = (images + 1) / 2, (others + 1) / 2
    found = {"psnr": -10 * torch.log10((x - y).square().mean(dim=(1, 2, 3)))}
    ssim, ms_ssim = similarities()
    if x.shape[-1] >= _WINDOW:
        found["ssim"] = ssim(y, x, data_range=1.0, reduction="none")
    if x.shape[-1] >= _SCALES:
        found["ms_ssim"] = ms_ssim(y, x, data_range=1.0, reduction="none")
    return found


def summary(run: TrainingRun, found: dict[str, np.ndarray], source: str, networks: Networks) -> list[Row]:
    """The rows of an evaluation, from what was measured of each image."""
    return [*_codebook(run, found, source), *_fidelity(run.config.size, found), *_judged(found, networks)]


def _codebook(run: TrainingRun, found: dict[str, np.ndarray], source: str) -> list[Row]:
    num_codes, num_images, count = run.config.codes, len(found["indices"]), found["latents"]
    if not count.any():
        raise ValueError(
            f"Nothing can be measured of {run.config.rule!r}: it quantizes none of the latents of these images."
        )
    indices = found["indices"].ravel()
    hits = np.bincount(indices[indices >= 0], minlength=num_codes)
    few = (
        f"; fewer than {_FEW} latents per code, so that codes that live may be missed"
        if hits.sum() < _FEW * num_codes
        else ""
    )
    distortion, square = (float(np.average(found[name], weights=count)) for name in ("distortion", "square"))
    variance = square - float(np.sum(np.average(found["mean"], axis=0, weights=count) ** 2))
    relative = distortion / variance if variance > 0 else None
    return [
        Row("images", num_images, f"test images, of {source}"),
        Row("latents", int(count.sum()), _per_image(count)),
        Row("used", int(np.sum(hits > 0)), f"codes that some latent of these images chooses{few}"),
        Row("usage", measure.usage(hits), "used as a share of the codes"),
        Row("perplexity", measure.perplexity(hits), "exp of the entropy of the choices; at most the number of codes"),
        Row("distortion", distortion, "mean squared distance of latents to their codes, summed over the dimensions"),
        Row("relative_distortion", relative, "distortion over the latents' variance; 1 is what one code at their mean has"),
    ]


def _per_image(count: np.ndarray) -> str:
    """The mean number of latents, with a decimal where it has one."""
    mean = float(count.mean())
    return f"{mean:,.0f} per image" if mean.is_integer() else f"{mean:,.1f} per image"


def _fidelity(size: int, found: dict[str, np.ndarray]) -> list[Row]:
    windows = f"in Gaussian windows of {_WINDOW} pixels, sigma 1.5, mirrored at the border"
    notes = {
        "psnr": (1, "dB; mean over images of -10 log10 of the mean squared error, pixels in [0, 1]"),
        "ssim": (_WINDOW, f"structural similarity {windows}; mean over images"),
        "ms_ssim": (_SCALES, "SSIM over five scales; mean over images"),
    }
    rows = [
        Row(name, _mean(found[name]), note)
        if name in found
        else Row(name, None, f"needs {least} pixels a side; these are {size}")
        for name, (least, note) in notes.items()
    ]
    beside = [(name, metric) for name in found for metric in notes if name.startswith(f"{metric}_") and name not in notes]
    return rows + [
        Row(name, _mean(found[name]), f"{metric} of {name.removeprefix(f'{metric}_')!r} in the picture")
        for name, metric in beside
    ]


def _mean(values: np.ndarray) -> float:
    """Over the images."""
    return float(values.mean(dtype=np.float64))


def _judged(found: dict[str, np.ndarray], networks: Networks) -> list[Row]:
    rows = [Row("rfid", None, _FEATURES_MISSING), Row("lpips", None, _LPIPS_MISSING)]
    if networks.features is not None:
        rows[0] = _rfid(found["features"].astype(np.float64), networks.features.path.name)
    if networks.lpips is not None:
        rows[1] = Row("lpips", _mean(found["lpips"]), f"mean over images of the distance by {networks.lpips.path.name}")
    return rows


def _rfid(features: np.ndarray, network: str) -> Row:
    """The Fréchet distance of features [N, 2, d] of images and reconstructions."""
    count, _, dim = features.shape
    if count < 2:
        return Row("rfid", None, "needs two images or more")
    moments = [(each.mean(axis=0), np.atleast_2d(np.cov(each, rowvar=False))) for each in features.swapaxes(0, 1)]
    note = f"Fréchet distance of {dim:,} features by {network}, images to reconstructions"
    few = f"; {count:,} images are too few for {dim:,} features, compare it on these images only" if count <= dim else ""
    return Row("rfid", frechet_distance(*moments[0], *moments[1]), note + few)
