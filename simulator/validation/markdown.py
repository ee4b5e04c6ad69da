"""Numbers and tables as the validation page writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from simulator.text import on_one_line

__all__ = ["grid", "ms", "share", "signed"]


def ms(microseconds: float) -> str:
    """Milliseconds."""
    return f"{microseconds / 1e3:.3f} ms"


def share(value: float | None) -> str:
    """In percent; a dash for None."""
    return "-" if value is None else f"{value:.1%}"


def signed(value: float | None) -> str:
    """In percent, with its sign; a dash for None."""
    return "-" if value is None else f"{value:+.1%}"


def grid(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterable[str]:
    """A Markdown table."""
    yield "| " + " | ".join(heads) + " |"
    yield "| " + " | ".join("---" for _ in heads) + " |"
    for row in rows:
        cells = (on_one_line(str(cell)).replace("|", "\\|") for cell in row)
        yield "| " + " | ".join(cells) + " |"
