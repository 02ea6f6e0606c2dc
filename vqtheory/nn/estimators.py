"""How the decoder's gradient passes the quantizer, which has none of its own.

=================  ======================================================  ==========================
straight-through   z_q = z + sg(c - z)                                     Bengio et al. 2013
code-gradient      z_q = z + a c + sg((1 - a) c - z)                       Lu et al., arXiv 2602.18896
rotation           z_q = sg(|c|/|z| R) z, R turning z/|z| to c/|c|         Fifty et al., arXiv 2410.06424
=================  ======================================================  ==========================

All give z_q = c up to rounding. With straight-through and code-gradient the latent gets the decoder's gradient g as it
is; with code-gradient the chosen code gets a g as well, a = 2 alpha / (number of elements of z, of all processes),
which makes it chase z - dL/dz_q (`vqtheory.theory.straight_through_target`). The rotation turns g as it turned z.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from vqtheory.nn.ops import processes


def straight_through(latents: Tensor, chosen: Tensor, alpha: float | Tensor) -> Tensor:
    """The codes [N, D], with the gradient of the latents [N, D]."""
    return latents + (chosen - latents).detach()


def code_gradient(latents: Tensor, chosen: Tensor, alpha: float | Tensor) -> Tensor:
    """The codes, with a gradient for the latents and a share of it for the codes."""
    share = 2 * alpha / (latents.numel() * processes.world_size())
    return latents + share * chosen + ((1 - share) * chosen - latents).detach()


def rotation(latents: Tensor, chosen: Tensor, alpha: float | Tensor) -> Tensor:
    """The codes, with the gradient turned by the rotation that takes each latent's direction to its code's.

    With e and q the directions and h = (e + q) / |e + q| the rotation is 1 - 2 h h' + 2 q e'. A latent or a code of
    length 0 has no direction and gets the straight-through gradient.
    """
    with torch.no_grad():
        length, reach = latents.norm(dim=1, keepdim=True), chosen.norm(dim=1, keepdim=True)
        tiny = torch.finfo(latents.dtype).tiny
        e, q = latents / length.clamp_min(tiny), chosen / reach.clamp_min(tiny)
        h = torch.nn.functional.normalize(e + q, dim=1)
        turns = (length > 0) & (reach > 0) & ((e + q).norm(dim=1, keepdim=True) > 0)
    turned = latents - 2 * h * (h * latents).sum(dim=1, keepdim=True) + 2 * q * (e * latents).sum(dim=1, keepdim=True)
    scaled = turned * (reach / length.clamp_min(tiny))
    return torch.where(turns, scaled, latents + (chosen - latents).detach())


ESTIMATORS: dict[str, Callable[[Tensor, Tensor, float | Tensor], Tensor]] = {
    "straight-through": straight_through,
    "code-gradient": code_gradient,
    "rotation": rotation,
}
