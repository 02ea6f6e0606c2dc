"""Speed and memory, always beside a named peer in the same process and run: ``python -m simulations.benchmarks``.

=========  ====================================================================================================
online     one sample per update: the plain compiled loop, scikit-learn, a NumPy loop, and what a product allows
batch      many samples per update: scikit-learn's `partial_fit`
kernels    NSVQ per sample beside plain VQ; a step of TransVQ beside torch's
rules      every rule by its name in the simulator, beside plain VQ, and what its products allow
layer      the layer in torch, forward and backward: the published dense NSVQ, lucidrains' EMA, a dense VQ
training   an update of the face study's VQ-VAE: every method by its name beside plain VQ
scale      time per sample and memory from 2^10 to 2^18 codes in 256 dimensions
start      seconds to import the package, and to the end of a first `simulate`
kmeans     two passes over latents at hand: scikit-learn, faiss-cpu, SuperKMeans; only where it is named
gpu        the layer on a GPU: the dense formulas, lucidrains' EMA, flash-kmeans' assignment; only where it is named
=========  ====================================================================================================

`bound` is the rate that the machine's own matrix product would allow, 2 K D operations per sample at the rate of a
product of 2048 x 2048 matrices in float32 on one thread.
"""

SECTIONS = ("online", "batch", "kernels", "rules", "layer", "training", "scale", "start")
NAMED = ("kmeans", "gpu")  # sections that run only where they are named
