"""Machines and parts of the catalogue, read with the kinds of parts that exist."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar, overload

from simulator.config import catalogue
from simulator.config.assign import apply, assignments
from simulator.config.machine import MachineConfig, Part
from simulator.config.machine_file import read_machine
from simulator.config.part_keys import by_dotted_key
from simulator.config.parts import part_files, read_part
from simulator.config.reader import Document, Mark, Marks
from simulator.errors import ConfigError, Problem
from simulator.hardware.devices import part_kinds

__all__ = ["load_machine", "load_part", "machine_names", "part_names"]

P = TypeVar("P", bound=Part)


def machine_names() -> tuple[str, ...]:
    """The names of all machines, sorted."""
    return catalogue.names("platforms")


def part_names(folder: str | None = None) -> tuple[str, ...]:
    """The names of all parts, or of those of one folder of `configs/parts/`."""
    files = part_files().items()
    return tuple(name for name, file in files if folder in (None, file.parent.name))


def load_machine(name_or_path: str, overrides: Iterable[str] = ()) -> MachineConfig:
    """The machine of a name of the catalogue or of a YAML file, after `overrides` ("path=value",
    such as "host.gpu.count=8").

    Raises `ConfigError` with every problem of it and of its parts.
    """
    where = Marks({(): Mark(name_or_path, name_or_path)})
    changes, problems = assignments(overrides, "platform")
    if problems:
        raise ConfigError(*problems)
    data, marks = apply({"platform": name_or_path}, Marks().grafted(("platform",), where), changes)
    reference = Document(data["platform"], marks.below(("platform",)))
    machine, problems = read_machine(reference, Path(), part_kinds())
    if machine is None:
        raise ConfigError(*problems)
    return machine


@overload
def load_part(name_or_path: str | Path, overrides: Mapping[str, object] | None = None) -> Part: ...


@overload
def load_part(
    name_or_path: str | Path, overrides: Mapping[str, object] | None, model: type[P]
) -> P: ...


def load_part(
    name_or_path: str | Path,
    overrides: Mapping[str, object] | None = None,
    model: type[Part] = Part,
) -> Part:
    """The part of a name of the catalogue or of a YAML file, with `overrides` applied.

    An override's key is a dotted path (`timing.rp`), or the last word of one where only one ends so
    (`rp`). Values are spelled as in the file. Raises `ConfigError` with every problem; a part of
    another kind than `model` is one.
    """
    name = str(name_or_path)
    changes = {
        key: Document(value, Marks({(): Mark(f"--set {key}", f"--set {key}")}))
        for key, value in by_dotted_key(overrides or {})
    }
    reference = Document(name, Marks({(): Mark(name, name)}))
    part = read_part(reference, changes, part_kinds())
    if not isinstance(part, model):
        raise ConfigError(Problem(name, "kind", f"is {part.kind}: expected another kind of part"))
    return part
