"""Networks of the dense part that are measured and modelled alone.

One network cannot tell what its layers cost from what its interaction costs, so there are several:
each is the model that a calibration is given, with other keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator.config.model import ModelConfig

__all__ = ["DEFAULT", "NETWORKS", "PREDICTED", "with_network"]

DEFAULT = "default"

NETWORKS: Mapping[str, Mapping[str, Any]] = {
    DEFAULT: {},
    "wide": {"bottom_mlp": (2048, 2048), "top_mlp": (4096, 4096, 2048, 1), "interaction": "cat"},
    "vectors": {"tables": 26},
    "many": {"tables": 40},
    "beside": {"interaction": "cat"},
}
"""Keys that differ, by name. `default`: kernels and their latency. `wide`: layers, no interaction.
`vectors`, `many`: the interaction, of 27 and of 41 vectors. `beside`: the layers of `default`, its
vectors side by side."""
PREDICTED = frozenset({"beside"})
"""Networks that nothing is fitted to: how well the others tell of them."""


def with_network(model: ModelConfig, name: str) -> ModelConfig:
    """`model` with the network `name`, each table like its first; `KeyError` for another name."""
    change = dict(NETWORKS[name])
    if "tables" in change:
        each = ("rows_per_table", "lookups_per_table", "dim")
        change |= {key: getattr(model, key)[0] for key in each}
    return model.changed(**change)
