"""Operators and process plumbing: the layer's ground floor."""
