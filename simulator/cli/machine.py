"""`scratchpipe machine`: what a machine is made of, and where its numbers come from."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from simulator.config.machine import MachineConfig, Part, Socket
    from simulator.hardware.topology import Topology

__all__ = ["app"]

ROW_BYTES = 512
"""Rows that a memory's turnaround is asked for; the graph does not depend on it."""

app = typer.Typer(help="Show what a machine is made of.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """A group, so that its only verb is named."""


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

    typer.echo(f"{machine.name}: {machine.description}".rstrip(": "))
    price = machine.price_usd_per_hour
    cost = "" if price is None else f", {price:g} USD an hour"
    typer.echo(f"operators {machine.operators}{cost}")
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
        peak = topology.resources[names[0]].peak_bytes_per_s
        rate = "-" if peak is None else format_quantity(f"{peak} B/s")
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

    places = [memory.place for memory in topology.memories]
    shown = set()
    for source, target in itertools.permutations(places, 2):
        pair = (family_of(source), family_of(target))
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

    shown: list[Part] = []
    for path, part in _parts(machine):
        if part in shown:
            continue
        shown.append(part)
        table = Table("key", "value", "source", title=f"{path}: {part.name}", title_justify="left")
        for key, value, source in numbers(part, everything):
            table.add_row(key, value, source)
        console().print(table)


def _parts(machine: MachineConfig) -> Iterator[tuple[str, Part]]:
    """Every part by its path, those within others after them."""
    for host in machine.hosts:
        for name, socket in host.sockets.items():
            yield from _with_inner(name, socket.part)
    if machine.network is not None:
        yield from _with_inner("network", machine.network.part)


def _with_inner(path: str, part: Part) -> Iterator[tuple[str, Part]]:
    from simulator.config.machine import Part

    yield path, part
    for name in type(part).model_fields:
        inner = getattr(part, name)
        if isinstance(inner, Part):
            yield from _with_inner(f"{path}.{name}", inner)


def numbers(part: Part, everything: bool) -> Iterator[tuple[str, str, str]]:
    """(key, value, source) of a part, derived ones last: every key, or those that it gives itself
    and that stand at its top or are rates.

    The source of a key above holds for the keys below it that have none.
    """
    from simulator.units import format_quantity

    left_out = {"kind", "name", "sources"}
    data = part.model_dump(
        mode="json", exclude=left_out, exclude_none=True, exclude_unset=not everything
    )
    inner = {name for name, value in data.items() if isinstance(value, dict) and "kind" in value}
    for key, value in _flat({k: v for k, v in data.items() if k not in inner}):
        text = format_quantity(value) if isinstance(value, str) else _number(value)
        if everything or "." not in key or text.endswith("/s"):
            yield key, text, _source(key, part.sources)
    for key, text in part.derived().items():
        yield key, format_quantity(text), "derived"


def _number(value: object) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _source(key: str, sources: dict[str, str]) -> str:
    while key not in sources and "." in key:
        key = key.rpartition(".")[0]
    return sources.get(key, "not given")


def _flat(data: dict[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
