"""The ground floor: it knows nothing of quantization, and imports nothing of the package."""
