"""`scratchpipe hazards`: train real values through a pipelined plan and look for stale reads."""

from __future__ import annotations

import json
from typing import Annotated

import typer

__all__ = ["hazards"]


def hazards(
    window_past: Annotated[
        int | None,
        typer.Option(min=0, help="Earlier mini-batches whose rows are held [default: 3]"),
    ] = None,
    window_future: Annotated[
        int | None,
        typer.Option(min=0, help="Coming mini-batches whose rows are held [default: 2]"),
    ] = None,
    policy: Annotated[str, typer.Option(help="Replacement policy")] = "lru",
    mode: Annotated[str, typer.Option(help="Pipeline: lockstep or async")] = "lockstep",
    rows: Annotated[int, typer.Option(min=1, help="Rows of the table")] = 60,
    batch_rows: Annotated[int, typer.Option(min=1, help="Distinct rows of a mini-batch")] = 6,
    slots: Annotated[int, typer.Option(min=1, help="Slots of the scratchpad")] = 36,
    batches: Annotated[int, typer.Option(min=1, help="Mini-batches")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Seed of ids and random victims")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Check a hold window: does pipelined training equal training one mini-batch at a time?

    Moves row values through the plan at the times of the pipeline. The default window (3, 2) is
    what the six stages need; a smaller one shows stale reads.
    """
    from simulator.engine.hazards import HazardCase, run_case

    case = HazardCase(
        policy=policy,
        window_past=window_past,
        window_future=window_future,
        mode=mode,
        rows=rows,
        batch_rows=batch_rows,
        slots=slots,
        batches=batches,
        seed=seed,
    )
    outcome = run_case(case)
    if as_json:
        typer.echo(json.dumps(outcome.as_dict(), indent=2))
        return
    typer.echo(outcome.sentence())
