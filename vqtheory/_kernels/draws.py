"""Uniform numbers as a stateless function of (key, step, index): the same in a kernel, in NumPy and in torch.

Three rounds of a mixer of 32 bits by C. Wellons. Its factors are below 2^31, so that products of 64 bits with sign do not
overflow, and a number has 23 bits, so that in float32 too it is less than 1 after any product.
"""

from __future__ import annotations

from typing import Any

from vqtheory._kernels.jit import inlined_kernel, kernel


def _mixed(bits: Any) -> Any:
    bits = bits ^ (bits >> 16)
    bits = (bits * 0x21F0AAAD) & 0xFFFFFFFF
    bits = bits ^ (bits >> 15)
    bits = (bits * 0x735A2D97) & 0xFFFFFFFF
    return bits ^ (bits >> 15)


def uniform(key: Any, step: Any, index: Any) -> Any:
    """Numbers in [0, 1) of integers >= 0, or of integer arrays or tensors; the key and the index are below 2^32.

    Examples
    --------
    >>> uniform(7, 0, 0) == uniform(7, 0, 0), uniform(7, 0, 0) == uniform(7, 1, 0)
    (True, False)
    """
    bits = _mixed((_mixed(key ^ (step >> 32)) + step) & 0xFFFFFFFF)
    return (_mixed(bits ^ index) >> 9) * 2.0**-23


_mixed_in_kernel = inlined_kernel(_mixed)


@kernel
def draw(key, step, index):
    """`uniform` of integers."""
    bits = _mixed_in_kernel((_mixed_in_kernel(key ^ (step >> 32)) + step) & 0xFFFFFFFF)
    return (_mixed_in_kernel(bits ^ index) >> 9) * 2.0**-23
