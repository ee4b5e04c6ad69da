"""A machine as people write it, read into `MachineConfig`.

A reference is the name of a file of `configs/platforms/`, the path of a YAML file, or a mapping;
with `base: REFERENCE` the mapping's keys are laid over that machine, sockets as parts are
(`simulator.config.parts`). In a file a host's sockets stand beside its `name` and `count`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, WithJsonSchema

from simulator.config.catalogue import files, find
from simulator.config.joins import host_problems, joined, network_problems
from simulator.config.machine import (
    SOCKET_KEYS,
    Count,
    HostConfig,
    MachineConfig,
    Part,
    Price,
    Socket,
)
from simulator.config.machine_layers import HOST_KEYS, REFUSED, Layers, sockets_of
from simulator.config.nodes import Node
from simulator.config.old_paths import OLD_KEYS, moved
from simulator.config.parts import Kinds, PartReader
from simulator.config.problems import validate
from simulator.config.provenance import as_changed, starred
from simulator.config.reader import Document, KeyPath, read_yaml
from simulator.config.types import Frozen, Source
from simulator.errors import Problem
from simulator.text import shown

__all__ = ["Alike", "MachineFile", "read_machine"]

_SOCKET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


_COUNT_SCHEMA: dict[str, Any] = TypeAdapter(Count).json_schema()
_SOCKET_SCHEMA: dict[str, Any] = {
    "type": ["string", "object", "null"],
    "description": "A part: its name, or `part: NAME` with what the socket says and changes of it.",
    "properties": {
        "part": {"type": ["string", "object"]},
        "count": _COUNT_SCHEMA,
        "join": {"type": ["string", "array"], "items": {"type": "string"}},
        "by": {"type": ["string", "null"]},
        "per": {**_COUNT_SCHEMA, "type": ["integer", "null"]},
    },
}
_HOST_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "count": _COUNT_SCHEMA},
    "additionalProperties": _SOCKET_SCHEMA,
}
_HOSTS_SCHEMA: dict[str, Any] = {"anyOf": [{"type": "array", "items": _HOST_SCHEMA}, _COUNT_SCHEMA]}


class MachineFile(Frozen):
    """The keys of a machine file."""

    name: str
    """What results call it."""
    description: str = ""
    """What it is, in a line."""
    operators: str
    """The operator profile that experiments on this machine use unless they name another."""
    price_usd_per_hour: Price | None = None
    """Of all hosts together. A machine laid over another keeps its price unless hosts, sockets or
    counts differ, or another part is plugged in: then nobody says what it costs."""
    host: Annotated[dict[str, Any] | None, WithJsonSchema(_HOST_SCHEMA)] = None
    """`name`, `count`, and parts by the name of their socket: `gpu: {part: NAME, count: 8}`, `pcie:
    {part: NAME, join: [cpu, gpu]}`."""
    hosts: Annotated[tuple[dict[str, Any], ...] | Count | None, WithJsonSchema(_HOSTS_SCHEMA)] = (
        None
    )
    """Different hosts, each with its `name`; or how many hosts like `host` there are."""
    network: Annotated[dict[str, Any] | None, WithJsonSchema(_SOCKET_SCHEMA)] = None
    """What joins the hosts: `{part: NAME, join: nic}`."""
    sources: dict[str, Source] = Field(default_factory=dict)
    """Where the numbers above come from."""


_FILE: TypeAdapter[MachineFile] = TypeAdapter(MachineFile)
_SOCKET: TypeAdapter[Socket] = TypeAdapter(Socket)
_HOST: TypeAdapter[HostConfig] = TypeAdapter(HostConfig)
_NOTHING = Part(kind="", name="")
_LEVELS = 3
"""Of a machine file that `MachineFile` looks at: what is in a socket is read as a part."""


@dataclass
class Alike:
    """What machines that are read one after the other have in common: entries that were followed,
    sockets that were built."""

    entries: dict[tuple[Any, ...], Node] = field(default_factory=dict)
    sockets: dict[tuple[int, KeyPath], Socket] = field(default_factory=dict)
    """Of `entries`, by the number of their node."""
    known: set[int] = field(default_factory=set)
    """Numbers of the nodes of sockets in `entries`."""

    def keep(self, name: tuple[Any, ...], entry: Node) -> None:
        """Have `entry` for the machines that start from it."""
        self.entries[name] = entry
        host, hosts = entry.get("host"), entry.get("hosts")
        listed = hosts.value if hosts is not None and isinstance(hosts.value, tuple) else ()
        for node in (host, *listed):
            self.known |= set() if node is None else {id(s) for s in sockets_of(node).values()}


def read_machine(
    reference: Document,
    folder: Path,
    kinds: Kinds,
    key: str = "platform",
    *,
    alike: Alike | None = None,
) -> tuple[MachineConfig | None, list[Problem]]:
    """The machine that `reference` stands for, or None and every problem.

    `kinds` are the models of the kinds of parts; relative paths start from `folder`; `key` is the
    path that messages name; `alike`: of the machines that were read before.
    """
    machines = _Machines(kinds, key, alike or Alike())
    node = machines.follow(Node.of(reference.data, reference.marks, folder), ())
    value = None if node is None else machines.build(node)
    problems = list(dict.fromkeys((*reference.problems, *machines.parts.problems)))
    return (None if problems else value), problems


_PARTS = {"host", "hosts", "network"}
"""Keys of a machine that its description speaks of."""


class _Machines:
    """Follows references to machines, and builds what they stand for."""

    def __init__(self, kinds: Kinds, key: str, alike: Alike) -> None:
        self.parts = PartReader(kinds)
        self._layers = Layers(self.parts, key)
        self._key, self._alike = key, alike

    def follow(self, node: Node, trail: tuple[Path, ...]) -> Node | None:
        """The machine with every part of it expanded; None after a problem."""
        if isinstance(node.value, str):
            known = (node.value, node.folder, node.mark, trail)
            if known not in self._alike.entries:
                before = len(self.parts.problems)
                entry = self._entry(node, trail)
                if entry is None or len(self.parts.problems) > before:
                    return entry
                self._alike.keep(known, entry)
            return self._alike.entries[known]
        if not node.is_mapping:
            message = f"is {shown(node.plain())}: expected a name, or a mapping with its keys"
            self._layers.problem(node.mark.value, (), message)
            return None
        base = node.get("base")
        if base is None:
            return self._layers.over(replace(node, value={}), node)
        if not isinstance(base.value, str) and not base.is_mapping:
            message = f"base is {shown(base.plain())}: expected the name of an entry to start from"
            self._layers.problem(node.mark.value, (), message)
            return None
        start, changes = self.follow(base, trail), node.without(("base",))
        if start is None:
            return None
        machine = self._layers.over(start, changes)
        name = start.get("name")
        if changes.keys() and name is not None and "name" not in changes:
            machine = machine.with_keys({"name": starred(name)})
        told = start.get("description")
        if told is not None and "description" not in changes and _PARTS & set(changes.keys()):
            machine = machine.with_keys({"description": as_changed(told)})
        return machine

    def _entry(self, name: Node, trail: tuple[Path, ...]) -> Node | None:
        file, message, hint = find(name.value, name.folder, files("platforms"), "platforms")
        if file is not None and file in trail:
            message = f"{file} has itself as its base"
        if file is None or message:
            self._layers.problem(name.mark.value, (), message, hint)
            return None
        document = read_yaml(file)
        self.parts.problems += document.problems
        if document.problems:
            return None
        node = Node.of(document.data, document.marks, file.parent)
        machine = self.follow(node, (*trail, file))
        if machine is None or "name" in node:
            return machine
        return machine.with_keys({"name": replace(name, value=file.stem)})

    def build(self, machine: Node) -> MachineConfig | None:
        """The validated machine; None after problems."""
        prefix = (self._key,)
        self.parts.problems += moved(machine, prefix)
        known = machine.without(OLD_KEYS)
        file, problems = validate(_FILE, known.outline(_LEVELS), known.marks, prefix)
        self.parts.problems += problems
        nodes = self._hosts(machine)
        network = machine.get("network")
        crossing = network if network is not None and network.is_mapping else None
        outside = {name for name, _ in joined(crossing)} if crossing is not None else set()
        hosts = [self._host(node, path, outside) for path, node in nodes.items()]
        self._different_names(nodes)
        over = None
        if crossing is not None:
            sockets = {name for node in nodes.values() for name in sockets_of(node)}
            self.parts.problems += network_problems(crossing, sorted(sockets), prefix)
            over = self._socket(crossing, ("network",))
        if self.parts.problems or file is None:
            return None
        keys = file.model_dump(exclude={"host", "hosts", "network"})
        built = tuple(host for host in hosts if host is not None)
        return MachineConfig(**keys, hosts=built, network=over)

    def _hosts(self, machine: Node) -> dict[KeyPath, Node]:
        """The hosts by their path."""
        host, hosts = machine.get("host"), machine.get("hosts")
        if host is not None and host.is_mapping:
            return {("host",): host}
        if hosts is not None and isinstance(hosts.value, tuple):
            if not hosts.value:
                self._layers.problem(hosts.mark.value, ("hosts",), "is an empty list")
            return {("hosts", i): n for i, n in enumerate(hosts.value) if n.is_mapping}
        nothing = (host is None or host.value is None) and (hosts is None or hosts.value is None)
        if nothing and not any(key in machine for key in OLD_KEYS):
            hint = "what the machine is made of: `host: {cpu: {part: NAME}, ...}`"
            self._layers.problem(machine.mark.value, ("host",), "is missing", hint)
        return {}

    def _different_names(self, nodes: Mapping[KeyPath, Node]) -> None:
        first: dict[str, str] = {}
        for path, node in nodes.items():
            name = node.text("name") or "host"
            where = (node.get("name") or node).mark.value
            if name in first:
                message = f"two hosts are called {name!r}: here and at {first[name]}"
                self._layers.problem(where, (*path, "name"), message, "give each a name of its own")
            first.setdefault(name, where)

    def _host(self, node: Node, path: KeyPath, outside: set[str]) -> HostConfig | None:
        sockets = sockets_of(node)
        prefix = (self._key, *path)
        for name, socket in sockets.items():
            if not _SOCKET_NAME.fullmatch(str(name)):
                message = "is no name of a socket: letters, digits and `_`, a letter first"
                self._layers.problem(socket.reference.key, (*path, name), message)
        if not sockets:
            hint = "its parts by the name of their socket: `cpu: {part: NAME}`"
            self._layers.problem(node.mark.value, path, "has no parts", hint)
        links = {str(name): self.parts.is_link(socket) for name, socket in sockets.items()}
        self.parts.problems += host_problems(sockets, outside, links, prefix)
        built = {str(name): self._built(s, (*path, name)) for name, s in sockets.items()}
        data = {**node.only(HOST_KEYS).plain(), "sockets": {n: s for n, s in built.items() if s}}
        host, problems = validate(_HOST, data, node.marks, prefix)
        self.parts.problems += problems
        return host if isinstance(host, HostConfig) else None

    def _built(self, node: Node, path: KeyPath) -> Socket | None:
        """`_socket`, once for machines that have the same one."""
        known = self._alike.sockets.get((id(node), path))
        if known is not None:
            return known
        before = len(self.parts.problems)
        socket = self._socket(node, path)
        without_problem = len(self.parts.problems) == before
        if socket is not None and without_problem and id(node) in self._alike.known:
            self._alike.sockets[id(node), path] = socket
        return socket

    def _socket(self, node: Node, path: KeyPath) -> Socket | None:
        """A socket and its part, validated."""
        if not node.is_mapping:
            return None
        prefix = (self._key, *path)
        refused = node.entry == REFUSED
        part = None if refused else self.parts.value(node.without(SOCKET_KEYS), prefix)
        keys = {"part": part or _NOTHING, **node.only(SOCKET_KEYS).plain()}
        if isinstance(keys.get("join"), str):
            keys["join"] = [keys["join"]]
        if keys.get("join", ()) is None:
            del keys["join"]
        socket, problems = validate(_SOCKET, keys, node.marks, prefix)
        self.parts.problems += problems
        return socket if isinstance(socket, Socket) else None
