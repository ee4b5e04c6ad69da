"""What of a CPU's accesses reaches a memory: misses in whole lines or pages, reads for ownership,
and changed lines when they leave the cores' caches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from simulator.columns import least, most, some
from simulator.config.operators import CpuOperator
from simulator.hardware.access import Access
from simulator.hardware.devices.base import Path
from simulator.hardware.devices.cpu_words import LINE_BYTES, CpuPass, lines_of

__all__ = ["as_stored", "first_answer_ps", "in_lines", "to_memory", "with_deferred", "without_last"]


def in_lines(access: Access) -> Access:
    """A CPU access in whole cache lines: each random piece, or the whole of an in-order stream."""
    if access.random:
        return access.of(access.count, lines_of(access.size) * LINE_BYTES)
    return access.of(lines_of(access.bytes), LINE_BYTES)


def _in_pages(access: Access, page: int) -> Access:
    """An access to rows in whole pages, each row in pages of its own."""
    return access.of(access.count, -(-access.size // page) * page)


def to_memory(access: Access, operator: CpuOperator, path: Path) -> list[Access]:
    """What reaches a memory of a CPU access: misses only, in whole lines, reads for ownership; of a
    drive whole pages, which are read before a part of them is written."""
    pages = path.memory.pages
    whole = in_lines(access) if pages is None else _in_pages(access, pages.size)
    stream = whole.of(round(whole.count * (1.0 - access.hit_share)), whole.size)
    owned = operator.nontemporal if pages is None else access.size % pages.size == 0
    if not access.write or access.in_place or owned:
        return [stream]
    return [replace(stream, write=False), stream]


def with_deferred(streams: list[Access], work: CpuPass) -> list[Access]:
    """Streams to DRAM less what stays in the cores' caches, and with what is driven out of them:
    as rows of a table, of which nobody keeps where they lie."""
    memory, size = streams[0].memory, most(LINE_BYTES, *(a.size for a in streams))
    rows, rest = divmod(work.evicts, size)
    pieces = ((rows, size), (1 * (rest != 0), rest + size * (rest == 0)))
    out = [Access(memory, count, each, write=True, buffer=True) for count, each in pieces]
    return without_last(streams, work.leaves)[0] + [access for access in out if some(access.bytes)]


def without_last(streams: Sequence[Access], size: int) -> tuple[list[Access], int]:
    """`streams` without the last of their writes, in whole pieces of at most `size` bytes
    together; bytes of `size` that are left."""
    kept = []
    for stream in reversed(streams):
        if stream.write and stream.size:
            stays = least(stream.count, size // stream.size)
            size -= stays * stream.size
            stream = stream.of(stream.count - stays, stream.size)
        kept.append(stream)
    return kept[::-1], size


def first_answer_ps(paths: Mapping[str, Path], streams: Mapping[str, Sequence[Access]]) -> int:
    """Until the first pages that an operation asks for are there."""
    return max(
        (
            path.memory.pages.latency_ps
            for place, path in paths.items()
            if path.memory.pages is not None and any(s.count for s in streams[place])
        ),
        default=0,
    )


def as_stored(work: CpuPass) -> CpuPass:
    """`work` with ordinary stores where what it writes is not whole lines: a streaming store of a
    part of a line goes to memory by itself, so that no program streams those."""
    operator = work.operator
    if not operator.nontemporal or not any(a.write and a.size % LINE_BYTES for a in work.accesses):
        return work
    return replace(work, operator=operator.model_copy(update={"nontemporal": False}))
