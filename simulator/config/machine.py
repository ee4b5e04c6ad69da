"""A machine as its YAML says it, resolved: named parts, how many of each, and how they join.

A host is a mapping of sockets: `cpu: {part: xeon_e5_2698v4}`, `gpu: {part: v100_sxm2_32gb, count:
8}`, `pcie: {part: pcie3_x16, join: [cpu, gpu], per: 1}`. Which kinds of parts exist is not known
here: their models are handed in by the room above (`Names.parts`), and other packages add theirs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationInfo

from simulator._plugins import Contract
from simulator.config.bounds import AtMost
from simulator.config.types import Frozen, Source

__all__ = [
    "CHOOSERS",
    "LEVELS",
    "PART_CONTRACT",
    "SOCKET_KEYS",
    "Calibrated",
    "Count",
    "HostConfig",
    "Level",
]
__all__ += ["MachineConfig", "Part", "Price", "Socket"]

CHOOSERS = ("part", "base")
"""Keys that say which part a mapping starts from."""
SOCKET_KEYS = ("count", "join", "by", "per")
"""Keys of a socket that stand beside those of its part."""

Count = Annotated[int, Field(gt=0), AtMost(4096, "so many parts or hosts are simulated")]
Price = Annotated[float, Field(ge=0), AtMost(10**6, "no machine costs so much an hour")]


Level = Literal["yes", "partly", "no"]
"""How much of a machine came out of a calibration: every part in a socket, some, or none."""
LEVELS: tuple[Level, ...] = get_args(Level)


class Calibrated(Frozen):
    """That the mechanisms of a part were fitted to measurements of a real one (`scratchpipe
    calibrate`), as opposed to data sheets and assumptions. A change of any number drops it."""

    machine: str
    """What was measured, in words."""
    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}$")] | None = None
    """Year and month of the measurement, where it is known."""
    measured: str
    """The micro-benchmarks that it was fitted to."""


class Part(Frozen):
    """What one kind of part is made of: the base of the models in `simulator.hardware.devices`.

    A subclass sets `kind` to one `Literal` word, gives each constant a field with its unit, and
    holds nested parts (the memory of a processor) in fields whose type is a `Part` again.
    """

    presets: ClassVar[Mapping[str, str]] = {}
    """Keys whose value may be the name of a preset: key -> folder below `configs/parts/`."""
    links: ClassVar[bool | None] = None
    """Whether it is a link, which must say what it joins; None: either is taken."""
    durable: ClassVar[bool] = False
    """Whether what is written to it is still there after a failure of power."""

    kind: str
    """What it is: chooses the model that reads the rest."""
    name: str
    """What tables and messages call it."""
    sources: dict[str, Source] = Field(default_factory=dict)
    """Where each number comes from, by (dotted) key: data sheet, paper, measured, `assumed`."""
    calibrated: Calibrated | None = None
    """Where it came out of a calibration: which; null: its numbers are data-sheet or assumed."""

    def derived(self) -> Mapping[str, str]:
        """What follows from the keys and is worth showing with them, with units."""
        return {}

    def __hash__(self) -> int:
        """Of what it is: where the numbers come from (a dictionary) has no part in it."""
        values = (getattr(self, name) for name in type(self).model_fields if name != "sources")
        return hash((type(self), *values))


PART_CONTRACT = Contract(Part, "hardware.Part")


def _of_its_kind(value: Any, info: ValidationInfo) -> Any:
    """A part written out, by the model of its kind: `context={"parts": kinds}` gives the kinds."""
    kinds = (info.context or {}).get("parts", {})
    model = kinds.get(value.get("kind")) if isinstance(value, dict) else None
    return model.model_validate_json(json.dumps(value)) if model else value


class Socket(Frozen):
    """Equal parts of a host, and what they join."""

    part: Annotated[SerializeAsAny[Part], BeforeValidator(_of_its_kind)]
    """The part: a name of the catalogue, or a mapping with its keys; keys beside it change it."""
    count: Count = 1
    """How many of it a host has (of a link: 1, its number follows from `per`)."""
    join: tuple[str, ...] = ()
    """Sockets that a link joins. Two or more: the first is the root, the others lie below it,
    evenly divided over the parts of the root. One: all parts of that socket with each other."""
    by: Literal["switch"] | None = None
    """How a link joins the parts of one socket (`switch`); null: the part's own way."""
    per: Count | None = None
    """Parts of the second socket that share one link; null: 1, a link each."""


class HostConfig(Frozen):
    """Equal hosts: parts by the name of their socket."""

    name: str = "host"
    count: Count = 1
    sockets: dict[str, Socket]
    """In the file its entries stand beside `count` and `name`."""


class MachineConfig(Frozen):
    """What the systems of a simulation run on."""

    name: str
    description: str = ""
    operators: str
    """The operator profile that experiments on this machine use unless they name another."""
    price_usd_per_hour: Price | None = None
    hosts: tuple[HostConfig, ...] = Field(min_length=1)
    """In the file `host: {...}`, or `hosts: [{name: ...}, ...]` where there are different ones."""
    network: Socket | None = None
    """What joins the hosts; `join` names their network interfaces."""
    sources: dict[str, Source] = Field(default_factory=dict)

    def socket(self, name: str) -> Socket | None:
        """The socket called `name` of the first host that has one."""
        return next((h.sockets[name] for h in self.hosts if name in h.sockets), None)

    @property
    def calibrated(self) -> Level:
        """How much of it came out of a calibration: all parts in its sockets, some, or none."""
        parts = [socket.part for host in self.hosts for socket in host.sockets.values()]
        parts += [] if self.network is None else [self.network.part]
        known = sum(part.calibrated is not None for part in parts)
        return "no" if not known else "yes" if known == len(parts) else "partly"

    def parts(self, kind: str) -> list[tuple[str, Any]]:
        """(path in the file, part) of every socket whose part is of `kind`."""
        return [
            (f"host.{name}", socket.part)
            for host in self.hosts
            for name, socket in host.sockets.items()
            if socket.part.kind == kind
        ]

    def with_part(self, name: str, part: Part) -> MachineConfig:
        """The machine with another part in the socket `name` of the first host that has one."""
        hosts = list(self.hosts)
        for index, host in enumerate(hosts):
            if name in host.sockets:
                socket = host.sockets[name].model_copy(update={"part": part})
                sockets = {**host.sockets, name: socket}
                hosts[index] = host.model_copy(update={"sockets": sockets})
                return self.model_copy(update={"hosts": tuple(hosts)})
        raise KeyError(name)
