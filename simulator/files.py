"""The one writer of files: there whole or not at all, and a disk's refusals in plain words.

`staged` looks at what its target is first. A regular file is written aside and renamed, so that a
reader finds the old one or the new one; a link is followed, its target is what is replaced; a pipe,
a terminal or another character device is written through once all is there; a folder, a socket or a
disk is refused.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from simulator.errors import OutputError

__all__ = [
    "check_folder",
    "entry_lines",
    "explained",
    "folder_aside",
    "is_standard_output",
    "json_bytes",
]
__all__ += [
    "read_json",
    "replace_file",
    "scratch_beside",
    "staged",
    "sync_folder",
    "synced",
    "umask",
    "unwritable",
]
__all__ += ["write_file", "write_synced"]

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be larger than is allowed here (see ulimit -f)",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOENT: "a folder on its path is not there",
    errno.EISDIR: "it is a folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "its links lead in a circle",
    errno.EBUSY: "it is in use, or something is mounted there",
    errno.EPIPE: "whoever read it has gone",
}
_NO_TARGETS = {
    stat.S_IFDIR: "it is a folder",
    stat.S_IFSOCK: "it is a socket",
    stat.S_IFBLK: "it is a disk",
}
"""What cannot be written as a file."""
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(?P<number>\d+)|/dev/(?P<name>stdout|stderr)")
_MOST_LINKS = 40
_NAME_BYTES = 48
"""Of a target's name in the name of what is written aside: a long name stays within limits."""


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A file to write, which becomes `target` where the context ends without an exception.

    Raises `OutputError` in plain words where `target` is nothing to write to or the disk refuses;
    then `target` is as it was.
    """
    try:
        with _staged(target) as aside:
            yield aside
    except OSError as error:
        raise unwritable(target, error) from error


def write_file(target: Path, data: bytes | str) -> None:
    """Write one file that a user named, and the folders on its way. Raises as `staged` does."""
    try:
        if not target.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(target, error) from error
    with staged(target) as aside:
        aside.write_bytes(data.encode() if isinstance(data, str) else data)


def replace_file(file: Path, data: bytes, *, wait: bool = True) -> None:
    """Write a file of a folder of ours: a kill leaves the old file or the new one.

    What a kill leaves aside is called `.NAME.XXXX.part`. Without `wait` the disk may get the file
    later: where the whole machine stops it may be damaged or missing. Raises `OSError`.
    """
    with _staged(file, wait=wait) as aside:
        aside.write_bytes(data)


def scratch_beside(target: Path) -> Path | None:
    """The folder for scratch files of what becomes `target`: that of the file itself, or None, the
    usual one, where `target` is no regular file. Raises `OSError` as writing would."""
    _, through = _looked_at(target)
    return None if through else Path(os.path.realpath(target)).parent


def is_standard_output(target: Path) -> bool:
    """Whether what is written to `target` goes where this process prints."""
    if _descriptor(target) == 1:
        return True
    try:
        about = target.stat()
        return not stat.S_ISREG(about.st_mode) and os.path.samestat(about, os.fstat(1))
    except OSError:
        return False


@contextmanager
def _staged(target: Path, *, wait: bool = True) -> Iterator[Path]:
    mode, through = _looked_at(target)
    real = Path(os.path.realpath(target))
    folder = scratch_beside(target)
    prefix = f".{os.fsdecode(os.fsencode(real.name)[:_NAME_BYTES])}."
    handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=folder)
    os.close(handle)
    aside = Path(name)
    try:
        yield aside
        if through:
            _copy(aside, target)
            return
        if wait:
            _sync(aside)
        aside.chmod(mode)
        aside.replace(real)
        if wait:
            sync_folder(real.parent)
    finally:
        aside.unlink(missing_ok=True)


def _looked_at(target: Path) -> tuple[int, bool]:
    """Permissions that the file shall have, and whether it is written through, not replaced."""
    if _descriptor(target) is not None:
        return 0, True
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return 0o666 & ~umask(), False
    kind = stat.S_IFMT(mode)
    if kind in _NO_TARGETS:
        raise OSError(_NO_TARGETS[kind])
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(target))
    return stat.S_IMODE(mode), kind != stat.S_IFREG


def _copy(aside: Path, target: Path) -> None:
    """Write through; a descriptor of this process is shared, not opened a second time: what is
    printed on it afterwards comes after it."""
    descriptor = _descriptor(target)
    with aside.open("rb") as source:
        if descriptor is None:
            # Not created and not truncated: what was looked at is there.
            handle = os.open(target, os.O_WRONLY)
        else:
            sys.stdout.flush()
            handle = os.dup(descriptor)
        with os.fdopen(handle, "wb") as sink:
            shutil.copyfileobj(source, sink)


def _descriptor(target: Path) -> int | None:
    """The descriptor of this process that a path such as `/dev/stdout` names, links followed."""
    path = os.path.abspath(target)
    for _ in range(_MOST_LINKS):
        match = _DESCRIPTOR.fullmatch(path)
        if match:
            return int(match["number"] or {"stdout": 1, "stderr": 2}[match["name"]])
        try:
            path = os.path.abspath(os.path.join(os.path.dirname(path), os.readlink(path)))
        except OSError:
            return None
    return None


def write_synced(file: Path, data: bytes) -> None:
    """Write `data` and wait until the disk has it."""
    with synced(file) as stream:
        stream.write(data)


@contextmanager
def synced(file: Path) -> Iterator[BinaryIO]:
    """A file to write; the context ends when the disk has it."""
    with file.open("wb") as stream:
        yield stream
        stream.flush()
        os.fsync(stream.fileno())


def _sync(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names in `folder`; Windows opens no folders."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def json_bytes(data: Any) -> bytes:
    """`data` as JSON for people, with a line end. Raises `ValueError` for NaN and infinity."""
    return (json.dumps(data, indent=2, allow_nan=False) + "\n").encode()


def entry_lines(data: Mapping[str, Any]) -> bytes:
    """`data` as JSON with a line for each entry of its lists and objects: as that of people where
    entries are short, and many times as fast. Raises `ValueError` for NaN and infinity."""
    text = json.JSONEncoder(allow_nan=False).encode

    def lines(value: Any) -> str:
        if isinstance(value, dict) and value:
            entries, (opened, closed) = [f"{text(k)}: {text(v)}" for k, v in value.items()], "{}"
        elif isinstance(value, list) and value:
            entries, (opened, closed) = list(map(text, value)), "[]"
        else:
            return text(value)
        inner = ",\n    ".join(entries)
        return f"{opened}\n    {inner}\n  {closed}"

    inner = ",\n  ".join(f"{text(name)}: {lines(value)}" for name, value in data.items())
    return f"{{\n  {inner}\n}}\n".encode()


def read_json(file: Path) -> Any:
    """What a JSON file holds. Raises `OSError`, and `ValueError` for NaN and infinity too."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{file.name} holds {constant}")

    return json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)


def umask() -> int:
    """The permissions that new files of this process do not get."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def folder_aside(out_dir: Path) -> Path:
    """A fresh folder on the same file system as `out_dir` is or will be, links followed."""
    real = Path(os.path.realpath(out_dir))
    return Path(tempfile.mkdtemp(prefix=f".{real.name}.", suffix=".part", dir=real.parent))


def check_folder(out_dir: Path) -> None:
    """Find out before long work whether its files can be written to the folder `out_dir`.

    Raises `OutputError` with what is in the way; leaves an empty parent folder at most.
    """
    with explained(out_dir):
        if not out_dir.is_dir() and (out_dir.exists() or out_dir.is_symlink()):
            raise OutputError(f"{out_dir} is not a folder: choose another --out")
        if out_dir.is_dir():
            if not os.access(out_dir, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        folder_aside(out_dir).rmdir()


@contextmanager
def explained(out_dir: Path) -> Iterator[None]:
    """An `OSError` as an `OutputError` in plain words."""
    try:
        yield
    except OSError as error:
        message = f"cannot write results to {out_dir}: {_reason(error)}"
        raise OutputError(f"{message}; choose another place with --out") from error


def unwritable(target: Path, error: OSError) -> OutputError:
    """Why one file cannot be written, in plain words."""
    return OutputError(f"{target}: cannot be written: {_reason(error)}; name another file")


def _reason(error: OSError) -> str:
    return _REASONS.get(error.errno or 0) or error.strerror or str(error)
