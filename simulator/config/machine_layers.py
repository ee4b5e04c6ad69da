"""Machines laid over each other: `base: REFERENCE`, and what a file or a sweep changes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from simulator.config.machine import CHOOSERS, SOCKET_KEYS
from simulator.config.nodes import Node, different
from simulator.config.parts import PartReader
from simulator.config.problems import did_you_mean
from simulator.config.provenance import surviving
from simulator.config.reader import KeyPath, dotted
from simulator.errors import Problem

__all__ = ["HOST_KEYS", "REFUSED", "Layers", "sockets_of"]

HOST_KEYS = ("name", "count")
"""What stands beside the sockets of a host."""
REFUSED = "(refused)"
"""Stands for the part of a socket that could not be read."""
_PRICE = "price_usd_per_hour"


class Layers:
    """Lays a machine over another; `key`: the path that messages name."""

    def __init__(self, parts: PartReader, key: str) -> None:
        self._parts, self._key = parts, key

    def over(self, base: Node, changes: Node) -> Node:
        """`changes` over the expanded machine `base`, their parts expanded."""
        merged = dict(base.value)
        for name, new in self._counted(base, changes).items():
            old = base.get(name)
            if name == "host" and new.is_mapping:
                merged[name] = self._over_host(old, new, (name,))
                self._one_or_many(merged, name)
            elif name == "hosts":
                merged[name] = self._over_hosts(old, new)
                if isinstance(new.value, tuple) and "host" not in changes:
                    merged.pop("host", None)
            elif name == "network" and new.value is not None:
                merged[name] = self._over_socket(old, new, (name,))
            elif name != "sources":
                merged[name] = new
        machine = replace(base, value=merged, mark=changes.mark)
        if _PRICE not in changes and _plugged_in(base) != _plugged_in(machine):
            machine = machine.without((_PRICE,))
        changed = different(base, machine, "")
        sources = surviving(base.get("sources"), changed, changes.get("sources"))
        return machine if sources is None else machine.with_keys({"sources": sources})

    def _counted(self, base: Node, changes: Node) -> Node:
        """`hosts: 16` as the count of `host`."""
        hosts = changes.get("hosts")
        if hosts is None or isinstance(hosts.value, bool) or not isinstance(hosts.value, int):
            return changes
        listed = base.get("hosts")
        rest = changes.without(("hosts",))
        if listed is not None and listed.value is not None:
            message = f"is {hosts.value}: this machine has a list of hosts"
            hint = f"give one of them a count: {_one_of(listed, f'{{count: {hosts.value}}}')}"
            self.problem(hosts.mark.value, ("hosts",), message, hint)
            return rest
        host = changes.get("host") or Node({}, hosts.mark, hosts.folder)
        if "count" in host:
            message = "says how many hosts there are a second time"
            self.problem(hosts.mark.key, ("hosts",), message, "keep it or `host.count`")
        return rest.with_keys({"host": host.with_keys({"count": hosts})} if host.is_mapping else {})

    def _one_or_many(self, machine: Mapping[Any, Node], key: str) -> None:
        """Refuse `host` beside a list of hosts."""
        hosts = machine.get("hosts")
        if hosts is not None and hosts.value is not None:
            hint = f"change one of the list: {_one_of(hosts, '{...}')}"
            self.problem(machine[key].mark.key, (key,), "stands beside a list of hosts", hint)

    def _over_hosts(self, old: Node | None, new: Node) -> Node:
        """A list of hosts; or changes of a list, by number or name."""
        if isinstance(new.value, tuple):
            return replace(
                new,
                value=tuple(
                    self._over_host(None, host, ("hosts", i)) for i, host in enumerate(new.value)
                ),
            )
        if old is None or not isinstance(old.value, tuple):
            if new.is_mapping:
                hint = f"there is one kind of host: {self._key}.host"
                self.problem(new.mark.key, ("hosts",), "is no list in this machine", hint)
            return replace(new, value=None) if new.is_mapping else new
        if not new.is_mapping:
            return new
        hosts = list(old.value)
        names = {host.text("name"): i for i, host in enumerate(hosts)}
        for key, changes in new.items():
            index = names.get(str(key), int(key) if str(key).isdecimal() else len(hosts))
            if index < len(hosts):
                hosts[index] = self._over_host(hosts[index], changes, ("hosts", index))
                continue
            hint = f"there are {', '.join(names)}, or 0 to {len(hosts) - 1}"
            self.problem(changes.mark.key, ("hosts", key), "is no host of the machine", hint)
        return replace(old, value=tuple(hosts))

    def _over_host(self, old: Node | None, new: Node, path: KeyPath) -> Node:
        if not new.is_mapping:
            return new
        merged = dict(old.value) if old is not None and old.is_mapping else {}
        for name, value in new.items():
            if name in HOST_KEYS:
                merged[name] = value
            elif value.value is None:
                merged.pop(name, None)
            elif merged and name not in merged and not _starts_a_part(value):
                known = [str(socket) for socket in merged if socket not in HOST_KEYS]
                hint = f"{did_you_mean(name, known)} sockets: {', '.join(known)}".strip()
                message = "is no socket of the host: a new one needs `part: NAME`"
                self.problem(value.mark.key, (*path, name), message, hint)
            else:
                merged[name] = self._over_socket(merged.get(name), value, (*path, name))
        return replace(new, value=merged)

    def _over_socket(self, old: Node | None, new: Node, path: KeyPath) -> Node:
        """A socket with its part expanded; a stand-in after a problem."""
        key = (self._key, *path)
        if isinstance(new.value, str):
            new = replace(new, value={"part": new})
        usable = old is not None and old.is_mapping and old.entry != REFUSED
        if old is not None and usable and new.is_mapping:
            socket = self._parts.over(old, new, key, SOCKET_KEYS)
        else:
            socket = self._parts.part(new, key, (), SOCKET_KEYS)
        if socket is not None:
            return replace(socket, named_at=new.mark)
        said = {} if old is None else dict(old.only(SOCKET_KEYS).items())
        said |= dict(new.only(SOCKET_KEYS).items())
        return replace(new, value=said, entry=REFUSED, named_at=new.mark)

    def problem(self, where: str, path: KeyPath, message: str, hint: str = "") -> None:
        """Remember one; `where`: in the file, `path`: of the machine."""
        key = dotted((self._key, *path))
        self._parts.problems.append(Problem(where, key, message, hint))


def _one_of(hosts: Node, changes: str) -> str:
    """`changes` of the first of a list of hosts, as they are typed."""
    first = hosts.value[0] if isinstance(hosts.value, tuple) and hosts.value else None
    name = first.text("name") if first is not None and first.is_mapping else ""
    return f"hosts: {{{name or 0}: {changes}}}"


def _plugged_in(machine: Node) -> list[Any]:
    """What is rented: of each host its count, and of its sockets the entry and the count. Numbers
    of parts may change without another rent."""
    host, hosts = machine.get("host"), machine.get("hosts")
    listed = hosts.value if hosts is not None and isinstance(hosts.value, tuple) else ()
    return [
        (
            node.text("name"),
            _count(node),
            {n: (s.entry, _count(s)) for n, s in sockets_of(node).items()},
        )
        for node in ((host,) if host is not None else listed)
        if node.is_mapping
    ]


def _count(node: Node) -> Any:
    count = node.get("count")
    return 1 if count is None else count.plain()


def _starts_a_part(node: Node) -> bool:
    """Whether a socket says which part it holds."""
    return not node.is_mapping or any(key in node for key in (*CHOOSERS, "kind"))


def sockets_of(host: Node) -> dict[Any, Node]:
    """The sockets of a host by name."""
    return dict(host.without(HOST_KEYS).items())
