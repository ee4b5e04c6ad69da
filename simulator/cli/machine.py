"""`scratchpipe machine`: what a machine is made of, where numbers come from, what lies where."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.plan import plan

if TYPE_CHECKING:
    from simulator.config.machine import MachineConfig, Socket
    from simulator.hardware.topology import Topology

__all__ = ["app"]

ROW_BYTES = 512
"""Rows that a memory's turnaround is asked for; the graph does not depend on it."""

app = typer.Typer(help="Show what a machine is made of, and what lies where.", no_args_is_help=True)
app.command()(plan)


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A machine, or a YAML file.", show_default=False)
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="PATH=VALUE", help="Change a key (host.gpu.count=8); repeatable."
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every number of every part, not the main ones alone.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every number.")] = False,
) -> None:
    """Show a machine with all its references followed: parts, counts, joins, numbers, sources."""
    import json

    from simulator.hardware.catalogue import load_machine

    machine = load_machine(name, changes or ())
    if as_json:
        typer.echo(json.dumps(machine.model_dump(mode="json"), indent=2, ensure_ascii=False))
        return
    _show_sockets(machine)
    _show_graph(machine)
    _show_numbers(machine, everything)


def _show_sockets(machine: MachineConfig) -> None:
    """A line a socket."""
    from rich.table import Table

    from simulator.cli.terminal import console

    typer.echo(": ".join(text for text in (machine.name, machine.description) if text))
    price = machine.price_usd_per_hour
    cost = "" if price is None else f", {price:g} USD an hour"
    typer.echo(f"operators {machine.operators}{cost}; calibrated: {machine.calibrated}")
    table = Table("host", "socket", "count", "kind", "part", "joins")
    for host in machine.hosts:
        for index, (name, socket) in enumerate(host.sockets.items()):
            first = f"{host.name} x {host.count}" if index == 0 else ""
            count = "" if socket.join else str(socket.count)
            row = (count, socket.part.kind, socket.part.name, _joins(socket))
            table.add_row(first, name, *row)
    if machine.network is not None:
        network = machine.network
        table.add_row("", "network", "1", network.part.kind, network.part.name, _joins(network))
    console().print(table)


def _joins(socket: Socket) -> str:
    """What a link joins, and how."""
    text = ", ".join(socket.join)
    text += f" by {socket.by}" if socket.by else ""
    return text + (f", {socket.per} to a link" if socket.per else "")


def _show_graph(machine: MachineConfig) -> None:
    """Resources that move bytes, equal ones as one, and the routes between unlike memories."""
    from rich.table import Table

    from simulator.cli.terminal import console
    from simulator.hardware.topology import build_topology
    from simulator.results.resources import family_of, title_of_all
    from simulator.units import format_quantity

    topology = build_topology(machine, ROW_BYTES)
    families: dict[str, list[str]] = {}
    for name in topology.resources:
        families.setdefault(family_of(name), []).append(name)
    table = Table(
        "resource", "as in results", "peak of each", title="Resources", title_justify="left"
    )
    for names in families.values():
        peaks = sorted({topology.resources[name].peak_bytes_per_s or 0 for name in names})
        shown = [format_quantity(f"{peak} B/s") for peak in peaks if peak]
        rate = " to ".join(dict.fromkeys([*shown[:1], *shown[-1:]])) or "-"
        spelled = names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]}"
        table.add_row(title_of_all(names), spelled, rate)
    console().print(table)
    routes = Table("from", "to", "over", title="Routes between memories", title_justify="left")
    for source, target, way in _routes(topology):
        routes.add_row(source, target, way)
    console().print(routes)


def _routes(topology: Topology) -> Iterator[tuple[str, str, str]]:
    """For each pair of families of memories a first example, and the links on its way."""
    from simulator.errors import ConfigError
    from simulator.results.resources import family_of

    families = {memory.place: family_of(memory.place) for memory in topology.memories}
    shown = set()
    for source, target in itertools.permutations(families, 2):
        pair = (families[source], families[target])
        if pair in shown:
            continue
        shown.add(pair)
        try:
            hops = topology.route(source, target)
        except ConfigError as error:
            yield source, target, f"none: {error}"
            continue
        yield source, target, " - ".join(hop.link.name for hop in hops)


def _show_numbers(machine: MachineConfig, everything: bool) -> None:
    """The numbers of each part, once for equal parts."""
    from rich.table import Table

    from simulator.cli.terminal import console
    from simulator.config.listing import numbers_of, parts_of

    for path, part in parts_of(machine):
        table = Table("key", "value", "source", title=f"{path}: {part.name}", title_justify="left")
        for row in numbers_of(part, everything):
            table.add_row(*row)
        console().print(table)
