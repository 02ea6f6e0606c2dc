"""Models to train the layer in."""
