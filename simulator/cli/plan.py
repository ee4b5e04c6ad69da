"""`scratchpipe machine plan`: which table, or part of one, lies on which GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from simulator.config.machine import MachineConfig
    from simulator.config.model import ModelConfig
    from simulator.config.point import PointConfig
    from simulator.systems.placement import Part, Plan

__all__ = ["plan"]

TIME = "expected us (TorchRec)"
"""Heading of the time of a part by TorchRec's estimator, whoever the planner is."""
SHOWN = 6
"""Tables of a GPU that a line lists one by one."""


def plan(
    experiment: Annotated[Path, typer.Argument(help="The experiment (YAML).", show_default=False)],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="PATH=VALUE",
            help="Change a key (model.placement=hugectr); repeatable.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every part of every GPU, not a line a GPU alone.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every part.")] = False,
) -> None:
    """Show how tables are spread over the GPUs of an experiment's machines; runs nothing."""
    import json

    from simulator.config.expand import expand
    from simulator.engine import load_experiment

    plans = list(_plans(expand(load_experiment(experiment, changes or ()))))
    if as_json:
        documents = [{"point": name} | _document(each) for name, each in plans]
        typer.echo(json.dumps(documents, indent=2))
    for number, (name, each) in enumerate(plans):
        if not as_json:
            typer.echo("" if number == 0 else "\n", nl=False)
            _show(name, each, everything)
    for _, each in plans:
        each.require_room()


def _plans(points: Sequence[PointConfig]) -> Iterator[tuple[str, Plan]]:
    """A plan for each model on each machine, on as many GPUs as a system asks for."""
    from simulator.engine.sharing import machine_of
    from simulator.systems.placement import place_on

    seen: list[tuple[ModelConfig, MachineConfig, int | None]] = []
    for point in points:
        key = (point.stored, point.platform, point.system.gpus)
        if key in seen:
            continue
        seen.append(key)
        machine = machine_of(point)
        machine.first("gpu", "a plan")
        ranks = machine.all("gpu")[: point.system.gpus]
        where = " ... ".join(dict.fromkeys((ranks[0], ranks[-1])))
        name = f"{point.model.name} on {where} of {point.platform.name}"
        yield name, place_on(point.stored, machine, ranks)


def _show(name: str, plan: Plan, everything: bool) -> None:
    """A line a GPU, or a line a part."""
    from rich.table import Table

    from simulator.cli.terminal import console
    from simulator.systems.placement import expected
    from simulator.units import format_bytes

    task = plan.task
    typer.echo(
        f"{name}: placement {plan.planner}, sharding {task.sharding}; "
        f"the GPU that the others wait for: {_amount(plan.worst, plan.unit)}"
    )
    typer.echo(
        f"{len(task.tables)} tables, {format_bytes(sum(t.bytes for t in task.tables))} with "
        f"optimizer state; {format_bytes(task.gpus.memory)} of memory a GPU"
    )
    columns = ("bytes", "lookups", "planner's measure", TIME)
    seconds = expected(plan)
    if everything:
        table = Table("GPU", "table", "part", "rows", "columns", *columns)
        for part, time in zip(plan.parts, seconds, strict=True):
            row = (f"{part.rows:,}", str(part.columns), format_bytes(part.bytes))
            numbers = (f"{part.lookups:,.0f}", _amount(part.cost, plan.unit), _microseconds(time))
            table.add_row(str(part.gpu), str(part.table), _share(part), *row, *numbers)
    else:
        table = Table("GPU", "tables", *columns)
        for gpu, parts in enumerate(plan.by_gpu):
            sums = (format_bytes(plan.bytes(gpu)), f"{plan.lookups(gpu):,.0f}")
            own = sum(t for part, t in zip(plan.parts, seconds, strict=True) if part.gpu == gpu)
            cost = _amount(plan.cost(gpu), plan.unit)
            table.add_row(str(gpu), _listed(parts), *sums, cost, _microseconds(own))
    console().print(table)


def _amount(cost: float, unit: str) -> str:
    """What a planner weighs, with its unit."""
    from simulator.units import format_bytes

    if unit == "B":
        return format_bytes(round(cost))
    if unit == "s":
        return f"{_microseconds(cost)} us"
    return f"{cost:,.0f} {unit}" if cost >= 1e3 else f"{cost:.6g} {unit}"


def _microseconds(seconds: float) -> str:
    """Four digits, however large."""
    each = float(f"{seconds * 1e6:.4g}")
    return f"{each:,.0f}" if each >= 1e3 else f"{each:.4g}"


def _share(part: Part) -> str:
    return "whole" if part.cut == "table" else f"{part.cut} {part.index + 1} of {part.parts}"


def _listed(parts: Sequence[Part]) -> str:
    """The first tables of a GPU (`20 1/4`: a quarter of table 20), and how many more."""
    names = []
    for part in parts[:SHOWN]:
        share = {"table": "", "replica": " copy"}.get(part.cut, f" 1/{part.parts}")
        names.append(f"{part.table}{share}")
    more = len(parts) - SHOWN
    return ", ".join(names) + (f" and {more} more" if more > 0 else "")


def _document(plan: Plan) -> dict[str, Any]:
    """JSON-ready."""
    from simulator.systems.placement import expected

    gpus = range(plan.task.gpus.count)
    return {
        "placement": plan.planner,
        "sharding": plan.task.sharding,
        "unit": plan.unit,
        "worst": plan.worst,
        "memory_bytes": plan.task.gpus.memory,
        "gpus": [
            {
                "gpu": gpu,
                "bytes": plan.bytes(gpu),
                "lookups": plan.lookups(gpu),
                "cost": plan.cost(gpu),
            }
            for gpu in gpus
        ],
        "parts": [
            {
                "gpu": part.gpu,
                "table": part.table,
                "cut": part.cut,
                "index": part.index,
                "parts": part.parts,
                "rows": part.rows,
                "columns": part.columns,
                "bytes": part.bytes,
                "lookups": part.lookups,
                "cost": part.cost,
                "expected_seconds": seconds,
            }
            for part, seconds in zip(plan.parts, expected(plan), strict=True)
        ],
    }
