"""Compiled kernels on disk, under the hash of all text that they were compiled from.

numba's own cache knows the file of a kernel only; what it inlines, calls or takes as constants
from other modules may change beneath it. Here the folder of a module's kernels is named by the hash
of the module, of all that it imports from its package (`simulator.source.dependencies`) and of the
versions of Python, numba and llvmlite. When a new folder is made, that of the old text is removed.

The cache is never the reason why a run fails: a file that is missing, damaged (each carries its
checksum) or of another machine is a kernel to be compiled, and a file that cannot be written is not
written. Folders are tried in order: that of `NUMBA_CACHE_DIR` where it is set; else `__pycache__`
of the package, then the user's cache folder. Files appear by renaming, so processes may share them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import re
import shutil
import sys
import uuid
import warnings
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, cast

import llvmlite
import numba
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

from simulator.source import dependencies, module_name, package_folder, text_hash

__all__ = ["KernelCache"]

_CHECKSUM_BYTES = 32
_FOLDER = re.compile(r"(?P<module>[\w.]+)-[0-9a-f]{16}")


class KernelCache(NullCache):
    """The cache of one kernel, in the place of numba's own (`Dispatcher._cache`)."""

    def __init__(self, function: FunctionType, options: str) -> None:
        """For `function` compiled with `options`. Raises `OSError` where its text is in no file."""
        file = Path(function.__code__.co_filename)
        self._name = f"{function.__qualname__}-{function.__code__.co_firstlineno}"
        self._options = options
        self._folders = _folders(file)

    @property
    def cache_path(self) -> str:
        """The folder that is tried first."""
        return str(self._folders[0])

    @property
    def is_kept(self) -> bool:
        """Whether some folder has the kernel, for whatever arguments and processor."""
        return any(any(f.glob(f"{self._name}-*.kernel")) for f in self._folders if f.is_dir())

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The kernel compiled for `signature`, or `None`."""
        target.refresh()
        name = self._file_name(signature, target)
        for folder in self._folders:
            # Whatever a damaged file raises, the kernel can be compiled.
            with contextlib.suppress(Exception):
                parts = pickle.loads(_read(folder / name))
                return cast(Any, CompileResult)._rebuild(target, *parts)
        return None

    def save_overload(self, signature: Any, kernel: Any) -> None:
        """Keep `kernel` in the first folder that takes it."""
        if kernel.library.has_dynamic_globals or kernel.lifted:
            warnings.warn(f"{self._name} cannot be kept on disk", RuntimeWarning, stacklevel=2)
            return
        name = self._file_name(signature, kernel.target_context)
        payload = cast(Any, dumps)(kernel._reduce())
        content = hashlib.sha256(payload).digest() + payload
        for folder in self._folders:
            with contextlib.suppress(OSError):
                _make_folder(folder)
                _write(folder / name, content)
                return

    def _file_name(self, signature: Any, target: Any) -> str:
        """Named by all that makes other machine code of the same text."""
        config: Any = numba.config
        facts = (
            str(signature),
            target.codegen().magic_tuple(),  # kind of processor
            self._options,
            (config.OPT, config.BOUNDSCHECK, config.DEBUGINFO_DEFAULT),
        )
        return f"{self._name}-{hashlib.sha256(repr(facts).encode()).hexdigest()[:16]}.kernel"


@cache
def _folders(file: Path) -> tuple[Path, ...]:
    """Where the kernels of the module `file` may lie, best first."""
    package = package_folder(file)
    text = text_hash(dependencies(file), sys.version, numba.__version__, llvmlite.__version__)
    inner = Path(f"kernels.{sys.implementation.cache_tag}", f"{module_name(file)}-{text[:16]}")
    # In a folder that packages share, each place of the package has its own.
    shared = f"{package.name}_{hashlib.sha256(str(package).encode()).hexdigest()[:16]}"
    if chosen := str(getattr(numba.config, "CACHE_DIR", "")):
        return (Path(chosen, shared) / inner,)
    user = cast(Any, AppDirs)(appname="scratchpipe-sim", appauthor=False).user_cache_dir
    return package / "__pycache__" / inner, Path(user, shared) / inner


def _read(file: Path) -> bytes:
    """The content without its checksum. Raises `OSError`, `ValueError` if it does not match."""
    content = file.read_bytes()
    checksum, payload = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
    if hashlib.sha256(payload).digest() != checksum:
        raise ValueError(f"{file}: damaged")
    return payload


def _make_folder(folder: Path) -> None:
    """Make `folder`; if it is new, remove those of other texts of the same module."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    module = folder.name.rpartition("-")[0]
    for other in folder.parent.iterdir():
        match = _FOLDER.fullmatch(other.name)
        if other != folder and match and match["module"] == module:
            shutil.rmtree(other, ignore_errors=True)


def _write(file: Path, content: bytes) -> None:
    """Write all of `content` or nothing. Raises `OSError`."""
    draft = file.with_name(f"{file.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    try:
        draft.write_bytes(content)
        if file.is_dir():
            shutil.rmtree(file, ignore_errors=True)
        draft.replace(file)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
