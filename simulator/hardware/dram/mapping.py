"""From a byte address to channel, bank, DRAM row and column: an ordered list of bit fields.

Channels and pseudo-channels are interleaved (`mapping.interleave` bytes each, pseudo-channels
within a channel); the order of the other fields is the configuration's. Addresses beyond the
capacity wrap around.
"""

from __future__ import annotations

import numpy as np

from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram._inline import inlined
from simulator.hardware.dram.state import Ints

__all__ = ["address_map", "decode"]

# Positions in the map vector; then SHIFT and MASK of each field.
N_CHANNELS = 0
N_PSEUDO = 1
INTERLEAVE = 2  # bursts
BURST = 3  # bytes
HASH = 4
SHIFT = 5
MASK = 12
COLUMN_LOW, COLUMN, GROUP, BANK, SID, RANK, ROW = range(7)
FIELDS = ("column_low", "column", "bank_group", "bank", "stack_id", "rank", "row")
BITS = 19
SIZE = 26


def address_map(config: Dram, channels: int) -> Ints:
    """The map of `config` over `channels` channels, int64[SIZE]."""
    o, mapping = config.organization, config.mapping
    columns = o.page_bytes // config.burst_bytes
    low = min(mapping.column_low_bursts, columns)
    counts = {
        "column_low": low,
        "column": columns // low,
        "bank_group": o.bank_groups,
        "bank": o.banks_per_group,
        "stack_id": o.stack_ids,
        "rank": o.ranks,
        "row": o.rows_per_bank,
    }
    v = np.zeros(SIZE, dtype=np.int64)
    v[N_CHANNELS], v[N_PSEUDO] = channels, o.pseudo_channels
    v[INTERLEAVE] = mapping.interleave // config.burst_bytes
    v[BURST], v[HASH] = config.burst_bytes, mapping.bank_hash
    shift = 0
    for name in mapping.fields:
        i = FIELDS.index(name)
        v[SHIFT + i], v[MASK + i] = shift, counts[name] - 1
        v[BITS + i] = counts[name].bit_length() - 1
        shift += int(v[BITS + i])
    return v


@inlined
def decode(v: Ints, burst: int) -> tuple[int, int, int, int]:
    """Channel, bank within the channel, DRAM row and column of a burst's index."""
    block = burst // v[INTERLEAVE]
    inside = burst - block * v[INTERLEAVE]
    channel = block % v[N_CHANNELS]
    block = block // v[N_CHANNELS]
    pseudo = block % v[N_PSEUDO]
    local = block // v[N_PSEUDO] * v[INTERLEAVE] + inside
    row = (local >> v[SHIFT + ROW]) & v[MASK + ROW]
    group = (local >> v[SHIFT + GROUP]) & v[MASK + GROUP]
    bank = (local >> v[SHIFT + BANK]) & v[MASK + BANK]
    if v[HASH] != 0:
        group ^= row & v[MASK + GROUP]
        bank ^= (row >> v[BITS + GROUP]) & v[MASK + BANK]
    unit = pseudo * (v[MASK + RANK] + 1) + ((local >> v[SHIFT + RANK]) & v[MASK + RANK])
    unit = unit * (v[MASK + SID] + 1) + ((local >> v[SHIFT + SID]) & v[MASK + SID])
    flat = (unit * (v[MASK + GROUP] + 1) + group) * (v[MASK + BANK] + 1) + bank
    column = (local >> v[SHIFT + COLUMN]) & v[MASK + COLUMN]
    column = (column << v[BITS + COLUMN_LOW]) | (
        (local >> v[SHIFT + COLUMN_LOW]) & v[MASK + COLUMN_LOW]
    )
    return channel, flat, row, column
