"""The catalogue: named machines, parts, models, traces and operator profiles in YAML files.

A reference is the name of a catalogue file without `.yaml`, the path of a YAML file, or a mapping;
a mapping with `base: REFERENCE` takes that entry and lays its own keys over it. Models, traces and
operator profiles are read here, machines and their parts by `simulator.config.machine_file`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from simulator.config.problems import did_you_mean, validate
from simulator.config.reader import Document, Mark, Marks, read_yaml
from simulator.config.trace import with_key
from simulator.data import path as data_path
from simulator.errors import ConfigError, Problem
from simulator.text import shown

__all__ = [
    "KINDS",
    "adapter",
    "directory",
    "files",
    "find",
    "load_named",
    "names",
    "portable",
    "resolve",
]

_MOST_LISTED = 20
"""Names that a message lists; more are left to `scratchpipe list`."""
KINDS: dict[str, tuple[str, str]] = {
    "models": ("simulator.config.model", "ModelConfig"),
    "traces": ("simulator.config.trace", "TraceConfig"),
    "operators": ("simulator.config.operators", "OperatorProfile"),
    "collectives": ("simulator.config.collectives", "Collectives"),
    "loaders": ("simulator.config.loading", "LoaderProfile"),
}
"""Folders of the catalogue whose entries are read here, and the type of their entries."""
_INNER = {"operators": "collectives"}
"""Entries with a key, named as its folder, that holds an entry of that folder."""


def directory(kind: str) -> Path:
    """The folder of one kind."""
    return data_path("configs") / kind


def portable(path: str) -> str:
    """A path of a file that belongs to the catalogue, the same on every machine."""
    home = data_path("configs").parent.as_posix() + "/"
    return path.removeprefix(home)


def files(kind: str) -> dict[str, Path]:
    """The files of one kind by name, sorted."""
    return {path.stem: path for path in sorted(directory(kind).glob("*.yaml"))}


def names(kind: str) -> tuple[str, ...]:
    """The names of all entries of one kind, sorted."""
    return tuple(files(kind))


def find(
    name: str, folder: Path, known: Mapping[str, Path], what: str
) -> tuple[Path | None, str, str]:
    """The file of an entry: of a name among the `known`, or of a path from `folder`.

    None where there is none, with a message and a hint; `what` is what the known ones are.
    """
    if name.endswith((".yaml", ".yml")) or "/" in name:
        file = folder / name
        return (file, "", "") if os.path.isfile(file) else (None, _no_file(name, file), "")
    if name in known:
        return known[name], "", ""
    listed = ", ".join(known) if len(known) <= _MOST_LISTED else f"`scratchpipe list {what}`"
    hint = f"{did_you_mean(name, known)} known: {listed}".strip()
    return None, f"is {shown(name)}: not in the catalogue of {what.rpartition('/')[2]}", hint


def _no_file(name: str, file: Path) -> str:
    return f"is {shown(name)}: there is no file {file}"


@cache
def adapter(kind: str) -> TypeAdapter[Any]:
    """What validates an entry of one kind."""
    module, name = KINDS[kind]
    return TypeAdapter(getattr(importlib.import_module(module), name))


def load_named(kind: str, name_or_path: str) -> Any:
    """The validated entry of `kind` (a key of `KINDS`).

    Raises `ConfigError` with every problem of its file.
    """
    where = Marks({(): Mark(name_or_path, name_or_path)})
    document = resolve(kind, Document(name_or_path, where), Path())
    if document.problems:
        raise ConfigError(*document.problems)
    value, problems = validate(adapter(kind), document.data, document.marks, ())
    if problems:
        raise ConfigError(*problems)
    return value


def resolve(kind: str, reference: Document, folder: Path, key: str = "") -> Document:
    """The plain data that `reference` stands for; `key` is the path that messages name.

    Relative paths are relative to `folder`. Problems of the reference and of the files that it
    leads to are in the result.
    """
    return _Resolver(kind, key or kind[:-1]).follow(reference, folder, ())


class _Resolver:
    def __init__(self, kind: str, key: str) -> None:
        self._kind = kind
        self._key = key

    def follow(self, reference: Document, folder: Path, trail: tuple[Path, ...]) -> Document:
        data = reference.data
        if isinstance(data, str):
            return self._entry(data, reference.marks.value(()), folder, trail)
        if not isinstance(data, dict):
            message = f"is {shown(data)}: expected a name, or a mapping with its keys"
            return self._failed(reference, message)
        if "base" not in data:
            return self._anchored(reference, folder)
        base_name = data["base"]
        if not isinstance(base_name, str):
            message = f"base is {shown(base_name)}: expected the name of an entry to start from"
            return self._failed(reference, message)
        where = Marks({(): Mark(*([reference.marks.value(("base",))] * 2))})
        base = self.follow(Document(base_name, where), folder, trail)
        if base.problems:
            return base
        changes = {k: v for k, v in data.items() if k != "base"}
        overlay = self._anchored(Document(changes, reference.marks), folder)
        return self._merged(base, overlay)

    def _entry(self, name: str, where: str, folder: Path, trail: tuple[Path, ...]) -> Document:
        file, message, hint = find(name, folder, files(self._kind), self._kind)
        if file is None:
            return Document(None, Marks(), (Problem(where, self._key, message, hint),))
        if file in trail:
            message = f"{file} has itself as its base"
            return Document(None, Marks(), (Problem(where, self._key, message),))
        document = read_yaml(file)
        if document.problems:
            return document
        entry = self.follow(document, file.parent, (*trail, file))
        gives_name = isinstance(document.data, dict) and "name" in document.data
        return entry if gives_name else self._named(entry, file.stem)

    def _named(self, document: Document, name: str) -> Document:
        """The entry with its file's name, where entries of this kind have a name."""
        has_name = "name" in adapter(self._kind).json_schema().get("properties", {})
        if not has_name or not isinstance(document.data, dict):
            return document
        return Document({**document.data, "name": name}, document.marks, document.problems)

    def _with_inner(self, document: Document, folder: Path) -> Document:
        """The entry of another folder that it holds, read as well, where it is a reference."""
        inner = _INNER.get(self._kind, "")
        value = document.data.get(inner)
        if not (isinstance(value, str) or (isinstance(value, dict) and "base" in value)):
            return document
        reference = Document(value, document.marks.below((inner,)))
        read = resolve(inner, reference, folder, f"{self._key}.{inner}")
        data = {**document.data, inner: read.data}
        marks = document.marks.overlaid((inner,), read.marks)
        return Document(data, marks, (*document.problems, *read.problems))

    def _anchored(self, document: Document, folder: Path) -> Document:
        """Paths of files as seen from where the simulator runs; entries that it names, read."""
        document = self._with_inner(document, folder)
        if self._kind != "traces":
            return document
        data = dict(document.data)
        for key in ("path", "distances_path"):
            where = document.marks.value((key,))
            value = data.get(key)
            if isinstance(value, str) and value and not where.startswith("--set"):
                data[key] = os.path.normpath(folder / value)
        return Document(data, document.marks, document.problems)

    def _merged(self, base: Document, overlay: Document) -> Document:
        data, marks = base.data, base.marks
        if self._kind == "traces":
            for key in sorted(overlay.data, key=lambda k: k not in ("kind", "locality")):
                data = with_key(data, key, overlay.data[key])
        else:
            data = _laid_over(data, overlay.data)
        if overlay.data and "name" in data and "name" not in overlay.data:
            data = {**data, "name": f"{str(data['name']).rstrip('*')}*"}
        problems = (*base.problems, *overlay.problems)
        return Document(data, marks.overlaid((), overlay.marks), problems)

    def _failed(self, reference: Document, message: str) -> Document:
        problem = Problem(reference.marks.value(()), self._key, message)
        return Document(None, reference.marks, (problem,))


def _laid_over(base: Any, changes: Any) -> Any:
    """`changes` over `base`: mappings key by key, everything else replaced."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    merged = dict(base)
    for key, value in changes.items():
        merged[key] = _laid_over(base[key], value) if key in base else value
    return merged
