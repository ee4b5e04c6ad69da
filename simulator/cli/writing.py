"""Writes one file that a verb was asked for."""

from __future__ import annotations

from pathlib import Path

from simulator.errors import OutputError

__all__ = ["write_file"]


def write_file(target: Path, text: str) -> None:
    """Write `text`, aside first, so that a reader never sees half of it.

    Raises `OutputError` in plain words.
    """
    aside = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, encoding="utf-8")
        aside.replace(target)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
