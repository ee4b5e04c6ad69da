"""What a whole memory sustains for a kind of stream: measured once, and kept on disk.

Approximated: `simulated_channels` stand for all channels, and the pieces of one embedding row in
different channels are independent. Else what `measure` models.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from simulator._kept_answers import kept
from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram.measure import measure

__all__ = ["Sustained", "sustained"]


@dataclass(frozen=True, slots=True)
class Sustained:
    """What a memory gives a stream that has it alone, all channels together."""

    bytes_per_s: float
    pj_per_byte: float
    """Dynamic energy: activates and bursts."""
    standing_w: float
    """Power that flows whatever the stream does: background and refresh."""


@lru_cache(maxsize=4096)
def sustained(
    config: Dram,
    pattern: str,
    row_bytes: int,
    write_fraction: float = 0.0,
    *,
    requests: int = 1 << 16,
    alpha: float = 1.0,
    seed: int = 0,
) -> Sustained:
    """What the whole memory sustains for a kind of stream (see `measure`).

    `simulated_channels` of the memory are simulated, each with the piece of a row that falls into
    it, and the result is scaled to all channels.
    """
    return Sustained(
        *simulated(config, pattern, row_bytes, float(write_fraction), requests, float(alpha), seed)
    )


@kept()
def simulated(
    config: Dram,
    pattern: str,
    row_bytes: int,
    write_fraction: float,
    requests: int,
    alpha: float,
    seed: int,
) -> list[float]:
    """The fields of `Sustained`, in their order."""
    channels = config.simulated_channels
    piece = row_bytes if channels == config.channels else piece_bytes(config, row_bytes)
    result = measure(
        config, pattern, piece, requests, channels=channels, alpha=alpha, seed=seed,
        write_fraction=write_fraction,
    )  # fmt: skip
    bursts = -(-piece // config.burst_bytes) * config.burst_bytes
    scale, useful = config.channels / channels, piece / bursts
    energy = result.energy_pj
    dynamic_pj = energy["activate"] + energy["read"] + energy["write"]
    standing_pj = energy["background"] + energy["refresh"]
    return [
        result.bytes_per_s * scale * useful,
        dynamic_pj / (result.requests * config.burst_bytes * useful),
        standing_pj / result.elapsed_ps * scale,
    ]


def piece_bytes(config: Dram, row_bytes: int) -> int:
    """Bytes of an embedding row that lie together in one (pseudo-)channel."""
    buses = config.channels * config.organization.pseudo_channels
    stripe = config.mapping.interleave * buses
    return min(row_bytes, config.mapping.interleave * -(-row_bytes // stripe))
