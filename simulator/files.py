"""Files that are there whole or not at all, and a disk's refusals in plain words."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from simulator.errors import OutputError

__all__ = ["explained", "json_bytes", "replace_file", "sync_folder", "umask", "write_synced"]

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long",
}


def write_synced(file: Path, data: bytes) -> None:
    """Write `data` and wait until the disk has it."""
    with file.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def replace_file(file: Path, data: bytes) -> None:
    """Write `data` aside and rename it to `file`: a kill leaves the old file or the new one.

    What a kill leaves aside is called `.NAME.XXXX.part`.
    """
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".part", dir=file.parent)
    os.close(handle)
    aside = Path(name)
    try:
        write_synced(aside, data)
        aside.chmod(0o666 & ~umask())
        aside.replace(file)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in `folder`."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def json_bytes(data: Any) -> bytes:
    """`data` as JSON for people, with a line end. Raises `ValueError` for NaN and infinity."""
    return (json.dumps(data, indent=2, allow_nan=False) + "\n").encode()


def umask() -> int:
    """The permissions that new files of this process do not get."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


@contextmanager
def explained(out_dir: Path) -> Iterator[None]:
    """An `OSError` as an `OutputError` in plain words."""
    try:
        yield
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        message = f"cannot write results to {out_dir}: {reason}; choose another place with --out"
        raise OutputError(message) from error
