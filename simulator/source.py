"""The text of Python modules: what a module depends on, and one hash of it all.

Imports are read from the text, without loading anything, so that it costs microseconds a file.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

__all__ = ["dependencies", "module_name", "package_folder", "text_hash"]

_COMMENT = re.compile(r"#[^\n]*")
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]*(\([^)]*\)|[^\n]*)|import[ \t]+([^\n]*))",
    re.MULTILINE,
)
_HERE = Path(__file__).parent


def package_folder(file: Path) -> Path:
    """The folder of the top-level package that `file` belongs to, or the folder of a lone file."""
    return _top(file.parent)


@cache
def _top(folder: Path) -> Path:
    marks = (folder / "__init__.py", folder.parent / "__init__.py")
    return _top(folder.parent) if all(mark.is_file() for mark in marks) else folder


def module_name(file: Path) -> str:
    """The dotted name of `file` within its top-level package."""
    return ".".join(file.relative_to(package_folder(file)).with_suffix("").parts)


def dependencies(file: Path) -> list[Path]:
    """`file` and the files that it imports, directly or not, from its own package and this one.

    An import counts wherever it stands, also within functions and below `if TYPE_CHECKING`. A
    module taken from a package does not bring that package's `__init__`.
    """
    reached: set[Path] = set()
    waiting = [file]
    while waiting:
        module = waiting.pop()
        if module not in reached:
            reached.add(module)
            waiting += _imported(module)
    return sorted(reached)


def text_hash(files: Iterable[Path], *facts: str) -> str:
    """SHA-256 (hex) of the names and contents of files, and of `facts`."""
    digest = hashlib.sha256()
    for file in files:
        content = _content(file)
        digest.update(f"{module_name(file)} {len(content)}\0".encode() + content)
    for fact in facts:
        digest.update(f"{fact}\0".encode())
    return digest.hexdigest()


@cache
def _content(file: Path) -> bytes:
    """The text as first read: modules are loaded once, too."""
    return file.read_bytes()


@cache
def _imported(file: Path) -> tuple[Path, ...]:
    roots = {folder.name: folder for folder in (_HERE, package_folder(file))}
    modules = []
    for base, names in _import_statements(_content(file).decode(errors="replace")):
        start, parts = _start(file, base, roots)
        if start is None:
            continue
        for name in names:
            module = _module_file(start, (*parts, name)) or _module_file(start, parts)
            if module is not None:
                modules.append(module)
    return tuple(modules)


def _import_statements(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each module that is imported from, with the names taken from it (`""`: none)."""
    for statement in _IMPORT.finditer(_COMMENT.sub("", text).replace("\\\n", " ")):
        base, names, modules = statement.groups()
        if base is not None:
            yield base, _first_words(names.strip("() \t"))
        else:
            yield from ((module, [""]) for module in _first_words(modules))


def _first_words(listed: str) -> list[str]:
    """`a` and `b` of `a as x, b`."""
    return [words[0] for item in listed.split(",") if (words := item.split())]


def _start(file: Path, base: str, roots: dict[str, Path]) -> tuple[Path | None, tuple[str, ...]]:
    """The folder that a dotted name starts from (`None`: of another package) and its parts."""
    dots = len(base) - len(base.lstrip("."))
    parts = tuple(part for part in base.split(".") if part)
    if dots:
        return file.parents[dots - 1], parts
    return roots.get(parts[0]), parts[1:]


def _module_file(start: Path, parts: tuple[str, ...]) -> Path | None:
    if parts and not parts[-1]:
        return None
    folder = start.joinpath(*parts)
    for file in (folder.with_suffix(".py"), folder / "__init__.py"):
        if file.is_file():
            return file
    return None
