"""Ground truth of quantization: the least distortion that K codes can have.

Distortion is the mean squared Euclidean distance E|x - c_q(x)|^2, summed over the
dimensions and not divided by their number, here and in the whole package.

==================  =========================================  ==============================
`lloyd_max`         a density in one dimension                      exact
`optimal_1d`        samples in one dimension                        exact
`lloyd`             samples in any dimension                   best of many starts
`random_swap`       samples in any dimension                   best of many swaps of codes
`panter_dite`       a density in one dimension, K -> infinity       exact asymptote
`zador`             a density in any dimension, K -> infinity  asymptote, up to a constant
==================  =========================================  ==============================
"""

from vqtheory.reference._optimum import Optimum
from vqtheory.reference.asymptotic import cell_moment, cell_moment_bounds, gaussian_norm, panter_dite, zador
from vqtheory.reference.optimal import lloyd, lloyd_max, optimal_1d, random_swap

__all__ = [
    "Optimum",
    "cell_moment",
    "cell_moment_bounds",
    "gaussian_norm",
    "lloyd",
    "lloyd_max",
    "optimal_1d",
    "panter_dite",
    "random_swap",
    "zador",
]
