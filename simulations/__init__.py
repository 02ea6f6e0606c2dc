"""One file per experiment: each runs a grid of simulations and writes one table.

Run them from the checkout: ``python -m simulations``, or one: ``python -m simulations toy``.
"""

STUDIES = ("faces",)  # that take hours: run by their names alone; their tables come along in paper_figures/data
EXPERIMENTS = (
    "toy",
    "shrinking",
    "convergence",
    "drift",
    "tangent",
    "survivors",
    "hysteresis",
    "dimensions",
    "phase",
    "bias",
    "capture",
    "claims",
)
