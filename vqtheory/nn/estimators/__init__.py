"""How the decoder's gradient passes the quantizer, which has none of its own.

With z a latent, c its nearest code, e and q their directions, g the decoder's gradient dL/dz_q and sg(.) held constant:

===================  ==================================================  ==========================================
straight-through     z_q = z + sg(c - z)                                 Bengio et al. 2013
code-gradient        z_q = z + a c + sg((1 - a) c - z)                   Lu et al., arXiv 2602.18896
synchronised         z_q = z + sg(c - z) + nu (c - sg(c))                Huh et al., arXiv 2305.08842
rotation             z_q = sg(|c|/|z| R) z, R turning e to q             Fifty et al., arXiv 2410.06424
rotation-centred     the same about the mean of all codes                derived here
rotation-tangent     z_q = sg(|c| R) z/|z|                               its code for VQGAN
rotation-unscaled    z_q = R z/|z| + sg(c - R e), R held constant        its code, without the scale
reflection           z_q = sg(|c|/|z| H) z, H = 1 - 2 w w'               its code; w has the direction of e - q
diveq                z_q = z + |c - z| sg(v), v the direction to c       Vali et al., arXiv 2509.26469
space-filling-diveq  the same, towards both ends of a segment of codes   Vali et al., arXiv 2509.26469
gumbel               z_q = sum_k y_k c_k, y = softmax((l + noise)/tau)   Jang et al. 2017; Sønderby et al. 2017
===================  ==================================================  ==========================================

All but the last three give z_q = c up to rounding, in training and in evaluation, at any angle between z and c. DiVeQ does
without its noise, which is of training alone; the space-filling form goes to a point between two codes; Gumbel-softmax
mixes the codes in training, and is the straight-through lookup in evaluation. The indices are those of the nearest codes,
whatever the estimator.

R turns e to q in their plane: it is two reflections, (1 - 2 h h') (1 - 2 e e') with h the direction of e + q. Where e and q
are opposite up to rounding, or one of them is no direction, the gradient passes straight through.
"""

from __future__ import annotations

from vqtheory._base import check
from vqtheory._base.config import parse, text
from vqtheory.nn.estimators.base import Estimator, Lookup
from vqtheory.nn.estimators.diveq import DiVeQ, SpaceFillingDiVeQ
from vqtheory.nn.estimators.gumbel import GumbelSoftmax
from vqtheory.nn.estimators.straight import CodeGradient, StraightThrough, Synchronised
from vqtheory.nn.estimators.turning import CentredRotation, Reflection, Rotation, TangentRotation, UnscaledRotation

__all__ = [
    "ESTIMATORS",
    "CentredRotation",
    "CodeGradient",
    "DiVeQ",
    "Estimator",
    "GumbelSoftmax",
    "Lookup",
    "Reflection",
    "Rotation",
    "SpaceFillingDiVeQ",
    "StraightThrough",
    "Synchronised",
    "TangentRotation",
    "UnscaledRotation",
    "estimator_of",
    "text_of",
]

_KINDS: tuple[type[Estimator], ...] = (
    StraightThrough,
    CodeGradient,
    Synchronised,
    Rotation,
    CentredRotation,
    TangentRotation,
    UnscaledRotation,
    Reflection,
    DiVeQ,
    SpaceFillingDiVeQ,
    GumbelSoftmax,
)
ESTIMATORS = {kind.key: kind for kind in _KINDS}


def estimator_of(owner: str, value: Estimator | str) -> Estimator:
    """An estimator, or the one of a name such as "rotation" or a text such as "DiVeQ(variance=1e-4)"."""
    if isinstance(value, str) and "(" in value:
        value = parse(value, more={kind.__name__: kind for kind in _KINDS})
    if isinstance(value, Estimator):
        return value
    return ESTIMATORS[check.choice(owner, "estimator", value, ESTIMATORS)]()


def text_of(estimator: Estimator) -> str:
    """What `estimator_of` reads: the name, where nothing differs from the defaults."""
    return estimator.key if estimator == type(estimator)() else text(estimator)
