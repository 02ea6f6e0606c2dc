"""Stacks of quantizers, each level by any rule of `vqtheory.nn.VectorQuantize`.

======================  ===========================================  =======================================
class                   a latent becomes                             indices
======================  ===========================================  =======================================
`ResidualQuantize`      a sum of one code of each level              [.., L]
`GroupedQuantize`       its groups of dimensions, each a code or a   [.., G], or [.., G, L] with levels
                        sum of codes
`MultiHeadQuantize`     the same from one codebook for all groups    [.., H]
`MultiScaleQuantize`    a sum of maps of codes of growing size       a tuple, [b, h_s, w_s] of each size
======================  ===========================================  =======================================
"""

from vqtheory.nn.stacks.grouped import GroupedQuantize, MultiHeadQuantize
from vqtheory.nn.stacks.level import Level, Stacked, StackInfo
from vqtheory.nn.stacks.residual import ResidualQuantize
from vqtheory.nn.stacks.scales import MultiScaleQuantize
from vqtheory.nn.stacks.usage import TupleUsage, tuple_usage

__all__ = [
    "GroupedQuantize",
    "Level",
    "MultiHeadQuantize",
    "MultiScaleQuantize",
    "ResidualQuantize",
    "StackInfo",
    "Stacked",
    "TupleUsage",
    "tuple_usage",
]
