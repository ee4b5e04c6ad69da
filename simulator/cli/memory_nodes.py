"""`scratchpipe memory measure --near-memory`: the nodes of a pool, by row bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from simulator._progress import part

if TYPE_CHECKING:
    from simulator.hardware.devices.near_memory import NearMemory
    from simulator.hardware.node_rates import NodeRates

__all__ = ["ROW_SIZES", "show_nodes"]

ROW_SIZES = (64, 128, 256, 512)
"""Row bytes that are shown where none are named."""


def show_nodes(
    pool: NearMemory,
    pattern: str,
    sizes: Sequence[int],
    requests: int,
    lookups: int,
    choices: Mapping[str, Any],
    as_json: bool,
) -> None:
    """Measure rows of all `sizes` and print a table, or a JSON document."""
    from simulator.hardware.node_rates import measure_nodes

    rates = []
    for number, size in enumerate(sizes):
        with part(number / len(sizes), (number + 1) / len(sizes)):
            rates.append(measure_nodes(pool, pattern, size, requests, lookups=lookups, **choices))
    if as_json:
        import json

        typer.echo(json.dumps([each.as_dict() for each in rates], indent=2))
        return
    _table(pool, pattern, lookups, rates)


def _table(pool: NearMemory, pattern: str, lookups: int, rates: Sequence[NodeRates]) -> None:
    from rich.table import Table

    from simulator.cli.terminal import console

    table = Table(title=f"{pool.name}: {pattern}, {pool.cut} cut")
    told = next(iter(rates[0].limits))
    headings = ("row, B", "piece, B", "of its pins", "activates allow", "over one bus")
    for heading in (*headings, "buses", told, "sums", "limited by"):
        table.add_column(heading, justify="right")
    for each in rates:
        table.add_row(
            str(each.row_bytes),
            str(each.piece_bytes),
            f"{each.efficiency:.1%}",
            f"{each.activate_bound:.1%}",
            f"{each.speedup:.2f} x",
            f"{each.buses:.2f}",
            f"{each.limits[told]:.2f}",
            f"{each.limits['sums']:.2f}",
            each.limited_by,
        )
    console().print(table)
    console().print(
        f"of its pins: share of its own rank's that a node reaches. over one bus: "
        f"{rates[0].shared_ranks} nodes against as many ranks that share one. buses: the "
        f"{rates[0].nodes} nodes of a channel, over the pins of one; then what {told} and sums of "
        f"{lookups} lookups let a channel do."
    )
