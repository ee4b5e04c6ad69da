"""What the trace verbs say: sentences, JSON documents, tables of a description."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from simulator.files import is_standard_output
from simulator.text import few, on_one_line

if TYPE_CHECKING:
    from simulator.traces.analysis import TableReport

__all__ = ["print_json", "print_reports", "say", "warn_of_order"]

_MOST_TABLES = 60
"""Tables of a trace that are printed."""


def say(facts: dict[str, Any], sentence: str, as_json: bool, target: Path | None = None) -> None:
    """What was done: on standard error where a trace was written to standard output."""
    apart = target is not None and is_standard_output(target)
    if as_json:
        print_json(facts, apart)
    else:
        typer.echo(sentence, err=apart)


def print_json(value: Any, apart: bool = False) -> None:
    """One document, `apart` on standard error."""
    import json

    typer.echo(json.dumps(value, indent=2), err=apart)


def warn_of_order(file: Path, reports: list[TableReport]) -> None:
    """That hit rates of policies by recency mean nothing for some tables, on standard error."""
    without = [r.table for r in reports if not r.has_time_order]
    if without:
        typer.secho(
            f"WARNING: {file}: NO ORDER IN TIME in {few(without)}: an LRU cache does as well "
            "on a shuffle of these ids. Hit rates of policies that live on recency mean nothing "
            "here; popularity still does.",
            err=True,
            bold=True,
        )


def print_reports(reports: list[TableReport]) -> None:
    """Tables of what each table is like, of the first 60."""
    from rich.table import Table

    from simulator.cli.terminal import console

    terminal = console()
    facts = Table(title="Tables")
    for name in (
        "table", "lookups", "distinct ids", "distinct / lookups", "Zipf alpha (fit)",
        "fit error (KS)", "median reuse distance", "order in time",
    ):  # fmt: skip
        is_name = name == "table"
        facts.add_column(name, justify="left" if is_name else "right", no_wrap=is_name)
    shown = reports[:_MOST_TABLES]
    for r in shown:
        facts.add_row(
            on_one_line(r.table),
            f"{r.lookups:,}",
            f"{r.unique_ids:,}",
            f"{100 * r.unique_share:.2f} %",
            f"{r.zipf_alpha:.2f}",
            f"{r.zipf_ks_distance:.3f}",
            f"{r.median_stack_distance:,}",
            "yes" if r.has_time_order else "NO",
        )
    terminal.print(facts)
    for title, rates in (
        ("Share of lookups on the hottest x % of distinct ids", "hot_share"),
        ("LRU hits / lookups, cache of x % of distinct ids", "lru_hit_rate"),
        ("The same for a shuffle of the ids", "shuffled_lru_hit_rate"),
    ):
        table = Table(title=title)
        table.add_column("table", no_wrap=True)
        for fraction in getattr(reports[0], rates):
            table.add_column(f"{100 * float(fraction):g} %", justify="right")
        for r in shown:
            table.add_row(
                on_one_line(r.table), *(f"{100 * v:.1f} %" for v in getattr(r, rates).values())
            )
        terminal.print(table)
    if len(shown) < len(reports):
        typer.echo(f"{len(reports) - len(shown):,} more tables: --json lists all")
