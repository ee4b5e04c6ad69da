"""Run a stream through a memory and say how fast it went, why not faster, and what it cost.

Modelled: all that the controller kernels model, for every simulated channel, fed in order or
independently (see `session.py`).
Ignored: what surrounds the memory (caches, miss registers, links); that belongs to the devices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from simulator._progress import tell
from simulator.config.problems import validate
from simulator.config.reader import Marks
from simulator.errors import UsageError
from simulator.hardware.devices.address_map import MAPS
from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram import patterns
from simulator.hardware.dram.clocks import tick_ps, ticks_to_ps
from simulator.hardware.dram.energy import energy_pj
from simulator.hardware.dram.mapping import AddressMap, address_map
from simulator.hardware.dram.patterns import PATTERNS
from simulator.hardware.dram.session import Session
from simulator.hardware.dram.state import LOSSES, Counters
from simulator.hardware.dram.views import Ints
from simulator.units import PS_PER_S

__all__ = ["Measurement", "RowStream", "measure", "replay_stream", "replay_streams"]

CHUNK = 1 << 13  # requests generated at a time where they stay in the cache,
SPLIT_CHUNK = 1 << 16  # and where they are split over independent channels
GIB = 1 << 30
MOST_REQUESTS = 10**10
"""More take hours, at some ten million a second."""
_ADAPTER: TypeAdapter[Dram] = TypeAdapter(Dram)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a stream did to a memory. Times are exact multiples of the memory's clock."""

    memory: str
    requests: int
    """Bursts asked for (each `burst_bytes`)."""
    reads: int
    writes: int
    shared: int
    """Requests that needed no burst: forwarded, coalesced or merged."""
    elapsed_ticks: int
    elapsed_ps: int
    efficiency: float
    """Bytes asked for over what the data buses could carry in that time."""
    bandwidth_gbps: float
    """Bytes asked for per second, in 1e9 bytes/s, over the simulated channels."""
    mean_latency_ns: float
    """Mean read latency from acceptance to the end of the data; 0 without reads."""
    row_hit_rate: float
    """Bursts for which no activate or precharge was issued, over all bursts."""
    activates: int
    precharges: int
    refreshes: int
    """Of all banks of a rank or pseudo-channel, or of single banks (`controller.refresh`)."""
    limiter: Mapping[str, float]
    """Share of the lost data-bus time by cause, largest first: for each burst that found its bus
    idle, the gate that opened last for it. Shares sum to 1 (empty if nothing was lost)."""
    energy_pj: Mapping[str, float]
    """Energy of the simulated channels by part, and `total`."""
    wall_s: float
    """Seconds that the simulation itself took."""

    @property
    def requests_per_s(self) -> float:
        """Simulated requests a second of wall-clock time."""
        return self.requests / self.wall_s if self.wall_s else 0.0

    @property
    def bytes_per_s(self) -> float:
        """Bytes asked for per second over the simulated channels."""
        return self.bandwidth_gbps * 1e9

    def as_dict(self) -> dict[str, Any]:
        """All fields, as JSON has them."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        fields["limiter"] = dict(self.limiter)
        fields["energy_pj"] = dict(self.energy_pj)
        return fields | {"requests_per_s": self.requests_per_s}


@dataclass(frozen=True, slots=True)
class RowStream:
    """Embedding rows in the order in which they are touched."""

    addresses: npt.NDArray[np.int64]
    """Byte address of each row."""
    row_bytes: int
    write: bool | npt.NDArray[np.bool_] = False


@dataclass(frozen=True, slots=True)
class _Source:
    """A pattern, ready to be made chunk by chunk."""

    pattern: int
    bursts_per_row: int
    rows: int
    seed: int
    alpha: float
    factor: int
    write_fraction: float
    map: AddressMap

    def fill(self, first: int, count: int, out: Ints) -> None:
        patterns.fill_pattern(
            self.pattern, first, count, self.bursts_per_row, self.rows, self.seed, self.alpha,
            self.factor, self.write_fraction, self.map.words, out,
        )  # fmt: skip


def _measurement(run: Session) -> Measurement:
    """What a finished session has counted."""
    n, config = run.counters(), run.config
    (reads, writes), (shared_reads, shared_writes) = n.served.tolist(), n.shared.tolist()
    bursts = n.requests - shared_reads - shared_writes
    elapsed_ps = ticks_to_ps(config, n.last)
    banks = run.states[0].unit_banks if config.controller.refresh == "per_bank" else 1
    not_simulated = config.ranks / config.simulated_ranks
    moved = n.requests * config.burst_bytes
    return Measurement(
        memory=config.name,
        requests=n.requests,
        reads=reads,
        writes=writes,
        shared=shared_reads + shared_writes,
        elapsed_ticks=n.last,
        elapsed_ps=elapsed_ps,
        efficiency=n.requests * run.gates.bl / (n.last * run.buses) if n.last else 0.0,
        bandwidth_gbps=moved * PS_PER_S / elapsed_ps / 1e9 if elapsed_ps else 0.0,
        mean_latency_ns=n.latency / reads * tick_ps(config) / 1e3 if reads else 0.0,
        row_hit_rate=n.hits / bursts if bursts else 0.0,
        activates=n.activates,
        precharges=n.precharges,
        refreshes=n.refreshes,
        limiter=_shares(n),
        energy_pj=energy_pj(
            config.energy,
            activates=n.activates,
            read_bursts=reads - shared_reads,
            write_bursts=writes - shared_writes,
            refreshes=n.refreshes / banks * not_simulated,
            elapsed_ps=elapsed_ps,
            ranks=run.buses * config.ranks,
        ),
        wall_s=run.wall_s,
    )


def _shares(counters: Counters) -> dict[str, float]:
    """Each cause's share of the lost time, largest first."""
    lost = dict(zip(LOSSES, counters.lost.tolist(), strict=True))
    total = sum(lost.values())
    ranked = sorted(lost.items(), key=lambda item: (-item[1], item[0]))
    return {name: ticks / total for name, ticks in ranked if ticks}


def with_choices(
    config: Dram,
    mapping: str | None = None,
    queue: int | None = None,
    scheduler: str | None = None,
) -> Dram:
    """`config` with another address order (a name, or all fields with commas, least significant
    first), queue depth (reads and writes) or scheduler."""
    document: dict[str, Any] = config.model_dump(mode="json")
    if mapping is not None:
        document["mapping"]["order"] = mapping
    if queue is not None:
        document["controller"]["read_queue"] = document["controller"]["write_queue"] = queue
    if scheduler is not None:
        document["controller"]["scheduler"] = scheduler
    order = document["mapping"]["order"]
    if isinstance(order, list):
        document["mapping"]["order"] = tuple(order)
    elif order not in MAPS:
        document["mapping"]["order"] = tuple(order.split(","))
    chosen, problems = validate(_ADAPTER, document, Marks(), ())
    if not isinstance(chosen, Dram):
        hint = f" (address orders: {', '.join(MAPS)})" if mapping is not None else ""
        raise UsageError("\n".join(f"{p.key}: {p.message}{hint}" for p in problems))
    return chosen


def footprint(config: Dram, channels: int) -> int:
    """Bytes over which random rows spread: 4 GiB a DDR channel, 512 MiB an HBM pseudo-channel
    (as the reference points were measured), never more than there are."""
    if config.standard.startswith("HBM"):
        size = channels * config.organization.pseudo_channels * (GIB // 2)
    else:
        size = channels * 4 * GIB
    return min(size, channels * config.channel_bytes)


def _source(
    config: Dram,
    channels: int,
    pattern: str,
    row_bytes: int,
    seed: int,
    alpha: float,
    write_fraction: float,
) -> _Source:
    """The pattern over the footprint of `channels`. Raises `UsageError`."""
    if pattern not in PATTERNS:
        raise UsageError(f"no pattern {pattern!r}: one of {', '.join(PATTERNS)}")
    if row_bytes < 1:
        raise UsageError("row bytes must be at least 1")
    if not 0.0 <= alpha <= 10.0 or not 0.0 <= write_fraction <= 1.0:
        raise UsageError("alpha must lie in 0..10 and write_fraction in 0..1")
    bursts = -(-row_bytes // config.burst_bytes)
    rows = footprint(config, channels) // (bursts * config.burst_bytes)
    if not 0 < rows < 1 << 31:
        raise UsageError(f"{rows} rows of {row_bytes} bytes: between 1 and 2**31 - 1 fit")
    return _Source(
        PATTERNS.index(pattern), bursts, rows, seed, alpha, patterns.scatter_multiplier(rows),
        write_fraction, address_map(config, channels),
    )  # fmt: skip


def measure(
    config: Dram,
    pattern: str,
    row_bytes: int,
    requests: int,
    *,
    channels: int | None = None,
    mapping: str | None = None,
    queue: int | None = None,
    scheduler: str | None = None,
    load: float | None = None,
    alpha: float = 1.0,
    seed: int = 0,
    write_fraction: float = 0.0,
) -> Measurement:
    """Run `requests` bursts of a pattern through the memory.

    `pattern` is `seq`, `gather` (uniform random rows, read), `scatter` (the same, written),
    `mixed` (row i read, then row i - 256 written) or `zipf` (ranks with exponent `alpha`, spread
    over the table). `row_bytes` is rounded up to whole bursts. `load` is a share of the peak rate;
    `None` offers as much as the memory takes. `write_fraction` of a gather's rows are written.
    Raises `UsageError` for arguments that do not fit.
    """
    if mapping is not None or queue is not None or scheduler is not None:
        config = with_choices(config, mapping, queue, scheduler)
    if not 1 <= requests <= MOST_REQUESTS:
        raise UsageError(
            f"requests must be 1 to {MOST_REQUESTS:,}, not {requests:,}: some ten million are "
            "served a second, and a million tell what a stream sustains"
        )
    if not 0 <= seed < 1 << 63:
        raise UsageError(f"seed must be 0 to 2**63 - 1, not {seed}")
    channels = config.channels if channels is None else channels
    source = _source(config, channels, pattern, row_bytes, seed, alpha, write_fraction)
    run = Session(config, channels, load)
    chunk = min(CHUNK if run.together else SPLIT_CHUNK, requests)
    out = np.zeros((5, chunk), dtype=np.int64)
    source.fill(0, 0, out)
    for first in range(0, requests, chunk):
        n = min(chunk, requests - first)
        source.fill(first, n, out)
        run.feed(out, n, first + n == requests)
        tell(f"{first + n:,} of {requests:,} requests", (first + n) / requests)
    return _measurement(run)


def replay_stream(
    config: Dram,
    row_addresses: npt.NDArray[np.int64],
    row_bytes: int,
    writes: bool | npt.NDArray[np.bool_] = False,
    *,
    channels: int | None = None,
    load: float | None = None,
) -> Measurement:
    """Run the embedding rows at `row_addresses` (int64 byte addresses, in order) through the
    memory; `writes` says for all, or for each, whether the row is written."""
    return replay_streams(
        config, [RowStream(row_addresses, row_bytes, writes)], channels=channels, load=load
    )


def replay_streams(
    config: Dram,
    streams: Sequence[RowStream],
    weights: Sequence[float] | None = None,
    *,
    channels: int | None = None,
    load: float | None = None,
) -> Measurement:
    """Run several streams of rows at once through one memory, so that they contend.

    Rows are interleaved evenly, `weights[i]` rows of stream `i` for every `weights[j]` of stream
    `j`; by default in proportion to their lengths, so that all end together.
    """
    addresses, writes, sizes = _interleave(streams, weights)
    run = Session(config, config.channels if channels is None else channels, load)
    largest = int(sizes.max(initial=1)) // config.burst_bytes + 2
    out = np.zeros((5, max(CHUNK if run.together else SPLIT_CHUNK, largest)), dtype=np.int64)
    used = np.zeros(1, dtype=np.int64)
    item = 0
    while True:
        item = patterns.fill_rows(addresses, writes, sizes, item, run.map.words, out, used)
        run.feed(out, int(used[0]), item == len(addresses))
        if item == len(addresses):
            return _measurement(run)


def _interleave(
    streams: Sequence[RowStream], weights: Sequence[float] | None
) -> tuple[Ints, Ints, Ints]:
    lengths = [len(stream.addresses) for stream in streams]
    shares = [float(n) for n in lengths] if weights is None else [float(w) for w in weights]
    if len(shares) != len(streams) or any(
        w <= 0 and n for w, n in zip(shares, lengths, strict=True)
    ):
        raise UsageError("one positive weight for each stream")
    if any(stream.row_bytes < 1 for stream in streams):
        raise UsageError("row bytes must be at least 1")
    addresses = np.concatenate(
        [np.asarray(s.addresses, dtype=np.int64) for s in streams] or [np.zeros(0, np.int64)]
    )
    if len(addresses) and int(addresses.min()) < 0:
        raise UsageError("addresses must not be negative")
    flags = [np.broadcast_to(s.write, (n,)) for s, n in zip(streams, lengths, strict=True)]
    writes = np.concatenate([*flags, np.zeros(0, dtype=bool)]).astype(np.int64)
    sizes = np.repeat(np.array([s.row_bytes for s in streams], dtype=np.int64), lengths)
    if len(streams) > 1:
        turn = np.concatenate(
            [(np.arange(n) + 0.5) / w for n, w in zip(lengths, shares, strict=True) if n]
            or [np.zeros(0)]
        )
        order = np.argsort(turn, kind="stable")
        addresses, writes, sizes = addresses[order], writes[order], sizes[order]
    return addresses, writes, sizes
