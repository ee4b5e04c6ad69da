"""YAML to plain data, together with the place in the file where each key and value stands.

Only what JSON can say comes out: mappings with text keys, lists, text, numbers, booleans, null.
Anchors, aliases and merge keys (`<<: *usual`, `<<: [*first, *second]`) are resolved, each value
with the place where it is written; keys at the top of a file that begin with `x-` hold shared
pieces and are left out. Dates stay text. Every mistake that leaves the rest of the file readable is
collected; only a file that cannot be parsed at all ends the reading early.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from simulator.config.scalars import (
    HALF_A_CHARACTER,
    UnreadError,
    half_of_a_character,
    is_merge,
    number_text,
    scalar,
    unread_tag,
)
from simulator.errors import Problem
from simulator.streams import encoding_of
from simulator.units import format_bytes

__all__ = [
    "MOST_LEVELS",
    "Document",
    "KeyPath",
    "Mark",
    "Marks",
    "dotted",
    "read_text",
    "read_yaml",
]

KeyPath = tuple[str | int, ...]

_MOST_VALUES = 200_000
"""More values than that come from aliases of aliases, not from a person."""

MOST_LEVELS = 100
"""Deeper values than that are no configuration, and every later step would recurse into them."""

_MOST_CHARACTERS = 200
"""Longer keys are none, nor the dotted path of one."""

_MOST_BYTES = 8_000_000
"""Larger files are data, not a configuration, and would be read for minutes."""

_SHARED = "x-"
"""Keys at the top of a file that begin so hold pieces for aliases and merge keys."""

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
    text: str = ""
    """A number as it is written there (`2e4`); empty for any other value."""


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

    def text(self, path: KeyPath) -> str:
        """A number at `path` as it is written; empty where that is not known."""
        mark = self.by_path.get(path)
        return mark.text if mark else ""

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
        size = file.stat().st_size
        if size > _MOST_BYTES:
            return _failed(str(file), f"is {format_bytes(size)}: too large for a configuration")
        content = file.read_bytes()
    except FileNotFoundError:
        return _failed(str(file), "there is no such file")
    except IsADirectoryError:
        return _failed(str(file), "is a folder, not a YAML file")
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        return _failed(str(file), f"cannot be read: {getattr(error, 'strerror', '') or error}")
    encoding = encoding_of(content[:4])
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if not encoding.startswith("utf-8"):
            message = f"is not {encoding.upper()} text, although it begins as such"
            return _failed(str(file), message)
        before, byte = error.object[: error.start], error.object[error.start]
        message = f"is not UTF-8 text: byte 0x{byte:02x}"
        return _failed(_at(str(file), before.decode()), message, "save the file as UTF-8")
    return read_text(text, str(file))


@lru_cache(maxsize=256)
def read_text(text: str, file: str, fixed: bool = False) -> Document:
    """Read YAML text that came from `file`.

    With `fixed`, every place is `file` itself, without line and column (a command line). What is
    returned is shared between calls with the same text: do not change it.
    """
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.get_constructor_parser(io.StringIO(text))[0].composer.get_single_node()
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = file if fixed or mark is None else f"{file}:{mark.line + 1}:{mark.column + 1}"
        return _failed(where, f"is not valid YAML: {_reason(error)}", _remedy(error))
    except ReaderError as error:
        where = file if fixed else _at(file, text[: error.position])
        return _failed(where, f"is not valid YAML: the character #x{ord(text[error.position]):04x}")
    except Exception as error:  # what else the library raises of text is about the text
        reached = yaml.reader
        where = file if fixed else f"{file}:{reached.line + 1}:{reached.column + 1}"
        deep = isinstance(error, RecursionError)
        reason = " ".join(str(error).split())
        return _failed(where, "is nested too deeply" if deep else f"is not valid YAML: {reason}")
    if root is None:
        return _failed(file if fixed else f"{file}:1:1", "is empty")
    walk = _Walk(file, fixed)
    data = walk.value(root, ())
    if isinstance(data, dict) and not fixed:
        data = {key: value for key, value in data.items() if not key.startswith(_SHARED)}
    return Document(data, Marks(walk.by_path), tuple(walk.problems))


def _at(file: str, before: str) -> str:
    """The place in `file` after the text `before`."""
    lines = before.split("\n")
    return f"{file}:{len(lines)}:{len(lines[-1]) + 1}"


def _reason(error: MarkedYAMLError) -> str:
    """What is wrong; some problems only make sense after what was being read."""
    problem, context = error.problem or "", error.context or ""
    return f"{context}, {problem}" if problem.startswith("but") else problem or context


def _remedy(error: MarkedYAMLError) -> str:
    """What to write instead, of mistakes that are made often."""
    if "\\t" in str(error.problem):
        return "indent with spaces, not tabs"
    if "another document" in str(error.problem):
        return "several documents (`---`) in a file are not read: one file, one mapping"
    return ""


def _failed(where: str, message: str, hint: str = "") -> Document:
    return Document(None, Marks({(): Mark(where, where)}), (Problem(where, "", message, hint),))


Pairs = dict[str, tuple[Node, Node]]
"""Keys of a mapping, each with its node and that of its value."""


class _Walk:
    """One pass over the node graph."""

    def __init__(self, file: str, fixed: bool) -> None:
        self.by_path: dict[KeyPath, Mark] = {}
        self.problems: list[Problem] = []
        self._file = file
        self._fixed = fixed
        self._open: list[int] = []
        self._pairs_of: dict[int, Pairs] = {}

    def value(self, node: Node, path: KeyPath, key: str | None = None) -> Any:
        where = self._where(node)
        self.by_path[path] = Mark(key or where, where, number_text(node))
        if id(node) in self._open or len(self.by_path) > _MOST_VALUES:
            self._problem(where, path, "an alias (`*name`) that contains itself or grows too large")
            return None
        if len(path) > MOST_LEVELS:
            self._problem(where, path[:1], "is nested too deeply")
            return None
        self._open.append(id(node))
        try:
            if isinstance(node, ScalarNode):
                return scalar(node)
            if node.tag not in _PLAIN_TAGS:
                raise unread_tag(node)
            if isinstance(node, SequenceNode):
                return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
            return {
                key: self.value(value, (*path, key), self._where(at))
                for key, (at, value) in self._pairs(node, path).items()
            }
        except UnreadError as error:
            self._problem(where, path, error.message, error.hint)
            return None
        finally:
            self._open.pop()

    def _pairs(self, node: Node, path: KeyPath) -> Pairs:
        """The keys of a mapping, those that it merges first and under its own."""
        if id(node) not in self._pairs_of:
            self._pairs_of[id(node)] = {}  # what a mapping that merges itself finds
            own, merged = self._own_pairs(node, path)
            self._pairs_of[id(node)] = merged | own
        return self._pairs_of[id(node)]

    def _own_pairs(self, node: Node, path: KeyPath) -> tuple[Pairs, Pairs]:
        """The keys that stand in a mapping, and those that it merges."""
        own: Pairs = {}
        merged: Pairs = {}
        for key_node, value_node in node.value:
            where = self._where(key_node)
            if not isinstance(key_node, ScalarNode):
                self._problem(where, path, "a key must be plain text, not a list or a mapping")
                continue
            key = key_node.value
            if len(key) > _MOST_CHARACTERS:
                message = f"a key of {len(key):,} characters: {_MOST_CHARACTERS} at most"
                self._problem(where, path, message)
                continue
            if half_of_a_character(key):
                self._problem(where, path, f"a key {HALF_A_CHARACTER[0]}", HALF_A_CHARACTER[1])
                continue
            merges = is_merge(key_node)
            if key in (merged if merges else own):
                first = self._where((merged if merges else own)[key][0])
                hint = "merge a list: `<<: [*first, *second]`" if merges else "keep one of them"
                message = f"the key is given twice: here and at {first}"
                self._problem(where, (*path, key), message, hint)
            elif merges:
                merged = self._merged(value_node, (*path, key)) | {key: (key_node, value_node)}
            else:
                own[key] = key_node, value_node
        merged.pop("<<", None)
        return own, merged

    def _merged(self, node: Node, path: KeyPath) -> Pairs:
        """The keys of a mapping, or of a list of mappings, of which earlier ones prevail."""
        pairs: Pairs = {}
        for each in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(each, MappingNode):
                message = "a merge key takes a mapping (`<<: *name`), or a list of mappings"
                self._problem(self._where(each), path, message)
            elif id(each) in self._open:
                self._problem(self._where(each), path, "merges a mapping into itself")
            else:
                pairs = pairs | {k: v for k, v in self._pairs(each, path).items() if k not in pairs}
        return pairs

    def _where(self, node: Node) -> str:
        mark = node.start_mark
        if self._fixed:
            return self._file
        return f"{self._file}:{mark.line + 1}:{mark.column + 1}"

    def _problem(self, where: str, path: KeyPath, message: str, hint: str = "") -> None:
        self.problems.append(Problem(where, dotted(path), message, hint))
