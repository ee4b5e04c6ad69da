"""An experiment that takes no time: two systems on two small tables."""

from __future__ import annotations

from typing import Any

__all__ = ["QUICK"]

QUICK: dict[str, Any] = {
    "config_version": 1,
    "operators": "tuned",
    "model": {
        "base": "default",
        "tables": 2,
        "rows_per_table": 20_000,
        "batch_size": 128,
        "bottom_mlp": [64],
        "top_mlp": [64, 1],
    },
    "trace": {"kind": "zipf", "alpha": 0.9},
    "systems": ["hybrid", "scratchpipe"],
    "run": {"batches": 2, "warmup_batches": 1},
    "cache": {"if_too_small": "grow"},
}
"""Without a platform."""
