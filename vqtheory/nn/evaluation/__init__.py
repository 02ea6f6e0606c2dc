"""What a trained VQ-VAE does on test images: usage, distortion, PSNR, SSIM, and what networks of yours say."""

from vqtheory.nn.evaluation.frechet import frechet_distance
from vqtheory.nn.evaluation.measure import Comparison, Evaluation, compare, evaluate
from vqtheory.nn.evaluation.report import keep

__all__ = ["Comparison", "Evaluation", "compare", "evaluate", "frechet_distance", "keep"]
