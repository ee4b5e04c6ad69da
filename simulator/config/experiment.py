"""What an experiment file says, and the fully resolved points that it stands for.

`Experiment` holds references as they were written (`platform: h200`, `model: {base: default,
dim: 64}`); `simulator.config.expand` resolves them, once for every point of the sweep and system.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    GetJsonSchemaHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from simulator._plugin_files import from_file, short_name
from simulator.config.arrivals import ArrivalsConfig
from simulator.config.bounds import AtMost
from simulator.config.catalogue import portable
from simulator.config.checkpoint import CheckpointConfig
from simulator.config.loading import LoadConfig, LoadKeys
from simulator.config.machine import MachineConfig, Part
from simulator.config.memo import by_identity
from simulator.config.model import ModelConfig
from simulator.config.operators import OperatorProfile
from simulator.config.parameters import SystemKeys
from simulator.config.reader import Marks
from simulator.config.shares import PositiveShare
from simulator.config.tables import TablesConfig
from simulator.config.trace import HALF, TraceConfig
from simulator.config.transform import extra_rows
from simulator.config.types import Bytes, Frozen, MisfitError, Positive
from simulator.errors import Problem

__all__ = [
    "MOST_SEED",
    "SIZE_KEYS",
    "CacheConfig",
    "Experiment",
    "Names",
    "Origin",
    "PipelineConfig",
    "PointConfig",
    "Reference",
    "RunConfig",
    "SystemConfig",
    "SystemEntry",
    "canonical_json",
    "config_hash",
    "short",
]

Reference = str | dict[str, Any]
"""A catalogue name, the path of a YAML file, or a mapping (with `base: NAME`, its changes)."""


class Prefix(Frozen):
    """A profile of the beginning of a file."""

    prefix: float = Field(gt=0, lt=1)
    """Share of the mini-batches of the file, from its first one on."""


MOST_SEED = 2**63 - 1
SIZE_KEYS = ("fraction", "rows", "bytes")
"""Keys of `cache` of which one gives its size."""
_DEFAULT_FRACTION = 0.1


class CacheConfig(Frozen):
    """The GPU cache of embedding rows."""

    policy: str = "lru"
    """Replacement policy (`scratchpipe list policies`), or one of a file of yours:
    `./mine.py:CLASS`."""
    fraction: PositiveShare | None = None
    """Share of all embedding rows that the cache holds, `5 %` or 0.05; 2 to 10 % in the paper's
    sweep. Where neither `rows` nor `bytes` is given, 0.1."""
    rows: Annotated[int, Field(gt=0), AtMost(10**15, "no machine holds so many")] | None = None
    """Rows that the cache holds, in place of `fraction`; pools get theirs by size."""
    bytes: Bytes | None = None
    """Memory for rows and their optimizer state, such as `4 GiB`, in place of `fraction`."""
    scope: Literal["table", "global"] = "table"
    """`table`: one pool of slots for each table; `global`: one pool for all."""
    if_too_small: Literal["error", "grow"] = "error"
    """What to do where the cache cannot hold its window: refuse, or grow to the smallest cache
    that can and mark the point."""
    prefill: Literal["steady", "hot", "empty"] = "steady"
    """What the cache holds before the first mini-batch. `steady`: what this policy comes to hold
    on this trace, drawn from a closed form (LRU, independent draws) or reached by planning
    mini-batches of the past without timing them; `hot`: the hottest rows, which LRU replaces by
    others; `empty`: nothing. All rows there are trained: eviction writes them back."""
    profile: Literal["prefix", "whole"] | Prefix = "prefix"
    """What a trace's hottest rows are known from (static cache, policy static_hot, `prefill: hot`).
    Of a file, `prefix`: its first half, `{prefix: SHARE}`: its first share, `whole`: all of it, the
    timed mini-batches too; the timed mini-batches of a file come after its prefix where it is long
    enough. Generated traces: the probabilities that mini-batch 0 is drawn from."""

    @model_validator(mode="before")
    @classmethod
    def _one_size(cls, value: Any) -> Any:
        """Exactly one size: the default where none is given."""
        if not isinstance(value, Mapping):
            return value
        given = [key for key in SIZE_KEYS if value.get(key) is not None]
        if len(given) > 1:
            raise MisfitError(given[1], f"and {given[0]} are both given: give one of them")
        return value if given else {**value, "fraction": _DEFAULT_FRACTION}

    @property
    def profile_share(self) -> float:
        """Share of a file that a profile counts; 1 is all of it."""
        if isinstance(self.profile, Prefix):
            return self.profile.prefix
        return HALF if self.profile == "prefix" else 1.0

    @property
    def past_share(self) -> float:
        """Share of a file that comes before the timed mini-batches, if it is long enough."""
        return self.profile_share if self.profile != "whole" else HALF


Held = Annotated[
    int, Field(ge=0), AtMost(1_000, "a window holds a few mini-batches, one for each stage")
]


class PipelineConfig(Frozen):
    """How the stages of consecutive mini-batches overlap."""

    mode: Literal["async", "lockstep"] = "async"
    """`async`: a stage starts as soon as its inputs are there; `lockstep`: all stages move on
    together, at the pace of the slowest."""
    cpu_pool: Literal["shared", "split"] = "shared"
    """Threads of CPU stages that overlap (Collect, Insert). `shared`: one pool of all threads works
    on both, chunk by chunk; `split`: each has its own, of half as many threads."""
    window_past: Held | None = None
    """Earlier mini-batches whose rows may not be victims; null: derived from the pipeline."""
    window_future: Held | None = None
    """Coming mini-batches whose rows may not be victims; null: derived from the pipeline."""


class RunConfig(Frozen):
    """How long and how closely to simulate."""

    batches: int = Field(default=50, gt=0, le=10**9)
    """Mini-batches that are timed."""
    warmup_batches: int = Field(default=10, ge=0, le=10**9)
    """Mini-batches before them that warm caches and fill the pipeline."""
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    """Seed of everything that is drawn."""
    seeds: int = Field(default=1, ge=1, le=1000)
    """Seeds that each point is simulated with, from `seed` on: results have the least and the most
    of them beside the numbers of the first. So many times the work."""
    cpu_threads: Positive | None = None
    """Threads of the CPU operators; null: all cores of the platform."""
    memory_fidelity: Literal["exact", "sampled", "table"] = "table"
    """DRAM timing: every access simulated, a sample of mini-batches simulated, or bandwidths
    looked up in a table of simulated patterns."""
    sample_batches: int = Field(default=4, gt=0, le=10**9)
    """Mini-batches simulated access by access where `memory_fidelity` is `sampled`."""
    held_misses: bool = False
    """Tell misses that only the hold window caused from capacity misses, by replaying the same
    cache without a window beside it (twice the replay time)."""
    check: bool = False
    """Run the invariants that take long too."""
    mode: Literal["training", "inference"] = "training"
    """`inference`: mini-batches are queries, up to the answer of the top MLP; nothing changes."""
    arrivals: ArrivalsConfig | None = None
    """In inference, how queries come; null: the next one is always waiting."""

    @model_validator(mode="before")
    @classmethod
    def _warmup_is_a_number(cls, value: Any) -> Any:
        """Who asks for as many as it takes is told what does that."""
        if isinstance(value, Mapping) and value.get("warmup_batches") == "auto":
            raise MisfitError(
                "warmup_batches",
                "is auto: give a number. As many as a cache takes to hold still are what "
                "cache.prefill: steady plans before them, without timing them (at most 512; "
                "cache_start_batches says how many)",
            )
        return value

    @model_validator(mode="after")
    def _arrivals_of_queries(self) -> RunConfig:
        if self.arrivals is not None and self.mode == "training":
            raise MisfitError("arrivals", "are those of queries: set run.mode: inference")
        return self

    @model_serializer(mode="wrap")
    def _as_it_was(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `seeds` where there is one: such a point is what it always was."""
        data: dict[str, Any] = dump(self)
        if data.get("seeds") == 1:
            del data["seeds"]
        return data


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


_OPTIONAL = ("load", "checkpoint")
"""Sections that are left out where there is none."""


def _without_null_sections(data: dict[str, Any]) -> dict[str, Any]:
    """What is written of an experiment or a point: no key of a section that it does not have."""
    return {k: value for k, value in data.items() if k not in _OPTIONAL or value is not None}


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
        return _without_null_sections(handler(self))

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
        return _without_null_sections(handler(self))

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
