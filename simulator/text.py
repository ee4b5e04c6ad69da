"""Words for people: lists that end, values that are short, and names that stay on their line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

__all__ = ["counted", "few", "on_one_line", "quoted", "shown", "some_of", "with_rest"]

Item = TypeVar("Item")


def counted(count: int, thing: str, things: str = "") -> str:
    """`1 slot`, `2,000 slots`; `things`: of many, where that is not `thing` with an s."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def few(names: Iterable[str], most: int = 8) -> str:
    """`a, b, c`, or `a, b and 7 more` where there are more than `most`."""
    listed = list(names)
    if len(listed) <= most:
        return ", ".join(listed)
    return f"{', '.join(listed[:most])} and {len(listed) - most:,} more"


def with_rest(lines: Sequence[str], most: int, rest: str) -> Iterator[str]:
    """At most `most` lines, then `... and 12 more: REST` where some were left out."""
    yield from lines[:most]
    if len(lines) > most:
        yield f"... and {len(lines) - most:,} more: {rest}"


def some_of(items: Sequence[Item], most: int) -> list[Item]:
    """At most `most` of `items`, evenly spread, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    if most < 2:
        return list(items[:most])
    return [items[n * (len(items) - 1) // (most - 1)] for n in range(most)]


def on_one_line(text: str) -> str:
    """`text` with line ends and other control characters spelled out, as `\\n`."""
    return "".join(c if c.isprintable() or c == " " else ascii(c)[1:-1] for c in text)


_LONGEST = 60
_MOST_BITS = 10_000
"""Of an integer that is written out; Python refuses to write those of some thousand digits."""


def shown(value: object) -> str:
    """A value as a person would write it in YAML, shortened."""
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if value != value else ".inf" if value > 0 else "-.inf"
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        return f"a number of about {round(value.bit_length() * math.log10(2)):,} digits"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value) if not isinstance(value, dict | list | tuple) else type(value).__name__
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def quoted(value: object) -> str:
    """Text in quotes as Python has them, other values as `shown`; shortened."""
    return repr(value) if isinstance(value, str) and len(value) <= _LONGEST else shown(value)
