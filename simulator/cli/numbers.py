"""Numbers on the command line: whole numbers however they are written, and finite others.

A verb says `int` or `float` and between which bounds; what reads them is put in here, for every
option of every verb.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from simulator.text import quoted
from simulator.units import whole_number

__all__ = ["MOST_BATCHES", "MOST_BYTES", "MOST_HELD", "MOST_JOBS", "MOST_LOOKUPS", "MOST_PARTS"]
__all__ += ["MOST_QUEUED", "MOST_REPEATS", "MOST_REQUESTS", "MOST_ROWS", "MOST_SAMPLES"]
__all__ += ["MOST_SEED", "MOST_TABLES", "with_numbers"]

# Options are bounded as the keys of experiments are that say the same.
MOST_BATCHES = 10**9
MOST_BYTES = 1 << 20
"""Of one row: a DRAM page, far above any embedding row."""
MOST_HELD = 1_000
"""Mini-batches of a window: a pipeline has one in each of its few stages."""
MOST_JOBS = 1_024
"""Processes or threads of this machine."""
MOST_LOOKUPS = 2**20 - 1
"""Of a sample; generators number them with 20 bits."""
MOST_PARTS = 4_096
"""GPUs, or channels of a memory."""
MOST_QUEUED = 16_384
MOST_REPEATS = 1_000
MOST_REQUESTS = 10**9
"""Minutes of simulation."""
MOST_ROWS = 2**32 - 1
"""Of a table; generators number them with 32 bits."""
MOST_SAMPLES = 10**9
MOST_SEED = 2**63 - 1
MOST_TABLES = 100_000


def with_numbers(verb: Callable[..., Any] | typer.Typer) -> Any:
    """The function of a verb, or a `typer.Typer` of verbs, with numbers read as here."""
    if isinstance(verb, typer.Typer):
        for command in verb.registered_commands:
            if command.callback is not None:
                with_numbers(command.callback)
        for group in verb.registered_groups:
            if group.typer_instance is not None:
                with_numbers(group.typer_instance)
        return verb
    hints = get_type_hints(verb, include_extras=True)
    for hint in hints.values():
        if get_origin(hint) is Annotated:
            _give_reader(*get_args(hint))
    verb.__annotations__ = hints  # else the library evaluates them again
    return verb


def _give_reader(kind: Any, *options: Any) -> None:
    """Let an option of `kind` read its numbers as here, unless it reads them itself."""
    for number, reader in ((int, whole_number), (float, _finite)):
        for option in options if number in (kind, *get_args(kind)) else ():
            if getattr(option, "parser", "") is None:
                option.parser = _within(reader, option.min, option.max)


def _within(
    reader: Callable[[str], Any], least: float | None, most: float | None
) -> Callable[[Any], Any]:
    """`reader`, its numbers from `least` to `most`."""

    def number(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            given = reader(value)
        except ValueError as error:
            raise typer.BadParameter(f"{error}.") from None
        if least is not None and given < least:
            raise typer.BadParameter(
                f"{quoted(value)[1:-1]} is less than {_plain(least)}, the least that it may be."
            )
        if most is not None and given > most:
            raise typer.BadParameter(
                f"{quoted(value)[1:-1]} is more than {_plain(most)}, the most that it may be."
            )
        return given

    return number


def _finite(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{quoted(text)} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{quoted(text)} is not a finite number")
    return number


def _plain(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"
