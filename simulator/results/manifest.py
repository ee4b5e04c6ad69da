"""The manifest of a run: everything needed to repeat it, and how long it took."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING, Any

from simulator.config.point import canonical_json, config_hash
from simulator.results.dictionary import METRICS
from simulator.results.rows import mismatch

if TYPE_CHECKING:
    from pydantic import BaseModel

    from simulator.config.experiment import Experiment
    from simulator.results.record import PointResult, Result

__all__ = ["FORMAT", "check_manifest", "manifest_of", "versions"]

FORMAT = 6
"""Of the run directory; 1 had no `devices.parquet`, 2 no column `calibrated`, 3 no `seeds`, 4
no `published_error_of`, 5 no `training_is_ours`."""

_KEYS: dict[str, type] = {
    "format": int,
    "name": str,
    "config_hash": str,
    "experiment": dict,
    "overrides": list,
    "seeds": list,
    "points": list,
    "sections": dict,
    "versions": dict,
    "durations": dict,
}
_MORE_KEYS: dict[str, type] = {
    "code_version": str,
    "command": str,
    "failed": int,
    "notes": list,
    "software": str,
}
"""What a sweep adds."""
_PACKAGES = ("scratchpipe-sim", "numpy", "simpy", "numba", "pyarrow", "pydantic", "ruamel.yaml")
_SECTIONS = ("platform", "model", "trace", "cache", "operators", "pipeline", "run")


def manifest_of(
    experiment: Experiment, result: Result, wall_s: float, overrides: Sequence[str] = ()
) -> dict[str, Any]:
    """What `manifest.json` holds; deterministic but for `durations`."""
    points = [outcome.point for outcome in result]
    sections = _Sections()
    return {
        "format": FORMAT,
        "name": experiment.name,
        "config_hash": config_hash(points),
        "experiment": experiment.model_dump(mode="json"),
        "overrides": list(overrides),
        "seeds": sorted({point.run.seed for point in points}),
        "points": [_point(outcome, sections) for outcome in result],
        "sections": dict(sorted(sections.by_key.items())),
        "versions": versions(),
        "durations": {
            "wall_s": wall_s,
            "finished": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "points": [_durations(outcome) for outcome in result],
        },
    }


def check_manifest(manifest: Any) -> None:
    """Raises `ValueError` where `manifest` is not what `manifest_of` makes."""
    if not isinstance(manifest, dict):
        raise ValueError("the manifest is no JSON object")
    wanted = _KEYS | {key: kind for key, kind in _MORE_KEYS.items() if key in manifest}
    unlike = mismatch(list(wanted), list(manifest))
    if unlike:
        raise ValueError(f"the manifest is {unlike}")
    for key, kind in wanted.items():
        if not isinstance(manifest[key], kind):
            raise ValueError(f"{key} in the manifest is no {kind.__name__}")
    for point in manifest["points"]:
        if not isinstance(point, dict) or not isinstance(point.get("swept"), dict):
            raise ValueError("a point of the manifest has no swept values")


def versions() -> dict[str, str]:
    """The software that computed the results."""
    numbers = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            numbers[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            numbers[name] = "not installed"
    return numbers


def _point(outcome: PointResult, sections: _Sections) -> dict[str, Any]:
    """One point; its sections stand once in `sections`, by hash, however many points share them."""
    point = outcome.point
    return {
        "key": point.key(),
        "system": point.system.model_dump(mode="json", exclude={"where"}),
        "locality": point.locality,
        "calibrated": point.platform.calibrated,
        "swept": point.swept,
        "trace_hash": outcome.trace_fingerprint,
        **{name: sections.key(name, getattr(point, name)) for name in _SECTIONS},
        **{
            name: sections.key(name, getattr(point, name))
            for name in ("load", "checkpoint")
            if getattr(point, name) is not None
        },
    }


class _Sections:
    """Sections of points by their key: a name and a hash."""

    def __init__(self) -> None:
        self.by_key: dict[str, Any] = {}
        self._known: dict[tuple[str, int], str] = {}
        """Points share most sections, which live as long as the points."""

    def key(self, name: str, section: BaseModel) -> str:
        """The key of a section, which is there from now on."""
        known = (name, id(section))
        if known not in self._known:
            data = section.model_dump(mode="json")
            digest = hashlib.sha256(canonical_json(data).encode()).hexdigest()[:12]
            self._known[known] = key = f"{name}-{digest}"
            self.by_key[key] = data
        return self._known[known]


def _durations(outcome: PointResult) -> dict[str, Any]:
    wall = {c.name: outcome.metrics[c.name] for c in METRICS if not c.deterministic}
    return {"key": outcome.point.key(), **wall}
