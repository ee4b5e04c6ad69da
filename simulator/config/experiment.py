"""What an experiment file says.

`Experiment` holds references as they were written (`platform: h200`, `model: {base: default,
dim: 64}`); `simulator.config.expand` resolves them into points (`simulator.config.point`), once for
every point of the sweep and system.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from simulator._plugin_files import from_file
from simulator.config.checkpoint import CheckpointConfig
from simulator.config.loading import LoadKeys
from simulator.config.machine import Part
from simulator.config.parameters import SystemKeys
from simulator.config.point import PointConfig, without_null_sections
from simulator.config.reader import Marks
from simulator.config.sections import CacheConfig, PipelineConfig, RunConfig
from simulator.config.tables import TablesConfig
from simulator.config.types import Frozen, Positive
from simulator.errors import Problem

__all__ = ["Experiment", "Names", "Origin", "Reference", "SystemEntry"]

Reference = str | dict[str, Any]
"""A catalogue name, the path of a YAML file, or a mapping (with `base: NAME`, its changes)."""


class SystemEntry(Frozen, extra="allow"):
    """One entry of `systems`, with what it changes for itself alone; other keys are parameters that
    its system declares (`scratchpipe explain SYSTEM`)."""

    name: str
    """The system (`scratchpipe list systems`), or one of a file of yours: `./mine.py:CLASS`."""
    label: str | None = None
    """What results call it; null: its name."""
    gpus: Positive | None = None
    """GPUs that it uses; null: as the system does (`gpu_only` takes all of the platform)."""
    platform: Reference | None = None
    """A platform of its own."""
    operators: Reference | None = None
    """An operator profile of its own."""
    cache: dict[str, Any] = Field(default_factory=dict)
    """Keys of `cache` that differ."""
    pipeline: dict[str, Any] = Field(default_factory=dict)
    """Keys of `pipeline` that differ."""
    tables: dict[str, Any] = Field(default_factory=dict)
    """Keys of `tables` that differ."""

    @property
    def called(self) -> str:
        """What results call it: its label, its name, or the class that its file has."""
        reference = from_file(self.name)
        return self.label or (self.name if reference is None else reference.name)


def _entries(value: object) -> object:
    """One name, one mapping or a list of them: always a tuple of mappings."""
    items = value if isinstance(value, list | tuple) else [value]
    return tuple({"name": item} if isinstance(item, str) else item for item in items)


@dataclass(frozen=True, slots=True)
class Names:
    """What the rooms above offer, for reading machines and checking names; None: not known."""

    systems: Mapping[str, SystemKeys] | None = None
    """Systems by name, each with the keys of its entry that it uses beside name, label, platform
    and operators."""
    policies: Collection[str] | None = None
    """Policies by name; a mapping gives each its class, and loads those of files."""
    parts: Mapping[str, type[Part]] | None = None
    """The models of the kinds of parts. Without them no machine can be read."""
    misfits: Callable[[PointConfig], Sequence[Problem]] | None = None
    """What a point asks for that its machine does not have; `key` without the entry's."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Origin:
    """Where an experiment comes from: for messages and for paths relative to its file."""

    marks: Marks = field(default_factory=Marks)
    folder: Path = Path()
    names: Names = field(default_factory=Names)
    software: str = ""
    """A line where an option changed the machine, and the operator profile with it."""


def _no_boolean(value: object) -> object:
    """`true` equals 1 for Python, not for a reader."""
    return "true" if value is True else value


class Experiment(Frozen):
    """An experiment file (after `--set`): references as written, everything else validated."""

    config_version: Annotated[Literal[1], BeforeValidator(_no_boolean)]
    """Version of this format."""
    name: str = Field(default="experiment", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the run directory and of reports: letters, digits, `.`, `_`, `-`."""
    description: str = ""
    """What the experiment is for."""
    platform: Reference
    """The machine."""
    model: Reference
    """The recommendation model."""
    trace: Reference
    """The embedding lookups."""
    systems: Annotated[tuple[SystemEntry, ...], Field(min_length=1), BeforeValidator(_entries)]
    """Systems to simulate; a list or one name; an entry is a name, or a mapping with changes."""
    cache: CacheConfig = CacheConfig()
    tables: TablesConfig = TablesConfig()
    """Where tables on the host lie, for systems that have some."""
    operators: Reference | None = None
    """The operator profile; null: the one that the platform names."""
    load: LoadKeys | None = None
    """What makes mini-batches of what storage holds; null: they are there."""
    checkpoint: CheckpointConfig | None = None
    """What is written to survive a failure; null: nothing."""
    pipeline: PipelineConfig = PipelineConfig()
    run: RunConfig = RunConfig()
    sweep: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Dotted path of a key -> list of its values; all combinations are simulated."""

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @model_serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_null_sections(handler(self))

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """`systems` as people write it: a name, a mapping, or a list of them."""
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        systems = handler.resolve_ref_schema(schema)["properties"]["systems"]
        entry = [{"type": "string"}, systems.pop("items")]
        many = {"type": systems.pop("type"), "items": {"anyOf": entry}, "minItems": 1}
        systems.pop("minItems", None)
        systems["anyOf"] = [*entry, many]
        return schema

    @property
    def origin(self) -> Origin:
        """Where the experiment was read."""
        return self._origin

    def with_origin(self, origin: Origin) -> Experiment:
        """The same experiment, read at `origin`."""
        copy = self.model_copy()
        copy._origin = origin
        return copy
