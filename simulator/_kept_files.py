"""Folders of what is kept on disk beside the code: kernels and answers (`simulator._kept_answers`).

The folder of a module is named by the hash of the module, of all that it imports from its package
(`simulator.source.dependencies`) and of the versions of Python, numba and llvmlite. When a new
folder is made, that of the old text is removed. Folders are tried in order: that of
`NUMBA_CACHE_DIR` where it is set; else `__pycache__` of the package, then the user's cache folder.
Files carry their checksum and appear by renaming, so processes may share them.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import uuid
from functools import cache
from pathlib import Path
from typing import Any, cast

import llvmlite
import numba
from numba.misc.appdirs import AppDirs

from simulator.source import dependencies, module_name, package_folder, text_hash

__all__ = ["folders_of", "kept_content", "takes_files", "write_kept"]

_CHECKSUM_BYTES = 32
_FOLDER = re.compile(r"(?P<module>[\w.]+)-[0-9a-f]{16}")


@cache
def folders_of(file: Path) -> tuple[Path, ...]:
    """Where what is kept of the module `file` may lie, best first."""
    package = package_folder(file)
    text = text_hash(dependencies(file), sys.version, numba.__version__, llvmlite.__version__)
    inner = Path(f"kernels.{sys.implementation.cache_tag}", f"{module_name(file)}-{text[:16]}")
    # In a folder that packages share, each place of the package has its own.
    shared = f"{package.name}_{hashlib.sha256(str(package).encode()).hexdigest()[:16]}"
    if chosen := str(getattr(numba.config, "CACHE_DIR", "")):
        return (Path(chosen, shared) / inner,)
    user = cast(Any, AppDirs)(appname="scratchpipe-sim", appauthor=False).user_cache_dir
    return package / "__pycache__" / inner, Path(user, shared) / inner


def kept_content(file: Path) -> bytes:
    """The content without its checksum. Raises `OSError`, `ValueError` if it does not match."""
    content = file.read_bytes()
    checksum, payload = content[:_CHECKSUM_BYTES], content[_CHECKSUM_BYTES:]
    if hashlib.sha256(payload).digest() != checksum:
        raise ValueError(f"{file}: damaged")
    return payload


def write_kept(file: Path, payload: bytes) -> None:
    """Write `payload` with its checksum, all or nothing. Raises `OSError`."""
    _make_folder(file.parent)
    _write(file, hashlib.sha256(payload).digest() + payload)


def takes_files(folder: Path) -> bool:
    """Whether `write_kept` can write to `folder`, which is made."""
    try:
        _make_folder(folder)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


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
