"""Frozen models of a memory device and its controller, and the loader of the presets.

A memory is a data file: organisation and timing as its data sheet states them (in clocks of the
command clock), an address map, a controller and an energy table. `load_memory` reads a preset of
`configs/memories/` (or any YAML file), applies overrides, and validates the outcome: an override
that names no parameter is an error.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from simulator.config.types import Bytes, Frozen, Hertz, Picojoules, Source, Watts
from simulator.data import path as data_path
from simulator.errors import ConfigError, Problem

__all__ = [
    "MAPS",
    "AddressMap",
    "CommandLength",
    "Controller",
    "Energy",
    "MemoryConfig",
    "Organization",
    "Timing",
    "available_controllers",
    "available_memories",
    "load_memory",
]

Count = Annotated[int, Field(ge=1)]
Clocks = Annotated[int, Field(ge=0)]

FIELDS = (
    "column_low",
    "column",
    "channel",
    "pseudo_channel",
    "rank",
    "stack_id",
    "bank_group",
    "bank",
    "row",
)

MAPS: dict[str, tuple[str, ...]] = {
    "row": ("column_low", "column", "bank_group", "bank", "stack_id", "rank", "row"),
    "bgi": ("column_low", "bank_group", "column", "bank", "stack_id", "rank", "row"),
    "bank": ("column_low", "bank_group", "bank", "stack_id", "rank", "column", "row"),
}
"""Named orders of the fields within a pseudo-channel, least significant first. `row` keeps an
embedding row in one DRAM page, `bgi` walks the bank groups first, `bank` all banks first."""


class Organization(Frozen):
    """What the memory is made of. Every count is a power of two except `channels`."""

    channels: Count
    pseudo_channels: Count = 1
    """Pseudo-channels of a channel: own banks and data bus, shared command buses."""
    ranks: Count = 1
    stack_ids: Count = 1
    """Stack identifiers (HBM3 SID): share the data bus and the activate gates."""
    bank_groups: Count
    banks_per_group: Count
    rows_per_bank: Count
    page_bytes: Bytes
    """Bytes of one DRAM row of one (pseudo-)channel: the row buffer."""

    @model_validator(mode="after")
    def _powers_of_two(self) -> Self:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name != "channels" and value & (value - 1):
                raise ValueError(f"{name} must be a power of two, not {value}")
        return self


class CommandLength(Frozen):
    """Half clocks that a command occupies its command bus (2 = one clock)."""

    activate: Count = 2
    precharge: Count = 2
    column: Count = 2


class Timing(Frozen):
    """Data-sheet timing in clocks of the command clock, under the data sheet's names."""

    cl: Clocks
    cwl: Clocks
    rcd_rd: Clocks
    rcd_wr: Clocks
    rp: Clocks
    ras: Clocks
    rc: Clocks
    rrd_s: Clocks
    rrd_l: Clocks
    faw: Clocks
    ccd_s: Clocks
    ccd_l: Clocks
    ccd_s_wr: Clocks | None = None
    """Write-to-write spacing where it differs from read-to-read (DDR5)."""
    ccd_l_wr: Clocks | None = None
    ccd_r: Clocks | None = None
    """Column spacing between stack identifiers (HBM3)."""
    wtr_s: Clocks
    wtr_l: Clocks
    rtw: Clocks | None = None
    """Read command to write command; derived as CL + burst + 2 - CWL where not given."""
    rtrs: Clocks = 2
    """Clocks lost on the data bus when it changes rank."""
    wr: Clocks
    rtp: Clocks
    ppd: Clocks = 0
    """Precharge to precharge of another bank (DDR5, LPDDR5, HBM3)."""
    rfc: Clocks
    refi: Clocks


class AddressMap(Frozen):
    """Where a byte address goes: field order within a pseudo-channel, least significant first."""

    order: Literal["row", "bgi", "bank"] | tuple[str, ...] = "row"
    interleave: Bytes = Field(default=64)
    """Consecutive bytes before the next (pseudo-)channel."""
    column_low_bursts: Count = 1
    """Bursts below the bank-group field in orders that split the column (HBM: 2)."""
    bank_hash: bool = False
    """XOR the low DRAM-row bits into bank group and bank."""

    @model_validator(mode="after")
    def _order_is_complete(self) -> Self:
        if not isinstance(self.order, str) and sorted(self.order) != sorted(MAPS["row"]):
            raise ValueError(f"order must name each of {', '.join(MAPS['row'])} once")
        return self

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields, least significant first."""
        return MAPS[self.order] if isinstance(self.order, str) else self.order


class Controller(Frozen):
    """Queues and scheduling policy."""

    scheduler: Literal["frfcfs", "frfcfs-rowhit", "per-bank"]
    """`frfcfs`: the oldest command that is timing-ready; `frfcfs-rowhit`: as well, but a row that
    an older request still hits is not closed; `per-bank`: queues a bank served round robin."""
    read_queue: Count = 32
    write_queue: Count = 32
    drain_high: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of the write queue above which writes are drained (`frfcfs*`)."""
    drain_low: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the write queue below which reads are served again (`frfcfs*`)."""
    command_queue: Count = 8
    """Entries of each bank's command queue (`per-bank`)."""
    write_batch: Count = 16
    """Writes that start a drain while no read waits (`per-bank`)."""
    row_hit_cap: Count = 4
    """Hits after which a row may close although requests still hit it (`per-bank`)."""
    merge_reads: bool = False
    """Serve outstanding reads of one address with one burst."""
    command_lengths: bool = True
    """False: every command takes one clock of the command bus, as some simulators have it."""
    precharge_all: bool = True
    """Close banks before refresh with one command, not one by one."""
    in_order: bool = True
    """The stream is offered in order over the channels, so that a full queue of one holds back
    all; false: every channel takes its part of the stream as fast as it can (GPUs)."""
    source: Source = ""


class Energy(Frozen):
    """Energy of the parts of a memory's work, for all devices of one pseudo-channel."""

    activate: Picojoules
    """One activate and its precharge."""
    read: Picojoules
    """One burst read, array and I/O, above background."""
    write: Picojoules
    refresh: Picojoules
    """One all-bank refresh, above background."""
    background: Watts
    """Standby power of one pseudo-channel."""
    source: Source


class MemoryConfig(Frozen):
    """One memory: device, address map, controller, energy."""

    name: str
    kind: Literal["DDR4", "DDR5", "LPDDR5X", "GDDR6", "HBM2", "HBM2E", "HBM3", "HBM3E"]
    source: Source
    clock: Hertz
    """Command clock (CK)."""
    burst_clocks: Count
    burst_bytes: Bytes
    half_clock_commands: bool = False
    """Precharge may use the falling clock edge (HBM3): simulated in half clocks."""
    dual_command_bus: bool = False
    """Row and column commands have separate buses (HBM)."""
    command_length: CommandLength = Field(default=CommandLength())
    organization: Organization
    timing: Timing
    mapping: AddressMap
    controller: Controller
    energy: Energy
    simulated_channels: Count = 1
    """Channels that `sustained` simulates in place of all (they are alike)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.organization.page_bytes % self.burst_bytes:
            raise ValueError("page_bytes must be a multiple of burst_bytes")
        if self.mapping.interleave % self.burst_bytes:
            raise ValueError("mapping.interleave must be a multiple of burst_bytes")
        if self.simulated_channels > self.organization.channels:
            raise ValueError("simulated_channels exceeds organization.channels")
        if self.controller.scheduler == "per-bank" and (
            self.organization.pseudo_channels * self.organization.ranks > 1
            or self.half_clock_commands
        ):
            raise ValueError("the per-bank scheduler drives one pseudo-channel and one rank")
        return self

    @model_validator(mode="after")
    def _refreshes_fit(self) -> Self:
        o, t = self.organization, self.timing
        units = o.pseudo_channels * o.ranks
        if t.refi <= t.rfc + units * 2 * (t.rc + t.wr):
            raise ValueError("timing.refi must leave time between refreshes (rfc, rc, wr)")
        return self

    @property
    def channels(self) -> int:
        """Channels (each of `pseudo_channels` data buses)."""
        return self.organization.channels

    @property
    def channel_peak_bytes_per_s(self) -> int:
        """Peak bandwidth of one channel, all its pseudo-channels together."""
        buses = self.organization.pseudo_channels
        return buses * self.burst_bytes * self.clock // self.burst_clocks

    @property
    def peak_bytes_per_s(self) -> int:
        """Peak bandwidth of the whole memory in bytes/s."""
        return self.channels * self.channel_peak_bytes_per_s

    @property
    def channel_bytes(self) -> int:
        """Capacity of one channel that the address map reaches."""
        o = self.organization
        banks = o.pseudo_channels * o.ranks * o.stack_ids * o.bank_groups * o.banks_per_group
        return banks * o.rows_per_bank * o.page_bytes

    @property
    def capacity_bytes(self) -> int:
        """Capacity of all channels."""
        return self.channels * self.channel_bytes


def _folder() -> Path:
    return data_path("configs") / "memories"


def available_memories() -> tuple[str, ...]:
    """Names of the presets, sorted."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def available_controllers() -> tuple[str, ...]:
    """Names of the controller presets, sorted."""
    return tuple(sorted(path.stem for path in (_folder() / "controllers").glob("*.yaml")))


def _did_you_mean(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def _read(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(Problem(str(path), "", f"cannot be read: {error.strerror}")) from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(Problem(str(path), "", f"is not YAML: {error}")) from error
    if not isinstance(document, dict):
        raise ConfigError(Problem(str(path), "", "must hold a mapping"))
    return document


def _find(name: str, folder: Path, known: tuple[str, ...], what: str) -> Path:
    if name in known:
        return folder / f"{name}.yaml"
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or path.exists():
        return path
    raise ConfigError(
        Problem(name, "", f"no {what} of this name", _did_you_mean(name, list(known)))
    )


def _leaves(model: type[Frozen], prefix: str = "") -> list[str]:
    names = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Frozen):
            names += _leaves(kind, f"{prefix}{name}.")
        else:
            names.append(f"{prefix}{name}")
    return names


def _flatten(overrides: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _path_of(key: str, leaves: list[str]) -> str:
    """The full path that `key` names: itself, or the one parameter whose last part it is."""
    if key in leaves:
        return key
    same = [leaf for leaf in leaves if leaf.rsplit(".", 1)[-1] == key]
    if len(same) == 1:
        return same[0]
    if same:
        hint = f"write one of {', '.join(same)}"
    else:
        last = {leaf.rsplit(".", 1)[-1] for leaf in leaves}
        hint = _did_you_mean(key, leaves if "." in key else sorted(last | set(leaves)))
    raise ConfigError(Problem(f"--set {key}", key, "names no parameter of a memory", hint))


def _with_controller(document: dict[str, Any]) -> dict[str, Any]:
    """Replace a controller's name (or a mapping with `preset`) by its settings."""
    chosen = document.get("controller")
    changes: dict[str, Any] = {}
    if isinstance(chosen, Mapping) and "preset" in chosen:
        changes = {key: value for key, value in chosen.items() if key != "preset"}
        chosen = chosen["preset"]
    if not isinstance(chosen, str):
        return document
    folder = _folder() / "controllers"
    path = _find(chosen, folder, available_controllers(), "controller")
    return document | {"controller": _read(path) | changes}


def load_memory(
    name_or_path: str | Path, overrides: Mapping[str, object] | None = None
) -> MemoryConfig:
    """The memory of a preset's name or a YAML file, with `overrides` applied.

    An override's key is a dotted path (`timing.rp`) or the last part of one where that is unique
    (`rp`); `controller` alone selects a controller preset. Values are spelled as in the file.
    Raises `ConfigError` for an unknown name, an override that names no parameter, and every value
    that does not validate.
    """
    path = _find(str(name_or_path), _folder(), available_memories(), "memory")
    document = _read(path)
    changes = _flatten(overrides or {})
    if "controller" in changes:
        document = document | {"controller": changes.pop("controller")}
    document = _with_controller(document)
    leaves = _leaves(MemoryConfig)
    for key, value in changes.items():
        parts = _path_of(key, leaves).split(".")
        target = document
        for part in parts[:-1]:
            target[part] = dict(target.get(part) or {})
            target = target[part]
        target[parts[-1]] = value
    try:
        return MemoryConfig.model_validate(_tuples(document))
    except ValidationError as error:
        raise ConfigError(*(_problem(path, e, leaves) for e in error.errors())) from error


def _tuples(value: Any) -> Any:
    """Lists as tuples (strict models take no list for a tuple)."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _problem(path: Path, error: Any, leaves: list[str]) -> Problem:
    key = ".".join(str(part) for part in error["loc"])
    hint = _did_you_mean(key, leaves) if error["type"] == "extra_forbidden" else ""
    seen = error.get("input")
    shown = f" (is {seen!r})" if isinstance(seen, str | int | float | bool) else ""
    return Problem(str(path), key, f"{error['msg']}{shown}", hint)
