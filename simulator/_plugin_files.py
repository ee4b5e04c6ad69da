"""Plug-ins out of a file, by reference: `./mine.py:MostRecent`, relative to the file that says so.

The module of such a file has a name that says where the file is, and a finder that knows such
names: what is pickled in one process can be unpickled in another. A file that has changed is
loaded again. Modules that lie beside it can be imported in it, after those that are installed.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

from simulator.errors import UsageError

__all__ = ["FileReference", "anchored", "from_file", "load_file", "module_file", "own_sources"]
__all__ += ["short_name"]

_REFERENCE = re.compile(r"(?P<file>.+\.py)(:(?P<name>\w*))?")
_PREFIX = "scratchpipe_file_"
_STATE = "__scratchpipe_state__"


class FileReference(NamedTuple):
    """A file of Python and a class in it."""

    file: str
    name: str
    """Empty where none is named."""

    @property
    def short(self) -> str:
        """Without the folder: `mine.py:MostRecent`."""
        return f"{Path(self.file).name}:{self.name}"


def from_file(text: str) -> FileReference | None:
    """The file and class that `text` refers to; None where it is a plain name."""
    match = _REFERENCE.fullmatch(text)
    return FileReference(match["file"], match["name"] or "") if match else None


def anchored(text: str, folder: Path) -> str:
    """The reference `text` as seen from where the simulator runs; plain names as they are."""
    reference = from_file(text)
    if reference is None:
        return text
    file = os.path.normpath(folder / Path(reference.file).expanduser())
    return f"{file}:{reference.name}"


def short_name(text: str) -> str:
    """A name as results show it: references without their folder, plain names as they are."""
    reference = from_file(text)
    return text if reference is None else reference.short


def load_file(reference: FileReference) -> ModuleType:
    """The module of the file.

    Raises `UsageError` with file and line where it is not there or running it fails.
    """
    file = Path(os.path.abspath(reference.file))
    name = _PREFIX + os.fsencode(file).hex()
    try:
        about = file.stat()
    except OSError as error:
        raise UsageError(f"{reference.file}: {error.strerror}") from error
    state = (about.st_mtime_ns, about.st_size)
    known = sys.modules.get(name)
    if known is not None and getattr(known, _STATE, None) == state:
        return known
    sys.modules.pop(name, None)
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    try:
        module = importlib.import_module(name)
    except SyntaxError as error:
        raise UsageError(
            f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}"
        ) from error
    except Exception as error:
        line = _line_in(file, error)
        raise UsageError(
            f"{reference.file}:{line}: cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    setattr(module, _STATE, state)
    return module


def _line_in(file: Path, error: BaseException) -> int:
    """The last line of the file that the error passed."""
    line, trace = 1, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def module_file(module: str) -> Path | None:
    """The file that a module of this kind was loaded from; None for other modules."""
    if not module.startswith(_PREFIX):
        return None
    return Path(os.fsdecode(bytes.fromhex(module.removeprefix(_PREFIX))))


def own_sources(file: Path) -> str:
    """SHA-256 (hex) over a file and the modules beside it that it imports, directly or not."""
    digest = hashlib.sha256()
    for source in sorted(_with_imports(Path(os.path.abspath(file)))):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()


def _with_imports(file: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            waiting += _imports(source)
    return found


def _imports(file: Path) -> Iterator[Path]:
    """Files of modules and packages beside `file` that it imports, wherever in it."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            beside = file.parent.joinpath(*name.split("."))
            for source in (beside.with_suffix(".py"), beside / "__init__.py"):
                if source.is_file():
                    yield source


class _Loader(SourceFileLoader):
    """Leaves no bytecode beside the file and takes none: it may be older within a second."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        code: CodeType = self.source_to_code(self.get_data(path), path)
        return code


class _Finder(MetaPathFinder):
    """Finds modules whose names say where their files are."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        file = module_file(fullname)
        if file is None:
            return None
        return spec_from_file_location(fullname, file, loader=_Loader(fullname, str(file)))


sys.meta_path.append(_Finder())  # when this is imported: unpickling comes before any `load_file`
