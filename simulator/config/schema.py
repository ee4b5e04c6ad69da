"""Where an error of pydantic lies: its location, walked along the JSON Schema of what was read.

A location names the members of unions beside the keys (`("zipf", "alpha")`); the schema tells
which is which.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Location", "kinds_of", "locate"]

Schema = Mapping[str, Any]
_ABOUT_KEYS = ("missing", "extra_forbidden")


@dataclass(frozen=True, slots=True)
class Location:
    """The keys that lead to a value, and the schema of the mapping around it."""

    path: tuple[str | int, ...]
    parent: Schema
    in_union: bool
    root: Schema

    @property
    def deeper(self) -> Iterator[str]:
        """Dotted paths of the keys within the keys of the mapping around the value."""
        return _nested(self.root, self.parent, "", 4)

    @property
    def allowed(self) -> list[str]:
        """The keys of the mapping around the value."""
        return list(self.parent.get("properties", {}))

    @property
    def meaning(self) -> str:
        """What the value is for."""
        entry = self.parent.get("properties", {}).get(self.path[-1], {})
        return " ".join(str(entry.get("description", "")).split())


def locate(root: Schema, loc: tuple[int | str, ...], error: str) -> Location:
    """The place of an error of type `error` at location `loc`."""
    node = parent = root
    path: list[int | str] = []
    in_union = False
    for index, part in enumerate(loc):
        node = _resolved(root, node)
        members = _members(root, node)
        names_a_key = error in _ABOUT_KEYS and index == len(loc) - 1
        if len(members) > 1 and not names_a_key and _is_tag(members, part):
            node, in_union = _member(members, part), True
            continue
        parent = _around(members, part) if members else node
        path.append(part)
        node = _inner(parent, part)
    return Location(tuple(path), parent, in_union, root)


def kinds_of(root: Schema) -> list[str]:
    """The values of `kind` in a union of models that have one."""
    kinds = [m.get("properties", {}).get("kind", {}).get("const") for m in _members(root, root)]
    return [kind for kind in kinds if kind]


def _nested(root: Schema, node: Schema, prefix: str, levels: int) -> Iterator[str]:
    for name, inner in node.get("properties", {}).items() if levels else ():
        node = _resolved(root, inner)
        members = _members(root, node) or [node]
        for member in members:
            yield from _nested(root, member, f"{prefix}{name}.", levels - 1)
        if prefix:
            yield f"{prefix}{name}"


def _resolved(root: Schema, node: Schema) -> Schema:
    while "$ref" in node:
        node = root["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return node


def _members(root: Schema, node: Schema) -> list[Schema]:
    """The members of a union and of the unions in it, without null."""
    members = [_resolved(root, m) for m in (*node.get("anyOf", ()), *node.get("oneOf", ()))]
    flat = [inner for member in members for inner in _members(root, member) or [member]]
    return [member for member in flat if member.get("type") != "null"]


def _constants(member: Schema) -> list[object]:
    return [p["const"] for p in member.get("properties", {}).values() if "const" in p]


def _is_tag(members: list[Schema], part: int | str) -> bool:
    """Whether `part` names a member of the union, not a key in one."""
    if isinstance(part, int):
        return False
    keys = {key for member in members for key in member.get("properties", {})}
    return part not in keys or any(part in _constants(member) for member in members)


def _member(members: list[Schema], tag: int | str) -> Schema:
    """The member that a tag names: by its constant, its title, or its form."""
    for member in members:
        if tag in _constants(member) or tag == member.get("title"):
            return member
    form = {"dict": "object", "tuple": "array", "list": "array"}.get(str(tag).partition("[")[0])
    return next((member for member in members if form and member.get("type") == form), {})


def _around(members: list[Schema], part: int | str) -> Schema:
    """The member that can hold `part`."""
    form = "items" if isinstance(part, int) else "properties"
    return next((member for member in members if form in member), {})


def _inner(node: Schema, part: int | str) -> Schema:
    inner = (
        node.get("items")
        if isinstance(part, int)
        else node.get("properties", {}).get(part, node.get("additionalProperties"))
    )
    return inner if isinstance(inner, Mapping) else {}
