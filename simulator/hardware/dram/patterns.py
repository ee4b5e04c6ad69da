"""Streams of bursts, made chunk by chunk: sequential, gather, scatter, mixed, Zipf, and replay.

A pattern is a function of the burst's number alone (counter-based random numbers), so a stream of
any length needs no more memory than one chunk.
"""

from __future__ import annotations

import math

import numpy as np

from simulator._compiled import compiled
from simulator._mix import GOLDEN, mix64
from simulator.hardware.dram._inline import inlined
from simulator.hardware.dram.mapping import AddressMap, decode
from simulator.hardware.dram.views import Ints

__all__ = ["MIXED_LAG", "PATTERNS", "fill_pattern", "fill_rows", "scatter_multiplier"]

PATTERNS = ("seq", "gather", "scatter", "mixed", "zipf")
SEQ, GATHER, SCATTER, MIXED, ZIPF = range(5)
MIXED_LAG = 256
"""`mixed` writes the row that it read this many rows earlier."""


@inlined
def _random(seed: int, counter: int) -> int:
    """62 random bits of (seed, counter): SplitMix64."""
    z = np.uint64(counter + 1) * GOLDEN + np.uint64(seed) * np.uint64(0xD1342543DE82EF95)
    return int(mix64(z) >> np.uint64(2))


@inlined
def _below(seed: int, counter: int, n: int) -> int:
    """A uniform integer below `n` < 2**31."""
    return ((_random(seed, counter) >> 30) * n) >> 32


@inlined
def _h(x: float, alpha: float) -> float:
    """Antiderivative of x**-alpha."""
    if alpha == 1.0:
        return math.log(x)
    return math.exp((1.0 - alpha) * math.log(x)) / (1.0 - alpha)


@inlined
def _h_inverse(y: float, alpha: float) -> float:
    if alpha == 1.0:
        return math.exp(y)
    return math.exp(math.log(y * (1.0 - alpha)) / (1.0 - alpha))


@inlined
def _zipf(seed: int, counter: int, n: int, alpha: float) -> int:
    """A rank below `n` with probability proportional to (rank + 1)**-alpha.

    Rejection-inversion (Hoermann and Derflinger, ACM TOMACS 6(3), 1996): exact, no table.
    """
    low = _h(1.5, alpha) - 1.0
    high = _h(n + 0.5, alpha)
    tries = 0
    while True:
        bits = _random(seed + 1 + tries, counter)
        u = low + (bits >> 9) * (1.0 / (1 << 53)) * (high - low)
        x = _h_inverse(u, alpha)
        rank = min(max(int(x + 0.5), 1), n)
        if u >= _h(rank + 0.5, alpha) - math.exp(-alpha * math.log(rank)):
            return rank - 1
        tries += 1


def scatter_multiplier(n: int) -> int:
    """A factor coprime to `n`: `rank * factor % n` spreads popular ranks over the table."""
    factor = max(1, int(n * 0.6180339887498949)) | 1
    while math.gcd(factor, n) != 1:
        factor += 2
    return factor % n if n > 1 else 1


@inlined
def _row_of(
    pattern: int,
    item: int,
    rows: int,
    seed: int,
    alpha: float,
    factor: int,
    write_fraction: float,
) -> tuple[int, int]:
    """The embedding row that a pattern touches as number `item`, and whether it is written."""
    if pattern == SEQ:
        return item % rows, 0
    if pattern == ZIPF:
        return _zipf(seed, item, rows, alpha) * factor % rows, 0
    if pattern == SCATTER:
        return _below(seed, item, rows), 1
    if pattern == MIXED:
        if item < MIXED_LAG:
            return _below(seed, item, rows), 0
        pair = (item - MIXED_LAG) >> 1
        written = (item - MIXED_LAG) & 1
        return _below(seed, pair if written else pair + MIXED_LAG, rows), written
    write = int((item + 1) * write_fraction) - int(item * write_fraction)
    return _below(seed, item, rows), write


@compiled
def fill_pattern(
    pattern: int,
    first: int,
    count: int,
    bursts_per_row: int,
    rows: int,
    seed: int,
    alpha: float,
    factor: int,
    write_fraction: float,
    map_words: Ints,
    out: Ints,
) -> None:
    """Bursts `first` to `first + count` of a pattern into `out`, int64[5, >= count]
    (channel, bank, row, column, write).

    In `gather`, `write_fraction` of the rows are written, spread evenly; `map_words` are those of
    an `AddressMap`.
    """
    address_map = AddressMap(map_words, 0)
    item = first // bursts_per_row
    offset = first - item * bursts_per_row
    row, write = _row_of(pattern, item, rows, seed, alpha, factor, write_fraction)
    for i in range(count):
        channel, bank, dram_row, column = decode(address_map, row * bursts_per_row + offset)
        out[0, i], out[1, i], out[2, i], out[3, i] = channel, bank, dram_row, column
        out[4, i] = write
        offset += 1
        if offset == bursts_per_row:
            offset = 0
            item += 1
            row, write = _row_of(pattern, item, rows, seed, alpha, factor, write_fraction)


@compiled
def fill_rows(
    addresses: Ints, writes: Ints, sizes: Ints, start: int, map_words: Ints, out: Ints, used: Ints
) -> int:
    """Bursts of whole embedding rows from number `start` on, as many as fit into `out`.

    `addresses` are byte addresses and `sizes` bytes; a row touches every burst that holds one of
    its bytes; `map_words` are those of an `AddressMap`.
    Returns the number of the first row left out; `used[0]` becomes the number of bursts.
    """
    address_map = AddressMap(map_words, 0)
    burst_bytes = address_map.burst_bytes
    capacity = out.shape[1]
    n = 0
    item = start
    while item < addresses.shape[0]:
        first = addresses[item] // burst_bytes
        last = (addresses[item] + sizes[item] - 1) // burst_bytes
        if n + last - first + 1 > capacity:
            break
        for burst in range(first, last + 1):
            channel, bank, row, column = decode(address_map, burst)
            out[0, n], out[1, n], out[2, n], out[3, n] = channel, bank, row, column
            out[4, n] = writes[item]
            n += 1
        item += 1
    used[0] = n
    return item
