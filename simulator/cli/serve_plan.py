"""`scratchpipe serve-plan`: containers, memory and price of a rate of queries."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.cli.options import ExperimentFile, Overrides

if TYPE_CHECKING:
    from rich.table import Table

    from simulator.config.experiment import Experiment
    from simulator.engine.serve_plan import Deployment, ServePlan

__all__ = ["serve_plan"]

SHOWN = 24
"""Shards that are listed one by one."""


def serve_plan(
    experiment: ExperimentFile,
    qps: Annotated[float, typer.Option(min=0, max=1e9, help="Queries (mini-batches) a second.")],
    overrides: Overrides = None,
    shards: Annotated[
        int, typer.Option(min=1, max=16, help="Parts that a table may be cut into.")
    ] = 4,
    shard_cores: Annotated[
        int, typer.Option(min=1, max=1024, help="Cores of a container with rows of a table.")
    ] = 2,
    dense_cores: Annotated[
        int, typer.Option(min=1, max=1024, help="Cores of one with the MLPs, beside its GPU.")
    ] = 4,
    overhead: Annotated[
        str, typer.Option(metavar="SIZE", help="Memory of a container beside rows and weights.")
    ] = "512 MiB",
    call: Annotated[
        str, typer.Option(metavar="TIME", help="Of a core, at each end of a remote call.")
    ] = "50 us",
    network: Annotated[
        str, typer.Option(metavar="RATE", help="Of a node, each way.")
    ] = "12.5 GB/s",
    shard_platform: Annotated[
        str,
        typer.Option(metavar="NAME", help="Nodes of the shards: a platform or its file, no GPU."),
    ] = "",
    sla: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="That a query may take, its mean wait included."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Plan a deployment: replicas of the whole model, against shards that are replicated alone.

    Every point of the experiment is simulated in inference for the first; for the second each table
    is cut where the memory of all replicas becomes least, by how often its rows are looked up.
    """
    import json

    from simulator.cli.progress import announce
    from simulator.config.expand import expand
    from simulator.engine import load_experiment
    from simulator.engine.containers import Setting
    from simulator.engine.serve_plan import Target, serve_plans
    from simulator.hardware.catalogue import load_machine

    setting = Setting(
        shard_cores,
        dense_cores,
        _quantity("--overhead", overhead, "bytes"),
        _quantity("--call", call, "time"),
        _quantity("--network", network, "bytes/s", least=1),
        load_machine(shard_platform) if shard_platform else None,
    )
    latency = None if sla is None else _quantity("--sla", sla, "time", least=1)
    _note_of_training(load_experiment(experiment, overrides or ()))
    loaded = load_experiment(experiment, (*(overrides or ()), "run.mode=inference"))
    announce(loaded)
    plans = []
    for plan in serve_plans(expand(loaded), Target(qps, shards, setting, latency)):
        plans.append(plan)
        if not as_json:
            _show(plan)
    if as_json:
        typer.echo(json.dumps([_document(plan) for plan in plans], allow_nan=False, indent=1))


def _note_of_training(experiment: Experiment) -> None:
    """That an experiment which trains is planned as one that answers, on standard error."""
    if experiment.run.mode == "training":
        typer.echo(
            f"note: {experiment.name} trains (run.mode: training): a plan serves, so its systems "
            "answer queries here (run.mode: inference)",
            err=True,
        )


def _quantity(option: str, text: str, dimension: str, least: int = 0) -> int:
    """An option with a unit, in the unit kept inside."""
    from simulator.errors import UsageError
    from simulator.units import parse_quantity

    try:
        value = parse_quantity(text, dimension)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
    if not least <= value < 1 << 62:
        raise UsageError(f"{option} {text}: must be {'more than 0' if least else 'at least 0'}")
    return round(value)


def _show(plan: ServePlan) -> None:
    from simulator.cli.terminal import console
    from simulator.text import on_one_line

    point, target = plan.point, plan.target
    names = (point.system.label, point.model.name, point.locality, point.sweep_text())
    title = on_one_line(", ".join(filter(None, names)))
    typer.echo(
        f"\nServing {title} on nodes of {_nodes(plan)}: {target.qps:,.6g} queries/s of "
        f"{point.model.batch_size:,} samples"
    )
    console().print(_deployments(plan))
    console().print(_shards(plan.sharded))
    typer.echo(_reading(plan))


def _deployments(plan: ServePlan) -> Table:
    from rich.table import Table

    table = Table("serving", "containers", "memory", "nodes", "$/hour", "queries/s", "latency, ms")
    for column in table.columns[1:]:
        column.justify = "right"
    if plan.whole is not None:
        table.add_row("model-wise", *_cells(plan.whole))
    table.add_row("sharded", *_cells(plan.sharded))
    table.caption = "queries/s: of one replica (sharded: of the dense part); latency: idle nodes"
    return table


def _nodes(plan: ServePlan) -> str:
    """The platforms of its nodes."""
    shards = plan.target.setting.shard_platform
    return plan.point.platform.name + (f", shards on those of {shards.name}" if shards else "")


def _cells(each: Deployment) -> tuple[str, ...]:
    from simulator.units import format_bytes

    price = "-" if each.usd_per_hour is None else f"{each.usd_per_hour:,.2f}"
    sizes = (f"{each.containers:,}", format_bytes(each.bytes), f"{each.nodes:,}", price)
    return *sizes, f"{each.answers:,.0f}", f"{each.latency_us / 1e3:.3f}"


def _shards(sharded: Deployment) -> Table:
    from rich.table import Table

    from simulator.units import PS_PER_S, format_bytes

    table = Table("part", "from rank", "rows", "of lookups", "queries/s", "replicas", "memory")
    for column in table.columns[1:]:
        column.justify = "right"
    dense = (f"{sharded.answers:,.0f}", f"{sharded.dense:,}")
    table.add_row("dense", "", "", "", *dense, "")
    for shard in sharded.shards[:SHOWN]:
        table.add_row(
            f"table {shard.table}",
            f"{shard.first:,}",
            f"{shard.rows:,}",
            f"{shard.share:.1%}",
            f"{PS_PER_S / shard.container.service_ps:,.0f}",
            f"{shard.replicas:,}",
            format_bytes(shard.bytes),
        )
    if len(sharded.shards) > SHOWN:
        table.caption = f"and {len(sharded.shards) - SHOWN} more shards: --json lists all"
    return table


def _reading(plan: ServePlan) -> str:
    """The tables in a sentence or two."""
    whole, sharded = plan.whole, plan.sharded
    if whole is None:
        text = f"Model-wise: {plan.refused}."
    else:
        text = (
            f"Sharded serving takes {sharded.bytes / whole.bytes:.3g} of the memory and "
            f"{sharded.nodes / whole.nodes:.3g} of the nodes."
        )
        if whole.containers == 1:
            spare = whole.answers * whole.busy / plan.target.qps
            text += (
                f" One replica of the whole model answers {spare:,.3g} times as many queries: "
                "there is nothing to replicate; raise --qps, or take a smaller platform."
            )
    if sharded.usd_per_hour is None:
        text += " No price: --set platform.price_usd_per_hour=3.06."
    return text


def _document(plan: ServePlan) -> dict[str, Any]:
    point = plan.point
    return {
        "system": point.system.name,
        "label": point.system.label,
        "mode": point.run.mode,
        "platform": point.platform.name,
        "shard_platform": (plan.target.setting.shard_platform or point.platform).name,
        "locality": point.locality,
        "sweep": point.sweep_text(),
        "qps": plan.target.qps,
        "memory_saved": plan.memory_saved,
        "cost_saved": plan.cost_saved,
        "model_wise": None if plan.whole is None else asdict(plan.whole),
        "refused": plan.refused or None,
        "sharded": asdict(plan.sharded),
    }
