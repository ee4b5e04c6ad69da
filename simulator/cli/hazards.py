"""`scratchpipe hazards`: train real values through a pipelined plan and look for stale reads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, cast

import typer

from simulator.cli.numbers import (
    MOST_BATCHES,
    MOST_HELD,
    MOST_PARTS,
    MOST_ROWS,
    MOST_SEED,
    MOST_TABLES,
)

if TYPE_CHECKING:
    from simulator.config.model import Sharding

__all__ = ["hazards"]


def hazards(
    window_past: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MOST_HELD,
            help="Earlier mini-batches whose rows are held [default: as needed]",
        ),
    ] = None,
    window_future: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MOST_HELD,
            help="Coming mini-batches whose rows are held [default: as needed]",
        ),
    ] = None,
    system: Annotated[str, typer.Option(help="System to check")] = "scratchpipe",
    platform: Annotated[
        str | None,
        typer.Option(help="Machine that gives the times [default: one that the system runs on]"),
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Replacement policy [default: lru]")] = None,
    mode: Annotated[
        str | None, typer.Option(help="Pipeline: lockstep or async [default: lockstep]")
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_PARTS, help="GPUs to shard over [default: as the system does]"
        ),
    ] = None,
    sharding: Annotated[
        str, typer.Option(help="How tables are cut over GPUs: table, row, column or auto")
    ] = "table",
    tables: Annotated[int, typer.Option(min=1, max=MOST_TABLES, help="Tables")] = 1,
    rows: Annotated[int, typer.Option(min=1, max=MOST_ROWS, help="Rows of each table")] = 60,
    batch_rows: Annotated[
        int, typer.Option(min=1, max=MOST_ROWS, help="Distinct rows of each table in a mini-batch")
    ] = 6,
    slots: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_ROWS,
            help="Slots of the cache for each table  [default: 36, or as many as rows]",
        ),
    ] = None,
    batches: Annotated[int, typer.Option(min=1, max=MOST_BATCHES, help="Mini-batches")] = 400,
    order: Annotated[
        str, typer.Option(help="Of stages: timed (on the machine), random, or both")
    ] = "both",
    seed: Annotated[
        int, typer.Option(min=0, max=MOST_SEED, help="Seed of ids, random victims and random order")
    ] = 0,
    tier: Annotated[
        str | None, typer.Option(help="Memory below the CPU's own that has the tables, such as ssd")
    ] = None,
    host_slots: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_ROWS,
            help="Rows of each table that the CPU's own memory keeps before that [default: none]",
        ),
    ] = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Parameter of the system, more than once (`scratchpipe explain SYSTEM`)",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Check a system for hazards: does it train like one mini-batch at a time?

    Executes the system's program on row values at the times of its run, and in a random order of
    those that its schedule allows. The default window is what its stages need ((3, 2) for
    ScratchPipe); a smaller one shows stale reads.
    """
    from simulator.engine.hazards import HazardCase, run_case

    case = HazardCase(
        system=system,
        platform=platform,
        policy=policy,
        window_past=window_past,
        window_future=window_future,
        mode=mode,
        gpus=gpus,
        sharding=cast("Sharding", sharding),
        tables=tables,
        rows=rows,
        batch_rows=batch_rows,
        slots=slots,
        batches=batches,
        order=order,
        seed=seed,
        parameters=tuple(parameters or ()),
        tier=tier,
        host_slots=host_slots,
    )
    outcome = run_case(case)
    if as_json:
        typer.echo(json.dumps(outcome.as_dict(), indent=2))
        return
    typer.echo(outcome.sentence())
    if note := outcome.note():
        typer.echo(note)
