"""The content of the claims: one file per law, each with its experiments and, at its end, the order of its claims."""

from vqtheory.claims.laws import (
    bias,
    capture,
    collapse,
    dead_codes,
    dimensions,
    ema,
    maps_preserve,
    maps_runaway,
    maps_shift,
    online_kmeans,
    stationary,
    straight_through,
    trained,
    transients,
    transport,
)

LAWS = (
    online_kmeans,
    stationary,
    dead_codes,
    collapse,
    transients,
    dimensions,
    ema,
    capture,
    bias,
    maps_preserve,
    maps_shift,
    maps_runaway,
    straight_through,
    trained,
    transport,
)
