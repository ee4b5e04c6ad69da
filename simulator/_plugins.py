"""Plug-ins: systems, policies and kinds of parts that packages announce or files hold.

A package announces them as entry points; a file of one's own is referred to (`./mine.py:Mine`,
`simulator._plugin_files`). Either way a class is held to its contract before it is used.
"""

from __future__ import annotations

import inspect
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import extract_tb
from types import FunctionType, ModuleType
from typing import Any

from simulator._plugin_files import FileReference, from_file, load_file
from simulator.columns import UndecidedError
from simulator.errors import PluginError, ScratchPipeError, UsageError

__all__ = ["Contract", "class_in_file", "explained", "load_plugin", "named", "place_of", "plugins"]


def plugins(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name, sorted."""
    return _plugins(group, tuple(sys.path))


@lru_cache
def _plugins(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """Looked for once for what is on the `path` of imports: that reads many files."""
    del path
    entries = entry_points(group=group)
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}


@dataclass(frozen=True, slots=True)
class Contract:
    """What a class from outside must be."""

    base: type[Any]
    door: str
    """Where in the package its users import `base` from: `caches.Policy`."""

    @property
    def word(self) -> str:
        return self.base.__name__.lower()


def load_plugin(source: EntryPoint | FileReference, contract: Contract) -> type[Any]:
    """The class that an entry point names, or that a file holds.

    Raises `UsageError` that says which package announces it, or which line of which file is at
    fault, where it cannot be loaded or breaks the `contract`.
    """
    if isinstance(source, FileReference):
        return _kept(_class_in(load_file(source), source, contract), contract, "")
    try:
        found = source.load()
    except Exception as error:
        raise UsageError(
            f"{named(source)} cannot be loaded ({source.group}: {source.value}): "
            f"{type(error).__name__}: {error}"
        ) from error
    return _kept(found, contract, f"{named(source)} ")


def class_in_file(text: str) -> type[Any] | None:
    """The class that `text` refers to (`./mine.py:Mine`), whatever it is; None where it refers to
    no file or to no class. Raises `UsageError` where the file cannot be loaded."""
    source = from_file(text)
    found = None if source is None else getattr(load_file(source), source.name or " ", None)
    return found if isinstance(found, type) else None


def named(entry: EntryPoint) -> str:
    """An entry point for messages: its name and its package."""
    package = "a package" if entry.dist is None else f"the package {entry.dist.name}"
    return f"{entry.name} of {package}"


def _class_in(module: ModuleType, source: FileReference, contract: Contract) -> object:
    """What the file calls by that name; `UsageError` with the names that it has."""
    found = getattr(module, source.name, None) if source.name else None
    if found is not None:
        return found
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__
    ]
    fitting = [value.__name__ for value in own if issubclass(value, contract.base)]
    names = ", ".join(fitting or [value.__name__ for value in own]) or "no class at all"
    if not source.name:
        raise UsageError(
            f"{source.file}: which class of it? write {source.file}:CLASS (it has {names})"
        )
    raise UsageError(f"{source.file} has no {source.name}: it has {names}")


def _kept(found: object, contract: Contract, who: str) -> type[Any]:
    """`found`, a class that keeps the contract; `who` announces it."""
    if not (isinstance(found, type) and issubclass(found, contract.base)):
        where = f"{place_of(found)}: " if isinstance(found, type) and not who else ""
        name = who or f"{getattr(found, '__name__', repr(found))} "
        what = f": {found!r}" if who else ""
        raise UsageError(f"{where}{name}is no subclass of simulator.{contract.door}{what}")
    broken = _missing(found, contract) or _other_arguments(found, contract)
    if broken:
        raise UsageError(f"{place_of(found)}: {who}{found.__name__} {broken}")
    return found


def _missing(found: type, contract: Contract) -> str:
    """The methods of the contract that a class lacks, in words."""
    abstract = sorted(getattr(found, "__abstractmethods__", ()))
    wanted = ", ".join(f"{n}({_words(getattr(contract.base, n))})" for n in abstract)
    return f"lacks what a {contract.word} must have: {wanted}" if wanted else ""


def _other_arguments(found: type, contract: Contract) -> str:
    """The first method that cannot be called as the contract calls it, in words."""
    for name, wanted in vars(contract.base).items():
        own = found.__dict__.get(name)
        if not (isinstance(wanted, FunctionType) and isinstance(own, FunctionType)):
            continue
        try:
            inspect.signature(own).bind(*inspect.signature(wanted).parameters)
        except TypeError:
            line, called = own.__code__.co_firstlineno, _words(wanted)
            return f"has {name}({_words(own)}) in line {line}: it is called as {name}({called})"
    return ""


def _words(method: FunctionType) -> str:
    """The parameters of a method by name."""
    return ", ".join(inspect.signature(method).parameters)


def place_of(thing: object) -> str:
    """`file:line` of a class or function; empty where that is not known."""
    try:
        file = inspect.getsourcefile(thing)  # type: ignore[arg-type]
        line = inspect.getsourcelines(thing)[1]  # type: ignore[arg-type]
    except (OSError, TypeError):
        return ""
    return f"{file}:{line}"


@contextmanager
def explained(name: str, what: str, by: type | None = None) -> Iterator[None]:
    """Errors of code from outside as a `PluginError` that names it and its line; errors of this
    package, and those that it raises on purpose, pass.

    `by`: the class from outside whose answer is used meanwhile; where an error comes from what it
    answered, and none of its lines is at fault, the place of the class is named.
    """
    try:
        yield
    except (ScratchPipeError, UndecidedError):
        raise
    except Exception as error:
        where = [frame for frame in extract_tb(error.__traceback__) if not _ours(frame.filename)]
        if not where and (by is None or _ours(inspect.getsourcefile(by) or "")):
            raise
        place = f"{where[-1].filename}:{where[-1].lineno}, in {where[-1].name}" if where else ""
        raise PluginError(
            f"{name} {what}: {type(error).__name__}: {error} ({place or place_of(by)})"
        ) from error


@cache
def _library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _ours(file: str) -> bool:
    """Whether a file belongs to this package, to what it is installed with, or to Python."""
    folders = Path(file).parents
    if Path(__file__).parent in folders or _library() in folders:
        return True
    return "site-packages" in file or file.startswith("<")
