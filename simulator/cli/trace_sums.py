"""What sums of rows do to a trace: `scratchpipe trace describe --transform`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from simulator.text import on_one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from simulator.traces.transform.effect import Effect

__all__ = ["Transforms", "keys_of", "print_effects"]

Transforms = Annotated[
    str,
    typer.Option(
        "--transform",
        help="Sums of rows: grace, merci, space, or keys as trace.transform has them.",
    ),
]

_MOST_TABLES = 60
"""Tables that are printed."""


def keys_of(transform: str) -> str:
    """An assignment of `trace.transform` from the option: an algorithm, or a mapping of keys."""
    named = not transform.lstrip().startswith("{")
    return f"transform={{algorithm: {transform}}}" if named else f"transform={transform}"


def print_effects(effects: Sequence[Effect]) -> None:
    """A table of them, of the first 60 tables."""
    from rich.table import Table

    from simulator.cli.terminal import console

    table = Table(title="Sums of rows: lookups of a sample behind the part they are chosen by")
    for name in ("table", "rows", "extra rows", "sums", "before", "after", "after / before"):
        table.add_column(name, justify="left" if name == "table" else "right")
    for each in effects[:_MOST_TABLES]:
        share = f"{100 * each.after / each.before:.1f} %" if each.before else "-"
        table.add_row(
            on_one_line(each.table),
            *(f"{count:,}" for count in (each.rows, each.extra_rows, each.sums)),
            f"{each.before:.2f}",
            f"{each.after:.2f}",
            share,
        )
    console().print(table)
    if len(effects) > _MOST_TABLES:
        typer.echo(f"{len(effects) - _MOST_TABLES:,} more tables: --json lists all")
