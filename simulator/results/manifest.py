"""The manifest of a run: everything needed to repeat it, and how long it took."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

from simulator.config.experiment import canonical_json, config_hash
from simulator.results.dictionary import METRICS

if TYPE_CHECKING:
    from pydantic import BaseModel

    from simulator.config.experiment import Experiment
    from simulator.results.record import PointResult, Result

__all__ = ["FORMAT", "manifest_of", "versions"]

FORMAT = 2
"""Of the run directory; 1 had no `devices.parquet`."""

_PACKAGES = ("scratchpipe-sim", "numpy", "simpy", "numba", "pyarrow", "pydantic", "ruamel.yaml")
_SECTIONS = ("platform", "model", "trace", "cache", "operators", "pipeline", "run")


def manifest_of(
    experiment: Experiment, result: Result, wall_s: float, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """What `manifest.json` holds; deterministic but for `durations`."""
    points = [outcome.point for outcome in result]
    sections: dict[str, Any] = {}
    return {
        "format": FORMAT,
        "name": experiment.name,
        "config_hash": config_hash(points),
        "experiment": experiment.model_dump(mode="json"),
        "overrides": list(overrides),
        "seeds": sorted({point.run.seed for point in points}),
        "points": [_point(outcome, sections) for outcome in result],
        "sections": dict(sorted(sections.items())),
        "versions": versions(),
        "durations": {"wall_s": wall_s, "points": [_durations(outcome) for outcome in result]},
    }


def versions() -> dict[str, str]:
    """The software that computed the results."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _point(outcome: PointResult, sections: dict[str, Any]) -> dict[str, Any]:
    """One point; its sections stand once in `sections`, by hash, however many points share them."""
    point = outcome.point
    return {
        "key": point.key(),
        "system": point.system.model_dump(mode="json"),
        "locality": point.locality,
        "swept": point.swept,
        "trace_hash": outcome.trace_fingerprint,
        **{name: _filed(name, getattr(point, name), sections) for name in _SECTIONS},
        "memories": {
            part: _filed("memory", memory, sections) for part, memory in point.memories.items()
        },
    }


def _filed(name: str, section: BaseModel, sections: dict[str, Any]) -> str:
    data = section.model_dump(mode="json")
    key = f"{name}-{hashlib.sha256(canonical_json(data).encode()).hexdigest()[:12]}"
    sections[key] = data
    return key


def _durations(outcome: PointResult) -> dict[str, Any]:
    wall = {c.name: outcome.metrics[c.name] for c in METRICS if not c.deterministic}
    return {"key": outcome.point.key(), **wall}
