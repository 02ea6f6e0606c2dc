"""The codebook of each rule as a torch module: a mirror of `vqtheory.rules`."""
