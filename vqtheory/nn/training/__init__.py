"""Training a VQ-VAE: what is asked for, the loop, its record, the images, and the replay by the simulator."""

from vqtheory.nn.training.config import TrainingConfig
from vqtheory.nn.training.loop import resume, train
from vqtheory.nn.training.run import TrainingRun

__all__ = ["TrainingConfig", "TrainingRun", "resume", "train"]
