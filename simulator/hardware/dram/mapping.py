"""From a byte address to channel, bank, DRAM row and column: an ordered list of bit fields.

Channels and pseudo-channels are interleaved (`mapping.interleave` bytes each, pseudo-channels
within a channel); the order of the other fields is the configuration's. Addresses beyond the
capacity wrap around.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np

from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram._inline import inlined
from simulator.hardware.dram.views import Ints, View

__all__ = ["AddressMap", "address_map", "decode"]

COLUMN_LOW, COLUMN, GROUP, BANK, STACK_ID, RANK, ROW = range(7)
FIELDS = ("column_low", "column", "bank_group", "bank", "stack_id", "rank", "row")

Fields = Annotated[Ints, len(FIELDS)]


class AddressMap(View):
    """Where the fields of an address lie. Counts of fields are powers of two."""

    channels: int
    pseudo_channels: int
    interleave: int  # bursts
    burst_bytes: int
    bank_hash: int
    shift: Fields
    mask: Fields
    bits: Fields


def address_map(config: Dram, channels: int) -> AddressMap:
    """The map of `config` over `channels` channels."""
    o, mapping = config.organization, config.mapping
    columns = o.page_bytes // config.burst_bytes
    low = min(mapping.column_low_bursts, columns)
    counts = {
        "column_low": low,
        "column": columns // low,
        "bank_group": o.bank_groups,
        "bank": o.banks_per_group,
        "stack_id": o.stack_ids,
        "rank": config.simulated_ranks,
        "row": o.rows_per_bank,
    }
    m = AddressMap(np.zeros(AddressMap.size, dtype=np.int64), 0)
    m.channels, m.pseudo_channels = channels, o.pseudo_channels
    m.interleave = mapping.interleave // config.burst_bytes
    m.burst_bytes, m.bank_hash = config.burst_bytes, mapping.bank_hash
    shift = 0
    for name in mapping.fields:
        i = FIELDS.index(name)
        m.shift[i], m.mask[i] = shift, counts[name] - 1
        m.bits[i] = counts[name].bit_length() - 1
        shift += int(m.bits[i])
    return m


@inlined
def _bits(m: AddressMap, local: int, field: int) -> int:
    """The value of a field."""
    value: int = (local >> m.shift[field]) & m.mask[field]
    return value


@inlined
def decode(m: AddressMap, burst: int) -> tuple[int, int, int, int]:
    """Channel, bank within the channel, DRAM row and column of a burst's index."""
    channel = pseudo = 0
    local = burst
    if m.channels * m.pseudo_channels > 1:  # else nothing is interleaved: no divisions
        block = burst // m.interleave
        inside = burst - block * m.interleave
        channel = block % m.channels
        block = block // m.channels
        pseudo = block % m.pseudo_channels
        local = block // m.pseudo_channels * m.interleave + inside
    row, group, bank = _bits(m, local, ROW), _bits(m, local, GROUP), _bits(m, local, BANK)
    if m.bank_hash != 0:
        group ^= row & m.mask[GROUP]
        bank ^= (row >> m.bits[GROUP]) & m.mask[BANK]
    unit = pseudo * (m.mask[RANK] + 1) + _bits(m, local, RANK)
    unit = unit * (m.mask[STACK_ID] + 1) + _bits(m, local, STACK_ID)
    flat = (unit * (m.mask[GROUP] + 1) + group) * (m.mask[BANK] + 1) + bank
    high = _bits(m, local, COLUMN) << m.bits[COLUMN_LOW]
    return channel, flat, row, high | _bits(m, local, COLUMN_LOW)
