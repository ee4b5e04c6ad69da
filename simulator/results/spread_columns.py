"""Columns of the metrics that say how far seeds lie apart."""

from __future__ import annotations

from simulator.results.column import Column

__all__ = ["SPREAD", "SPREAD_OF"]

SPREAD_OF = {
    "iteration_time_us": ("iteration_time_low_us", "iteration_time_high_us"),
    "lookup_hit_rate": ("lookup_hit_rate_low", "lookup_hit_rate_high"),
    "energy_mj": ("energy_low_mj", "energy_high_mj"),
}
"""Metrics, and the columns of the least and the most of them."""
_UNITS = {"iteration_time_us": "us", "lookup_hit_rate": "1", "energy_mj": "mJ/batch"}

SPREAD: tuple[Column, ...] = (
    Column(
        "seeds",
        "int",
        "seeds",
        "Seeds that the point was simulated with (`run.seeds`), from `seed` on; null without it.",
    ),
    *(
        Column(
            name, "float", _UNITS[metric], f"The {which} `{metric}` of those seeds; null of one."
        )
        for metric, pair in SPREAD_OF.items()
        for name, which in zip(pair, ("least", "largest"), strict=True)
    ),
)
"""Columns of the metrics."""
