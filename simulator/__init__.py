"""scratchpipe-sim: a simulator of embedding-table training on CPU-GPU servers.

    from simulator import load_experiment, simulate
    result = simulate(load_experiment("configs/experiments/quickstart.yaml"))
    result.to_pandas()

The public surface is what `__all__` lists. Names load on first use, so that importing the package
costs nothing. What a plug-in needs is in `simulator.caches`, `simulator.hardware`,
`simulator.systems` and `simulator.traces` (docs/extending.md).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from simulator.config.experiment import Experiment
    from simulator.engine import load_experiment, simulate
    from simulator.errors import (
        CapacityError,
        ConfigError,
        InfeasibleError,
        InvariantError,
        MeasurementError,
        OutputError,
        PluginError,
        PointsFailedError,
        PolicyError,
        ScratchPipeError,
        ToleranceError,
        TraceError,
        UndecidedError,
        UsageError,
    )
    from simulator.results.record import PointResult, Result

__all__ = [
    "CapacityError",
    "ConfigError",
    "Experiment",
    "InfeasibleError",
    "InvariantError",
    "MeasurementError",
    "OutputError",
    "PluginError",
    "PointResult",
    "PointsFailedError",
    "PolicyError",
    "Result",
    "ScratchPipeError",
    "ToleranceError",
    "TraceError",
    "UndecidedError",
    "UsageError",
    "load_experiment",
    "simulate",
]

_HOMES = {
    "Experiment": "simulator.config.experiment",
    "PointResult": "simulator.results.record",
    "Result": "simulator.results.record",
    "load_experiment": "simulator.engine",
    "simulate": "simulator.engine",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'simulator' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "simulator.errors")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
