"""One file per figure: each a pure function of a results table.

Draw them from the checkout: ``python -m paper_figures``; simulations that are missing are run first. What is drawn of a
law has the group id "law", and a test holds it against the law.
"""

FIGURES = (
    "toy",
    "toy_usage",
    "toy_animation",
    "shrinking",
    "convergence",
    "drift",
    "tangent",
    "tangent_table",
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
    "claims",
    "faces",
    "faces_reconstructions",
    "faces_sizes",
    "faces_ablation",
    "faces_prediction",
    "faces_table",
    "benchmarks",
)
FAST = (  # of --fast: first what is drawn from bundled tables, then what simulations of a few seconds give
    "faces",
    "faces_reconstructions",
    "faces_sizes",
    "faces_ablation",
    "faces_prediction",
    "faces_table",
    "benchmarks",
    "toy",
    "toy_usage",
    "toy_animation",
    "shrinking",
    "hysteresis",
    "survivors",
    "dimensions",
    "potential",
    "bias",
    "capture",
    "claims",
)
