"""Validation errors of pydantic, in plain words and at the place where the mistake stands."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from simulator.config.reader import KeyPath, Marks, dotted
from simulator.errors import Problem

__all__ = ["did_you_mean", "shown", "validate"]


def validate(
    adapter: TypeAdapter[Any], data: Any, marks: Marks, prefix: KeyPath
) -> tuple[Any, list[Problem]]:
    """Validate plain `data`; the value, or None and every problem.

    `marks` are the places of `data` itself; `prefix` is where it stands in the experiment.
    """
    try:
        return adapter.validate_python(_frozen(data)), []
    except ValidationError as error:
        teller = _Teller(data, marks, prefix, adapter.json_schema())
        return None, teller.problems(error)


def _frozen(data: Any) -> Any:
    """Lists as tuples: what frozen models hold."""
    if isinstance(data, dict):
        return {key: _frozen(value) for key, value in data.items()}
    return tuple(map(_frozen, data)) if isinstance(data, list | tuple) else data


def shown(value: object) -> str:
    """A value as a person would write it in YAML, shortened."""
    if isinstance(value, float) and value != value:
        return ".nan"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return ".inf" if value > 0 else "-.inf"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def did_you_mean(seen: object, allowed: Iterable[str]) -> str:
    """ "did you mean X?", or nothing where no allowed word is near."""
    lowered = {word.lower(): word for word in allowed}
    text = str(seen).lower()
    longer = [word for word in lowered if len(text) > 2 and word.startswith(text)]
    near = longer or difflib.get_close_matches(text, list(lowered), n=1, cutoff=0.6)
    return f"did you mean {lowered[near[0]]!r}?" if near else ""


def _choices(words: Iterable[object]) -> str:
    return ", ".join(shown(word).strip('"') for word in words)


_KINDS: dict[str, str] = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
    "dataclass_type": "a mapping (key: value)",
    "mapping_type": "a mapping (key: value)",
    "none_required": "null",
    "path_type": "the path of a file",
}

_RULES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "greater_than": lambda c: f"must be greater than {c['gt']:g}",
    "greater_than_equal": lambda c: f"must be at least {c['ge']:g}",
    "less_than": lambda c: f"must be less than {c['lt']:g}",
    "less_than_equal": lambda c: f"must be at most {c['le']:g}",
    "multiple_of": lambda c: f"must be a multiple of {c['multiple_of']:g}",
    "finite_number": lambda c: "must be a finite number",
    "too_short": lambda c: f"needs at least {c['min_length']} entries",
    "too_long": lambda c: f"may have at most {c['max_length']} entries",
    "string_too_short": lambda c: f"needs at least {c['min_length']} characters",
    "string_too_long": lambda c: f"may have at most {c['max_length']} characters",
    "string_pattern_mismatch": lambda c: f"must match the pattern {c['pattern']}",
}


class _Teller:
    """Tells the errors of one validation."""

    def __init__(self, data: Any, marks: Marks, prefix: KeyPath, schema: Mapping[str, Any]) -> None:
        self._data = data
        self._marks = marks
        self._prefix = prefix
        self._schema = schema

    def problems(self, error: ValidationError) -> list[Problem]:
        told: dict[KeyPath, list[Problem]] = {}
        optional: set[KeyPath] = set()
        for item in error.errors(include_url=False):
            path, skipped = self._path(item["loc"], item["type"])
            if skipped:
                optional.add(path)
            told.setdefault(path, []).append(self._problem(item, path))
        for path in optional:
            if any(other[: len(path)] == path and other != path for other in told):
                told.pop(path, None)
        return [_merged(problems) for problems in told.values()]

    def _path(self, loc: tuple[int | str, ...], kind: str) -> tuple[KeyPath, bool]:
        """The keys of `loc` that are in the data: without the names of union members."""
        path: list[str | int] = []
        here = self._data
        self._tags: dict[KeyPath, str] = {}
        skipped = False
        for index, part in enumerate(loc):
            last = index == len(loc) - 1
            if _holds(here, part):
                here = here[part]
            elif not (last and kind == "missing"):
                skipped = True
                self._tags[tuple(path)] = str(part)
                continue
            path.append(part)
        return tuple(path), skipped

    def _problem(self, item: Any, path: KeyPath) -> Problem:
        kind, context, seen = item["type"], item.get("ctx", {}), item["input"]
        key = dotted(self._prefix + path)
        if kind == "missing":
            return Problem(self._marks.value(path[:-1]), key, "is missing", self._meaning(path))
        if kind == "extra_forbidden":
            allowed = self._allowed(path[:-1])
            hint = f"{did_you_mean(path[-1], allowed)} allowed here: {_choices(allowed)}"
            return Problem(self._marks.key(path), key, "unknown key", hint.strip())
        if kind == "trace_kind":
            return self._kind(seen, path)
        message, hint = _told(kind, context, seen, item["msg"])
        return Problem(self._marks.value(path), key, message, hint)

    def _kind(self, seen: object, path: KeyPath) -> Problem:
        """A trace whose kind is missing or unknown."""
        kinds = [m["properties"]["kind"]["const"] for m in _members(self._schema, self._schema)]
        key = dotted((*self._prefix, *path, "kind"))
        place = self._marks.value((*path, "kind"))
        given = seen.get("kind") if isinstance(seen, dict) else seen
        if given is None:
            return Problem(place, key, "is missing", f"one of: {_choices(kinds)}")
        message = f"is {shown(given)}: expected one of {_choices(kinds)}"
        return Problem(place, key, message, did_you_mean(given, kinds))

    def _allowed(self, path: KeyPath) -> list[str]:
        node = _schema_at(self._schema, self._data, path, self._tags)
        return list(node.get("properties", {})) if node else []

    def _meaning(self, path: KeyPath) -> str:
        parent = _schema_at(self._schema, self._data, path[:-1], self._tags) or {}
        entry = parent.get("properties", {}).get(path[-1], {})
        return " ".join(str(entry.get("description", "")).split())


def _holds(here: Any, part: str | int) -> bool:
    if isinstance(here, list):
        return isinstance(part, int) and part < len(here)
    return isinstance(here, dict) and part in here


def _told(kind: str, context: Mapping[str, Any], seen: object, fallback: str) -> tuple[str, str]:
    """Message and hint of an error about a value."""
    if kind == "value_error":
        reason = str(context.get("error", fallback))
        said = isinstance(seen, dict | list | tuple) or repr(seen) in reason
        return (reason if said else f"is {shown(seen)}: {reason}"), ""
    if kind in ("literal_error", "enum"):
        words = [
            w.strip().strip("'") for w in str(context["expected"]).replace(" or ", ",").split(",")
        ]
        return f"is {shown(seen)}: expected one of {_choices(words)}", did_you_mean(seen, words)
    if kind in _RULES:
        return f"is {shown(seen)}: {_RULES[kind](context)}", ""
    if kind in _KINDS:
        return f"is {shown(seen)}: expected {_KINDS[kind]}", ""
    plain = fallback.replace("Input should be", "expected")
    return f"is {shown(seen)}: {plain[:1].lower()}{plain[1:]}", ""


def _merged(problems: list[Problem]) -> Problem:
    """Several errors about one value (the members of a union) as one problem."""
    first = problems[0]
    expected = [p.message.partition(": expected ")[2] for p in problems]
    if len(problems) == 1 or not all(expected):
        return first
    head = first.message.partition(": expected ")[0]
    words = " or ".join(dict.fromkeys(expected))
    return Problem(first.where, first.key, f"{head}: expected {words}", first.hint)


def _resolved(root: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node:
        node = root["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return node


def _members(root: Mapping[str, Any], node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The members of a union."""
    return [_resolved(root, m) for m in (*node.get("anyOf", ()), *node.get("oneOf", ()))]


def _schema_at(
    root: Mapping[str, Any], data: Any, path: KeyPath, tags: Mapping[KeyPath, str]
) -> Mapping[str, Any] | None:
    """The object schema of the mapping at `path` of `data`; `tags` name members of unions."""
    node = _chosen(root, root, data, tags.get(()))
    for depth, part in enumerate(path):
        data = data[part]
        if isinstance(part, int):
            inner = node.get("items")
        else:
            inner = node.get("properties", {}).get(part, node.get("additionalProperties"))
        if not isinstance(inner, Mapping):
            return None
        node = _chosen(root, inner, data, tags.get(path[: depth + 1]))
    return node


def _chosen(
    root: Mapping[str, Any], node: Mapping[str, Any], data: Any, tag: str | None
) -> Mapping[str, Any]:
    """The member of a union that validation chose: by its tag, else the first of the same form."""
    node = _resolved(root, node)
    members = _members(root, node)
    for member in members:
        if tag in [p.get("const") for p in member.get("properties", {}).values()]:
            return member
    wanted = "properties" if isinstance(data, dict) else "items"
    for member in members:
        if wanted in member or "oneOf" in member or "anyOf" in member:
            return _chosen(root, member, data, tag)
    return node
