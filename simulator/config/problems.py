"""Validation errors of pydantic, in plain words and at the place where the mistake stands."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from simulator.config.reader import KeyPath, Marks, dotted
from simulator.config.schema import Location, kinds_of, locate
from simulator.config.types import MisfitError
from simulator.errors import Problem
from simulator.text import quoted, shown

__all__ = ["did_you_mean", "validate"]


def validate(
    adapter: TypeAdapter[Any], data: Any, marks: Marks | Callable[[], Marks], prefix: KeyPath
) -> tuple[Any, list[Problem]]:
    """Validate plain `data`; the value, or None and every problem.

    `marks` are the places of `data` itself (or what finds them where they are needed); `prefix` is
    where it stands in the experiment.
    """
    try:
        return adapter.validate_python(data), []
    except ValidationError as error:
        places = marks if isinstance(marks, Marks) else marks()
        return None, _Translation(places, prefix, _schema(adapter)).problems(error)


@cache
def _schema(adapter: TypeAdapter[Any]) -> Mapping[str, Any]:
    return adapter.json_schema()


def did_you_mean(word: object, allowed: Iterable[str]) -> str:
    """ "did you mean X?", or nothing where no allowed word is near."""
    lowered = {name.lower(): name for name in allowed}
    text = (word if isinstance(word, str) else shown(word)).lower()
    longer = [name for name in lowered if len(text) > 2 and name.startswith(text)]
    near = longer or difflib.get_close_matches(text, list(lowered), n=1, cutoff=0.6)
    return f"did you mean {lowered[near[0]]!r}?" if near else ""


def _choices(words: Iterable[object]) -> str:
    return ", ".join(shown(word).strip('"') for word in words)


def _plain(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


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
    "greater_than": lambda c: f"must be greater than {_plain(c['gt'])}",
    "greater_than_equal": lambda c: f"must be at least {_plain(c['ge'])}",
    "less_than": lambda c: f"must be less than {_plain(c['lt'])}",
    "less_than_equal": lambda c: f"must be at most {_plain(c['le'])}",
    "multiple_of": lambda c: f"must be a multiple of {_plain(c['multiple_of'])}",
    "finite_number": lambda c: "must be a finite number",
    "too_short": lambda c: f"needs {c['min_length']} or more entries",
    "too_long": lambda c: f"may have {c['max_length']} entries at most",
    "string_too_short": lambda c: f"needs at least {c['min_length']} characters",
    "string_too_long": lambda c: f"may have at most {c['max_length']} characters",
    "string_pattern_mismatch": lambda c: "has other characters than it may have",
}


class _Translation:
    """Turns the errors of one validation into problems."""

    def __init__(self, marks: Marks, prefix: KeyPath, schema: Mapping[str, Any]) -> None:
        self._marks = marks
        self._prefix = prefix
        self._schema = schema

    def problems(self, error: ValidationError) -> list[Problem]:
        by_path: dict[KeyPath, list[Problem]] = {}
        covered: set[KeyPath] = set()  # said better by what is wrong further in
        for item in error.errors(include_url=False):
            location = locate(self._schema, item["loc"], item["type"])
            if location.in_union or item["type"] == "too_short":
                covered.add(location.path)
            by_path.setdefault(location.path, []).append(self._problem(item, location))
        for path in covered:
            if any(other[: len(path)] == path and other != path for other in by_path):
                by_path.pop(path, None)
        return [_merged(problems) for problems in by_path.values()]

    def _problem(self, item: Any, location: Location) -> Problem:
        kind, context, given = item["type"], item.get("ctx", {}), item["input"]
        path = location.path
        key = dotted(self._prefix + path)
        if kind == "missing":
            return Problem(self._marks.value(path[:-1]), key, "is missing", location.meaning)
        if kind == "extra_forbidden":
            near = _further_in(str(path[-1]), location) or did_you_mean(path[-1], location.allowed)
            hint = f"{near} allowed here: {_choices(location.allowed)}".strip()
            return Problem(self._marks.key(path), key, "unknown key", hint)
        if kind == "trace_kind":
            return self._trace_kind(given, path)
        if kind in ("union_tag_invalid", "union_tag_not_found"):
            return self._tag(context, path)
        if isinstance(context.get("error"), MisfitError):
            return self._misfit(context["error"], path)
        is_number = isinstance(given, int | float) and not isinstance(given, bool)
        text = (self._marks.text(path) if is_number else "") or shown(given)
        message, hint = _message(kind, context, given, text, item["msg"])
        if kind == "string_pattern_mismatch":
            hint = location.meaning
        return Problem(self._marks.value(path), key, message, hint)

    def _misfit(self, error: MisfitError, path: KeyPath) -> Problem:
        """Values that do not fit each other, at the key that the model names."""
        path = (*path, *error.key.split("."))
        return Problem(self._marks.value(path), dotted(self._prefix + path), error.message)

    def _tag(self, context: Mapping[str, Any], path: KeyPath) -> Problem:
        """A mapping whose key that tells the others is missing or unknown."""
        path = (*path, context["discriminator"].strip("'"))
        where, key = self._marks.value(path), dotted(self._prefix + path)
        if "tag" not in context:
            return Problem(where, key, "is missing")
        words = [word.strip().strip("'") for word in context["expected_tags"].split(",")]
        given = context["tag"]
        message = f"is {shown(given)}: expected one of {_choices(words)}"
        return Problem(where, key, message, did_you_mean(given, words))

    def _trace_kind(self, given: object, path: KeyPath) -> Problem:
        """A trace whose kind is missing or unknown."""
        kinds = kinds_of(self._schema)
        key = dotted((*self._prefix, *path, "kind"))
        where = self._marks.value((*path, "kind"))
        kind = given.get("kind") if isinstance(given, dict) else given
        if kind is None:
            return Problem(where, key, "is missing", f"one of: {_choices(kinds)}")
        message = f"is {shown(kind)}: expected one of {_choices(kinds)}"
        return Problem(where, key, message, did_you_mean(kind, kinds))


def _further_in(word: str, location: Location) -> str:
    """ "did you mean X.Y?" where a key of that name stands deeper."""
    deeper = [path for path in location.deeper if path.rpartition(".")[2] == word]
    return f"did you mean {deeper[0]!r}?" if len(deeper) == 1 else ""


def _message(
    kind: str, context: Mapping[str, Any], given: object, text: str, fallback: str
) -> tuple[str, str]:
    """Message and hint of an error about a value; `text`: as it is written."""
    if kind == "value_error":
        reason = str(context.get("error", fallback))
        named = isinstance(given, dict | list | tuple) or quoted(given) in reason
        reason = reason.replace(shown(given), text) if isinstance(given, int | float) else reason
        return (reason if named else f"is {text}: {reason}"), ""
    if kind in ("literal_error", "enum"):
        listed = str(context["expected"]).replace(" or ", ",").split(",")
        words = [word.strip().strip("'") for word in listed]
        return f"is {text}: expected one of {_choices(words)}", did_you_mean(given, words)
    if kind in _RULES:
        return f"is {text}: {_RULES[kind](context)}", ""
    if kind in _KINDS:
        return f"is {text}: expected {_KINDS[kind]}", ""
    plain = fallback.replace("Input should be", "expected")
    return f"is {text}: {plain[:1].lower()}{plain[1:]}", ""


def _merged(problems: list[Problem]) -> Problem:
    """Several errors about one value (the members of a union) as one problem."""
    first = problems[0]
    expected = [p.message.partition(": expected ")[2] for p in problems]
    if not all(expected):  # a member that takes such values, but not this one
        return problems[expected.index("")]
    head = first.message.partition(": expected ")[0]
    words = " or ".join(dict.fromkeys(expected))
    return Problem(first.where, first.key, f"{head}: expected {words}", first.hint)
