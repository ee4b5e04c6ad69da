"""`scratchpipe memory`: list the memories, and measure a stream on one of them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.cli.memory_nodes import ROW_SIZES, show_nodes
from simulator.cli.named_parts import require_part
from simulator.cli.numbers import (
    MOST_BYTES,
    MOST_LOOKUPS,
    MOST_PARTS,
    MOST_QUEUED,
    MOST_REQUESTS,
    MOST_SEED,
)

if TYPE_CHECKING:
    from simulator.hardware.devices.dram import Dram
    from simulator.hardware.devices.near_memory import NearMemory
    from simulator.hardware.dram import Measurement

__all__ = ["app"]

app = typer.Typer(
    help="DRAM and HBM: what a memory sustains for a stream, and why not more.",
    no_args_is_help=True,
)


class Pattern(StrEnum):
    """Kinds of streams."""

    seq = "seq"
    gather = "gather"
    scatter = "scatter"
    mixed = "mixed"
    zipf = "zipf"


def _load(text: str) -> float | None:
    """A share of the peak rate, or None for `max`."""
    from simulator.errors import UsageError

    if text == "max":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"--load {text}: a number above 0 and at most 1, or max") from error


def _settings(pairs: list[str]) -> dict[str, object]:
    """`key=value` pairs, each value read as YAML."""
    from simulator.config.reader import read_text
    from simulator.errors import ConfigError, UsageError

    values: dict[str, object] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            raise UsageError(f"--set {pair}: write key=value")
        document = read_text(text, f"--set {key}", fixed=True)
        if document.problems:
            raise ConfigError(*document.problems)
        values[key] = document.data
    return values


def _scheduler(chosen: str | None) -> str | None:
    from simulator.errors import UsageError

    known = ("frfcfs", "frfcfs-rowhit", "per-bank")
    if chosen is not None and chosen not in known:
        raise UsageError(f"--scheduler {chosen}: one of {', '.join(known)}")
    return chosen


@app.command()
def measure(
    pattern: Annotated[
        Pattern | None, typer.Option("--pattern", help="Kind of stream; must be given.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", help="Name of a memory, or a YAML file.")
    ] = None,
    near_memory: Annotated[
        str | None,
        typer.Option(
            "--near-memory",
            help="Name of a near-memory pool, or a YAML file: one of its nodes, by row bytes.",
        ),
    ] = None,
    row_bytes: Annotated[
        int | None,
        typer.Option(
            "--row-bytes",
            min=1,
            max=MOST_BYTES,
            help="Bytes of an embedding row [64; of nodes 64, 128, 256 and 512].",
        ),
    ] = None,
    requests: Annotated[
        int,
        typer.Option(
            "--requests", min=1, max=MOST_REQUESTS, help="Bursts to serve (64 B, HBM 32 B)."
        ),
    ] = 200_000,
    channels: Annotated[
        int | None,
        typer.Option(
            "--channels",
            min=1,
            max=MOST_PARTS,
            help="Channels simulated; by default all of the memory.",
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            "--map",
            help="Address order: row, bgi, bank; by default that of the memory (--set "
            "mapping=server: as platforms have it).",
        ),
    ] = None,
    queue: Annotated[
        int | None,
        typer.Option(
            "--queue", min=1, max=MOST_QUEUED, help="Entries of the read and of the write queue."
        ),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option("--scheduler", help="frfcfs, frfcfs-rowhit or per-bank.")
    ] = None,
    load: Annotated[
        str, typer.Option("--load", help="Share of the peak rate that is offered, or max.")
    ] = "max",
    alpha: Annotated[
        float, typer.Option("--alpha", min=0.0, max=10.0, help="Exponent of the zipf pattern.")
    ] = 1.0,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=MOST_SEED, help="Seed of the random rows.")
    ] = 0,
    lookups: Annotated[
        int | None,
        typer.Option(
            "--lookups",
            min=1,
            max=MOST_LOOKUPS,
            help="Of nodes: rows of one pooled vector, whose sums go out [20].",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override key=value, such as timing.rp=20; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """Run a stream through a memory, or through the nodes of a near-memory pool; say how fast it
    went and what held it back."""
    from simulator.errors import UsageError

    choices: dict[str, Any] = {
        "mapping": order,
        "queue": queue,
        "scheduler": _scheduler(scheduler),
        "alpha": alpha,
        "seed": seed,
    }
    if (memory is None) == (near_memory is None):
        raise UsageError("name one: --memory ddr4_2400, or --near-memory recnmp_ddr4")
    if near_memory is not None:
        if channels is not None or load != "max":
            raise UsageError(
                "--channels and --load go with --memory: a node has one channel, offered all it "
                "takes; leave them out"
            )
        sizes = ROW_SIZES if row_bytes is None else (row_bytes,)
        pool = _pool(near_memory, settings or [])
        show_nodes(pool, _named(pattern), sizes, requests, lookups or 20, choices, as_json)
        return
    if lookups is not None:
        raise UsageError("--lookups goes with --near-memory: leave it out")
    choices |= {"channels": channels, "load": _load(load)}
    config = _memory(str(memory), settings or [])
    _measure(config, _named(pattern), row_bytes or 64, requests, choices, as_json)


def _named(pattern: Pattern | None) -> str:
    """The pattern that was asked for."""
    from simulator.errors import UsageError

    if pattern is None:
        raise UsageError(f"say which stream: --pattern and one of {', '.join(Pattern)}")
    return pattern.value


def _pool(name: str, settings: list[str]) -> NearMemory:
    from simulator.hardware.catalogue import load_part
    from simulator.hardware.devices.near_memory import NearMemory

    require_part(f"--near-memory {name}", name, "near_memory")
    return load_part(name, _settings(settings), NearMemory)


def _memory(name: str, settings: list[str]) -> Dram:
    from simulator.hardware.catalogue import load_part
    from simulator.hardware.devices.dram import Dram

    require_part(f"--memory {name}", name, "memories")
    return load_part(name, _settings(settings), Dram)


def _measure(
    config: Dram,
    pattern: str,
    row_bytes: int,
    requests: int,
    choices: dict[str, Any],
    as_json: bool,
) -> None:
    from simulator.hardware import dram

    result = dram.measure(config, pattern, row_bytes, requests, **choices)
    if as_json:
        import json

        typer.echo(json.dumps(result.as_dict(), indent=2))
        return
    _show(result, str(choices["mapping"] or config.mapping.order))


def _show(result: Measurement, order: str) -> None:
    from rich.table import Table

    from simulator.cli.terminal import console

    table = Table(title=result.memory, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in (
        ("address order", order),
        ("efficiency", f"{result.efficiency:.2%} of peak"),
        ("bandwidth", f"{result.bandwidth_gbps:.2f} GB/s"),
        ("mean read latency", f"{result.mean_latency_ns:.1f} ns"),
        ("row hit rate", f"{result.row_hit_rate:.2%}"),
        ("activates", f"{result.activates}"),
        ("requests", f"{result.requests}"),
        ("simulated time", f"{result.elapsed_ps / 1e6:.1f} us"),
        ("energy", f"{result.energy_pj['total'] / 1e6:.2f} uJ"),
    ):
        table.add_row(name, value)
    table.add_section()
    for cause, share in result.limiter.items():
        table.add_row(f"lost to {cause}", f"{share:.1%} of lost time")
    console().print(table)


@app.command("list")
def list_memories(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")] = False,
) -> None:
    """List the memories that can be named."""
    from simulator.hardware.catalogue import load_part, part_names
    from simulator.hardware.devices.dram import Dram

    memories = [load_part(name, None, Dram) for name in part_names("memories")]
    if as_json:
        import json

        rows = [
            {
                "name": m.name,
                "standard": m.standard,
                "channels": m.channels,
                "peak_gbps": m.peak_bytes_per_s / 1e9,
                "capacity_bytes": m.capacity_bytes,
                "sources": m.sources,
            }
            for m in memories
        ]
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.table import Table

    from simulator.cli.terminal import console

    table = Table("name", "standard", "channels", "peak, GB/s", "capacity, GiB")
    for m in memories:
        peak, size = m.peak_bytes_per_s / 1e9, m.capacity_bytes / 2**30
        table.add_row(m.name, m.standard, str(m.channels), f"{peak:.1f}", f"{size:g}")
    console().print(table)
