"""One file per experiment: each runs a grid of simulations and writes one table.

Run them from the checkout: ``python -m simulations``, or one: ``python -m simulations toy``.
"""

STUDIES = {  # whose tables are bundled, in paper_figures/data: they take hours, data of your own, or an idle machine
    "faces": "python -m simulations faces",
    "stacks_faces": "python -m simulations.stacks_faces",
    "benchmarks": "python -m simulations.benchmarks",
    "claims": "python -m simulations.claims",
}
EXPERIMENTS = (
    "toy",
    "shrinking",
    "convergence",
    "drift",
    "tangent",
    "survivors",
    "hysteresis",
    "dimensions",
    "potential",
    "mobilities",
    "phase",
    "bias",
    "capture",
    "rotation",
    "transfer",
    "stacks",
)
