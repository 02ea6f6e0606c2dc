"""Rules: how a codebook moves after the latents. One file per rule, the rule's whole story."""

from vqtheory.rules.vq import VQ, VQState

__all__ = ["VQ", "VQState"]
