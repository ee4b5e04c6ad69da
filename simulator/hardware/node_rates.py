"""What the nodes of a near-memory pool sustain of rows of one size, and what binds them.

One node and the ranks of a channel on one bus are simulated; the other limits are closed forms.
All rates are in *buses*: what one channel's nodes move over what the pins of one rank carry, so
that ranks on one shared bus never come to more than 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from simulator.hardware.devices.dram import Dram
from simulator.hardware.devices.dram_sections import MAX_BANKS
from simulator.hardware.devices.near_memory_layout import NodePool
from simulator.hardware.dram.measure import measure

__all__ = ["NodeRates", "activate_bound", "measure_nodes", "places_touched"]


@dataclass(frozen=True, slots=True)
class NodeRates:
    """Rows of one size in a pool; see `measure_nodes`."""

    memory: str
    pattern: str
    row_bytes: int
    piece_bytes: int
    """What of a row lies in one node."""
    nodes: int
    """Of one channel."""
    efficiency: float
    """What a rank reads over the rate of its pins: more than 1 where bank groups add up."""
    activate_bound: float
    """What activates (tRRD, tFAW; one a piece) and columns of one rank allow."""
    buses: float
    """All nodes of a channel by their memory alone."""
    shared_ranks: int
    """Ranks on one bus that are compared with: those of the channel, as far as they are simulated.
    """
    shared_efficiency: float
    """Share of its pin rate that the bus reaches which those share."""
    speedup: float
    """As many nodes over those ranks on one bus."""
    limits: Mapping[str, float]
    """Buses that instructions (`instructions`, or `commands` where the host sends every one) and
    sums on their way out allow: of modules (`sums`), of bank groups (`rank_sums`)."""
    limited_by: str
    """The smallest of `memory` and `limits`."""

    def as_dict(self) -> dict[str, Any]:
        """All fields, as JSON has them."""
        return asdict(self)


def activate_bound(pool: NodePool, piece_bytes: int) -> float:
    """What a rank reads at most over the rate of its pins, where each piece needs an activate."""
    memory, timing = pool.memory, pool.memory.timing
    bursts, apart = -(-piece_bytes // memory.burst_bytes), max(timing.rrd_s, timing.faw / 4)
    columns = pool.columns_over_pins(piece_bytes)
    return min(columns, bursts * memory.burst_clocks / apart)


def places_touched(places: int, lookups: int) -> float:
    """Mean number of `places` that `lookups` uniform rows of one vector lie in."""
    return places * (1.0 - (1.0 - 1.0 / places) ** lookups)


def measure_nodes(
    pool: NodePool,
    pattern: str,
    row_bytes: int,
    requests: int,
    *,
    lookups: int = 20,
    **choices: Any,
) -> NodeRates:
    """Rows of `row_bytes` in the nodes of `pool`: `requests` bursts of `pattern` on a node, and on
    a bus that its ranks share. `lookups`: rows of one pooled vector. `choices`: see `measure`.

    Raises `UsageError` for arguments that do not fit.
    """
    memory, piece = pool.memory, pool.piece_bytes(row_bytes)
    alone = measure(pool.columns, pattern, piece, requests, **choices)
    useful = piece / (-(-piece // memory.burst_bytes) * memory.burst_bytes)
    reached = min(alone.bytes_per_s / memory.peak_bytes_per_s, pool.columns_over_pins(piece))
    efficiency = useful * reached
    ranks = _shared_ranks(pool)
    shared = measure(_on_one_bus(memory, ranks), pattern, piece, requests, **choices)
    buses = pool.channel_nodes * efficiency
    limits = _limits(pool, row_bytes, lookups)
    name, least = min(limits.items(), key=lambda item: item[1])
    return NodeRates(
        memory=pool.name,
        pattern=pattern,
        row_bytes=row_bytes,
        piece_bytes=piece,
        nodes=pool.channel_nodes,
        efficiency=efficiency,
        activate_bound=activate_bound(pool, piece),
        buses=buses,
        shared_ranks=ranks,
        shared_efficiency=useful * shared.efficiency,
        speedup=ranks * efficiency / (useful * shared.efficiency),
        limits=limits,
        limited_by="memory" if buses <= least else name,
    )


def _shared_ranks(pool: NodePool) -> int:
    """Ranks of a channel, the largest power of two that is simulated on one bus."""
    most = min(pool.channel_nodes, MAX_BANKS // pool.memory.organization.rank_banks)
    return 1 << (most.bit_length() - 1)


def _on_one_bus(memory: Dram, ranks: int) -> Dram:
    """So many ranks of `memory` on its bus."""
    organization = memory.organization.model_copy(update={"ranks": ranks})
    return memory.model_copy(update={"organization": organization, "capacity": None})


def _limits(pool: NodePool, row_bytes: int, lookups: int) -> dict[str, float]:
    """Buses by what goes in and out over a channel while its nodes read rows."""
    pin_ps = 1e12 / pool.memory.channel_peak_bytes_per_s
    share = min(1.0, pool.channel_nodes / pool.pieces(row_bytes))
    told = "commands" if pool.instructions is None else "instructions"
    limits = {told: share * row_bytes * pin_ps / pool.instruction_ps(row_bytes)}
    out_ps = 1e12 / pool.channel_bandwidth
    channels = 1 if pool.spread == "channel" else pool.channels
    modules = channels * pool.modules
    touched = 1.0 if pool.cut == "vertical" else places_touched(modules, lookups)
    limits["sums"] = lookups / touched * pin_ps / out_ps
    if pool.groups > 1:
        within = places_touched(modules * pool.ranks * pool.groups, lookups)
        limits["rank_sums"] = pool.channel_nodes * lookups / within
    if pool.rank_instruction_ps():
        into_ranks = pool.channel_nodes * row_bytes * pin_ps / pool.rank_instruction_ps()
        limits[told] = min(limits[told], into_ranks)
    return limits
