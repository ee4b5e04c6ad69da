"""YAML to plain data, together with the place in the file where each key and value stands.

Only what JSON can say comes out: mappings with text keys, lists, text, numbers, booleans, null.
Dates stay text. Every mistake that leaves the rest of the file readable is collected; only a
file that cannot be parsed at all ends the reading early.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from simulator.errors import Problem

__all__ = ["Document", "KeyPath", "Mark", "Marks", "dotted", "read_text", "read_yaml"]

KeyPath = tuple[str | int, ...]

_MOST_VALUES = 200_000
"""More values than that come from aliases of aliases, not from a person."""

_MOST_LEVELS = 100
"""Deeper values than that are no configuration, and every later step would recurse into them."""

_PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


def dotted(path: KeyPath) -> str:
    """`("sweep", "cache.fraction", 1)` as people write it: `sweep.cache.fraction[1]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@dataclass(frozen=True, slots=True)
class Mark:
    """Where a key and its value stand, as `file:line:column` or `--set KEY`."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Marks:
    """Where every value of a document stands."""

    by_path: Mapping[KeyPath, Mark] = field(default_factory=dict)

    def key(self, path: KeyPath) -> str:
        """The place of the key at `path`, else of the nearest value around it."""
        return self.mark(path).key

    def value(self, path: KeyPath) -> str:
        """The place of the value at `path`, else of the nearest value around it."""
        return self.mark(path).value

    def mark(self, path: KeyPath) -> Mark:
        """The places of `path`, else those of the nearest value around it."""
        for length in range(len(path), -1, -1):
            mark = self.by_path.get(path[:length])
            if mark:
                return mark if length == len(path) else Mark(mark.value, mark.value)
        return Mark("configuration", "configuration")

    def below(self, prefix: KeyPath) -> Marks:
        """The marks of the value at `prefix`, as a document of its own."""
        size = len(prefix)
        below = {p[size:]: m for p, m in self.by_path.items() if p[:size] == prefix}
        return Marks({(): self.mark(prefix)} | below)

    def grafted(self, prefix: KeyPath, other: Marks) -> Marks:
        """These marks with those of a value that was put at `prefix`."""
        kept = {p: m for p, m in self.by_path.items() if p[: len(prefix)] != prefix}
        return Marks(kept | {prefix + p: m for p, m in other.by_path.items()})

    def overlaid(self, prefix: KeyPath, other: Marks) -> Marks:
        """These marks, those of `other` laid over them below `prefix`."""
        return Marks(dict(self.by_path) | {prefix + p: m for p, m in other.by_path.items()})


@dataclass(frozen=True, slots=True)
class Document:
    """Plain data, the marks of its values and the problems met while reading it."""

    data: Any
    marks: Marks
    problems: tuple[Problem, ...] = ()


def read_yaml(file: FilePath) -> Document:
    """Read a YAML file; a file that cannot be read is a problem, not an exception."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _failed(str(file), f"is not UTF-8 text (byte {error.start})")
    except FileNotFoundError:
        return _failed(str(file), "there is no such file")
    except IsADirectoryError:
        return _failed(str(file), "is a folder, not a YAML file")
    except OSError as error:
        return _failed(str(file), f"cannot be read: {error.strerror or error}")
    return read_text(text, str(file))


@lru_cache(maxsize=256)
def read_text(text: str, file: str, fixed: bool = False) -> Document:
    """Read YAML text that came from `file`.

    With `fixed`, every place is `file` itself, without line and column (a command line). What is
    returned is shared between calls with the same text: do not change it.
    """
    try:
        root = YAML(typ="safe", pure=True).compose(io.StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = file if fixed or mark is None else f"{file}:{mark.line + 1}:{mark.column + 1}"
        hint = "indent with spaces, not tabs" if "\\t" in str(error.problem) else ""
        return _failed(where, f"is not valid YAML: {_reason(error)}", hint)
    except RecursionError:
        return _failed(file, "is nested too deeply")
    except YAMLError as error:
        reason = " ".join(str(error).split())
        return _failed(file, f"is not valid YAML: {reason}")
    if root is None:
        return _failed(file if fixed else f"{file}:1:1", "is empty")
    walk = _Walk(file, fixed)
    try:
        data = walk.value(root, ())
    except RecursionError:
        return _failed(file, "is nested too deeply")
    return Document(data, Marks(walk.by_path), tuple(walk.problems))


def _reason(error: MarkedYAMLError) -> str:
    """What is wrong; some problems only make sense after what was being read."""
    problem, context = error.problem or "", error.context or ""
    return f"{context}, {problem}" if problem.startswith("but") else problem or context


def _failed(where: str, message: str, hint: str = "") -> Document:
    return Document(None, Marks({(): Mark(where, where)}), (Problem(where, "", message, hint),))


class _Walk:
    """One pass over the node graph."""

    def __init__(self, file: str, fixed: bool) -> None:
        self.by_path: dict[KeyPath, Mark] = {}
        self.problems: list[Problem] = []
        self._file = file
        self._fixed = fixed
        self._open: list[int] = []
        self._constructor = YAML(typ="safe", pure=True).constructor

    def value(self, node: Node, path: KeyPath, key: str | None = None) -> Any:
        where = self._where(node)
        self.by_path[path] = Mark(key or where, where)
        if id(node) in self._open or len(self.by_path) > _MOST_VALUES:
            self._problem(where, path, "an alias (`*name`) that contains itself or grows too large")
            return None
        if len(path) > _MOST_LEVELS:
            self._problem(where, path[:1], "is nested too deeply")
            return None
        self._open.append(id(node))
        try:
            if not isinstance(node, ScalarNode) and node.tag not in _PLAIN_TAGS:
                self._problem(where, path, f"the tag {node.tag} is not allowed: write plain YAML")
            if isinstance(node, MappingNode):
                return self._mapping(node, path)
            if isinstance(node, SequenceNode):
                return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
            return self._scalar(node, path)
        finally:
            self._open.pop()

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        first: dict[str, str] = {}
        for key_node, value_node in node.value:
            where = self._where(key_node)
            if not isinstance(key_node, ScalarNode):
                self._problem(where, path, "a key must be plain text, not a list or a mapping")
                continue
            key = key_node.value
            if key in data:
                message = f"the key is given twice: here and at {first[key]}"
                self._problem(where, (*path, key), message, "keep one of them")
                continue
            first[key] = where
            data[key] = self.value(value_node, (*path, key), where)
        return data

    def _scalar(self, node: Node, path: KeyPath) -> Any:
        if node.tag == "tag:yaml.org,2002:timestamp":
            return node.value
        try:
            value = self._constructor.construct_object(node, deep=True)
        except (YAMLError, ValueError):
            self._problem(self._where(node), path, f"{node.value!r} has the unknown tag {node.tag}")
            return None
        if value is not None and not isinstance(value, bool | int | float | str):
            self._problem(self._where(node), path, f"{node.value!r} must be text or a number")
            return None
        return value

    def _where(self, node: Node) -> str:
        mark = node.start_mark
        if self._fixed:
            return self._file
        return f"{self._file}:{mark.line + 1}:{mark.column + 1}"

    def _problem(self, where: str, path: KeyPath, message: str, hint: str = "") -> None:
        self.problems.append(Problem(where, dotted(path), message, hint))
