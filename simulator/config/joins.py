"""What the links of a host join: every join that names nothing, contradicts or is ambiguous."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from simulator.config.nodes import Node
from simulator.config.problems import did_you_mean
from simulator.config.reader import KeyPath, dotted
from simulator.errors import Problem
from simulator.text import shown

__all__ = ["host_problems", "joined", "network_problems"]


def joined(socket: Node) -> tuple[tuple[str, str], ...]:
    """(name, place) of the sockets that a link joins; none of another part."""
    join = socket.get("join")
    items = () if join is None else join.value if isinstance(join.value, tuple) else (join,)
    return tuple((i.value, i.mark.value) for i in items if isinstance(i.value, str))


def host_problems(
    sockets: Mapping[str, Node],
    outside: Collection[str],
    links: Mapping[str, bool | None],
    prefix: KeyPath,
) -> Iterator[Problem]:
    """What is wrong with the joins of one host.

    `outside`: sockets that the network joins; `links`: whether the part of a socket is a link, as
    far as is known.
    """
    reached = {name for socket in sockets.values() for name, _ in joined(socket)}
    misnamed = bool(reached - set(sockets))
    carriers: dict[frozenset[str], str] = {}
    for name, socket in sockets.items():
        key = (*prefix, name)
        ends = joined(socket)
        yield from _contradictions(socket, [end for end, _ in ends], key)
        if links.get(name) and not ends:
            hint = "a link says what it joins: `join: [cpu, gpu]`"
            yield Problem(socket.reference.key, dotted((*key, "join")), "is missing", hint)
        elif links.get(name) is False and ends:
            message = f"joins {' and '.join(end for end, _ in ends)}, but {name} is no link"
            yield Problem(ends[0][1], dotted((*key, "join")), message)
        elif (
            not misnamed
            and not ends
            and len(sockets) > 1
            and name not in reached
            and name not in outside
        ):
            message = "joins nothing, and nothing joins it"
            hint = "a link says what it joins: `join: [cpu, gpu]`; other parts need a link"
            yield Problem(socket.reference.key, dotted(key), message, hint)
        yield from _ends(name, ends, sockets, key)
        for pair in _joined_pairs([end for end, _ in ends]):
            other = carriers.setdefault(pair, name)
            if other != name:
                message = (
                    f"joins {' and '.join(sorted(pair))} as {other} does: which of them carries "
                    "is ambiguous"
                )
                yield Problem(ends[0][1], dotted((*key, "join")), message, "keep one of the links")


def _joined_pairs(ends: list[str]) -> list[frozenset[str]]:
    """Sockets that a link joins directly: the root with each below it, or one with itself."""
    root, *below = ends or [""]
    return [frozenset((root, leaf)) for leaf in below] if below else [frozenset(ends)] * bool(ends)


def _ends(
    link: str, ends: tuple[tuple[str, str], ...], sockets: Mapping[str, Node], key: KeyPath
) -> Iterator[Problem]:
    """Ends of a link that are none."""
    path = dotted((*key, "join"))
    before: set[str] = set()
    for name, where in ends:
        if name == link:
            yield Problem(where, path, f"{link} joins itself", "name the sockets that it joins")
        elif name not in sockets:
            yield _unknown(name, where, path, [s for s in sockets if s != link], "the host has")
        elif joined(sockets[name]):
            message = f"is {shown(name)}: that is a link itself"
            yield Problem(where, path, message, "a link joins other parts")
        elif name in before:
            yield Problem(where, path, f"names {name} twice", "keep one of them")
        before.add(name)


def _contradictions(socket: Node, ends: list[str], key: KeyPath) -> Iterator[Problem]:
    """Keys that do not go with what is joined."""
    reasons = {
        "by": (len(ends) == 1, "says how the parts of one socket are joined"),
        "per": (len(ends) > 1, "counts parts of the second socket that share one link"),
        "count": (not ends, "says how many there are, which follows from `per` for a link"),
    }
    for name, (fits, reason) in reasons.items():
        given = socket.get(name)
        if given is None or given.value is None or fits or (name, given.value) == ("count", 1):
            continue
        message = f"{reason}, but this joins {' and '.join(ends) or 'nothing'}"
        yield Problem(given.mark.key, dotted((*key, name)), message)


def network_problems(network: Node, sockets: Collection[str], prefix: KeyPath) -> Iterator[Problem]:
    """What is wrong with the network; `sockets`: those of all hosts."""
    key = dotted((*prefix, "network", "join"))
    ends = joined(network)
    if not ends:
        hint = "what it joins, the interfaces of the hosts: `join: nic`"
        yield Problem(network.reference.value, key, "is missing", hint)
    for name, where in ends:
        if name not in sockets:
            yield _unknown(name, where, key, list(sockets), "the hosts have")
    for name in ("per", "count"):
        given = network.get(name)
        if given is not None and (name, given.value) not in (("count", 1), ("per", None)):
            path = dotted((*prefix, "network", name))
            yield Problem(given.mark.key, path, "does not go with a network: there is one")


def _unknown(name: str, where: str, key: str, known: list[str], owner: str) -> Problem:
    hint = f"{did_you_mean(name, known)} {owner}: {', '.join(known)}".strip()
    return Problem(where, key, f"is {shown(name)}: there is no such socket", hint)
