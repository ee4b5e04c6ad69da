"""Which lines of a buffer the cores of a CPU keep once an operator has read it.

Rows of a buffer are divided among the threads of an operator: each line is read by one core, but
for those at the boundaries, and stays in that core's own cache. The gradient of a pooled vector is
read once a lookup, by whichever threads update the rows that were looked up: with more than one
lookup a vector and all threads on all tables its lines are shared, and the last-level cache keeps
track of who holds them.

Ignored: lists of ids, which are small beside rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from simulator.hardware.devices.cpu_words import CpuPass
from simulator.hardware.program import Accumulate, Buffer, Expand, Operation, Scatter, Update

__all__ = ["CoreLines", "lines_of_pass"]


@dataclass(frozen=True, slots=True)
class CoreLines:
    """What an operation leaves of the buffer that it reads."""

    passed: int
    """Bytes that it brings into the cores' own caches, which drive out what was there."""
    missed: int
    """Bytes of them that were not in the last-level cache and come there, too."""
    buffer: Buffer | None = None
    """What it reads, which a device may have filled; None: nothing."""
    size: int = 0
    """Bytes of it that it reads."""
    shared: bool = False
    """Several cores read each line; else one."""
    room: int = 0
    """Bytes until they are gone: passed, or missed where they are shared."""


def lines_of_pass(
    word: Operation, work: CpuPass, threads: int, rooms: tuple[int, int]
) -> CoreLines:
    """What `word`, done as `work` by `threads`, leaves; `rooms`: of lines that one core holds, and
    of lines that several hold."""
    brought = [
        access
        for access in work.accesses
        if not (access.write and (access.in_place or work.operator.nontemporal))
    ]
    passed = sum(access.bytes for access in brought)
    missed = sum(round(access.bytes * (1.0 - access.hit_share)) for access in brought)
    buffer = _read_by(word)
    if buffer is None:
        return CoreLines(passed, missed)
    size, shared = buffer.bytes, False
    if isinstance(word, Accumulate | Update):
        gathered = word.rows.lookups * word.gradient_bytes
        size = min(size, gathered)
        shared = threads > 1 and work.operator.threads == "all" and gathered > buffer.bytes
    return CoreLines(passed, missed, buffer, size, shared, rooms[shared])


def _read_by(word: Operation) -> Buffer | None:
    """The buffer that `word` reads; expanded gradients are none of a device's."""
    if isinstance(word, Scatter | Expand):
        return word.source
    if isinstance(word, Accumulate) and not word.expanded:
        return word.source
    if isinstance(word, Update) and word.coalesce and not word.expanded:
        return word.source
    return None
