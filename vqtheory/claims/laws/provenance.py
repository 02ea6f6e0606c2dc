"""Where claims are from, and which runs were made before they were stated."""

PAPER = "Lu et al., arXiv 2602.18896"
DERIVED = "derived here"
OBSERVED = "measured here"
MEASURED = "form derived, constant or range measured here"
SEEN = range(8)  # seeds of earlier runs: 0 in full, 0, 1 and 7 in quick ones and in tests
