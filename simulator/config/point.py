"""One simulation with everything resolved, and the key by which equal ones are known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, Field, SerializerFunctionWrapHandler, model_serializer

from simulator._plugin_files import short_name
from simulator.config.catalogue import portable
from simulator.config.checkpoint import CheckpointConfig
from simulator.config.loading import LoadConfig
from simulator.config.machine import MachineConfig
from simulator.config.memo import by_identity
from simulator.config.model import ModelConfig
from simulator.config.operators import OperatorProfile
from simulator.config.sections import CacheConfig, PipelineConfig, RunConfig
from simulator.config.tables import TablesConfig
from simulator.config.trace import TraceConfig
from simulator.config.transform import extra_rows
from simulator.config.types import Frozen

__all__ = [
    "PointConfig",
    "SystemConfig",
    "canonical_json",
    "config_hash",
    "short",
    "without_null_sections",
]


class SystemConfig(Frozen):
    """The system of one point."""

    name: str
    label: str
    gpus: int | None = None
    parameters: dict[str, Any] = Field(default_factory=dict)
    """Those that the system declares, all of them, as in JSON."""
    where: str = ""
    """Where its entry stands (file:line:column), for messages."""

    @property
    def title(self) -> str:
        """Its name as results show it: of one out of a file without the folder."""
        return short_name(self.name)


_OPTIONAL = ("load", "checkpoint")
"""Sections that are left out where there is none."""


def without_null_sections(data: dict[str, Any]) -> dict[str, Any]:
    """What is written of an experiment or a point: no key of a section that it does not have."""
    return {k: value for k, value in data.items() if k not in _OPTIONAL or value is not None}


class PointConfig(Frozen):
    """One simulation: a system on a machine, everything resolved."""

    system: SystemConfig
    platform: MachineConfig
    model: ModelConfig
    trace: TraceConfig
    cache: CacheConfig
    operators: OperatorProfile
    pipeline: PipelineConfig
    run: RunConfig
    tables: TablesConfig = TablesConfig()
    load: LoadConfig | None = None
    checkpoint: CheckpointConfig | None = None
    locality: str
    """What results call the trace: its locality class, else its kind and main number."""
    swept: dict[str, Any] = Field(default_factory=dict)
    """The values that the sweep gave to this point, by dotted path."""

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_null_sections(handler(self))

    @property
    def stored(self) -> ModelConfig:
        """The model with its tables as they lie in memory: with rows for sums (trace.transform)."""
        return _stored(self)

    def key(self) -> str:
        """SHA-256 (hex) over the canonical JSON of all that determines the outcome.

        What the experiment calls the point (label, swept values) is left out, and so are where on
        this machine the files of the catalogue are, descriptions, and where numbers come from.
        """
        return _point_key(self)

    def sweep_text(self) -> str:
        """The swept values as `path=value, path=value`; empty without a sweep."""
        return ", ".join(f"{path}={short(value)}" for path, value in self.swept.items())


@by_identity
def _stored(point: PointConfig) -> ModelConfig:
    transform, model = getattr(point.trace, "transform", None), point.model
    if transform is None:
        return model
    extra = extra_rows(model.rows_per_table, model.lookups_per_table, transform)
    rows = tuple(map(sum, zip(model.rows_per_table, extra, strict=True)))
    return model.model_copy(update={"rows_per_table": rows})


_OF_QUERIES = {"mode", "arrivals"}
"""Keys of `run` that say nothing in training."""
_REMARKS = ("description", "source", "sources")


def _bare(data: Any) -> Any:
    """Dumped data without remarks."""
    if isinstance(data, dict):
        return {key: _bare(value) for key, value in data.items() if key not in _REMARKS}
    return [_bare(item) for item in data] if isinstance(data, list) else data


@by_identity
def _section_text(section: BaseModel) -> str:
    """A section as canonical JSON without remarks; points of a sweep share most of theirs."""
    return canonical_json(_bare(section.model_dump(mode="json")))


@by_identity
def _point_key(point: PointConfig) -> str:
    trace = _bare(point.trace.model_dump(mode="json"))
    for name in ("path", "distances_path"):
        if name in trace:
            trace[name] = portable(trace[name])
    system = point.system.model_dump(mode="json", exclude={"label", "where"})
    if not system["parameters"]:
        del system["parameters"]
    texts = {
        "locality": canonical_json(point.locality),
        "system": canonical_json(system),
        "trace": canonical_json(trace),
    }
    for name in ("platform", "model", "cache", "operators", "pipeline", "run"):
        texts[name] = _section_text(getattr(point, name))
    if point.run.mode == "training":
        texts["run"] = canonical_json(point.run.model_dump(mode="json", exclude=_OF_QUERIES))
    if point.tables.tier:
        shares = list(point.tables.tier.items())  # their order counts
        ways = [shares, point.tables.by, point.tables.order]
        # Keys that came later, where they say something: other points are what they were.
        more = point.tables.model_dump(exclude={"tier", "by", "order"}, exclude_defaults=True)
        texts["tables"] = canonical_json([*ways, more] if more else ways)
    if point.load is not None:
        texts["load"] = _section_text(point.load)
    if point.checkpoint is not None:
        texts["checkpoint"] = _section_text(point.checkpoint)
    members = ",".join(f'"{name}":{text}' for name, text in sorted(texts.items()))
    return hashlib.sha256(f"{{{members}}}".encode()).hexdigest()


def config_hash(points: Iterable[PointConfig]) -> str:
    """SHA-256 (hex) over all points, in order: equal for experiments that simulate the same."""
    keys = [[point.system.label, point.key()] for point in points]
    return hashlib.sha256(canonical_json(keys).encode()).hexdigest()


def short(value: Any) -> str:
    """A swept value in a word where it is a changed catalogue entry, else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict) and "base" in value:
        return f"{str(value.get('name') or short(value['base'])).rstrip('*')}*"
    return canonical_json(value)


def canonical_json(data: Any) -> str:
    """The same text for equal data, whatever the order of its keys."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
