"""Copies of several GPUs: between two of them, and between each and the host, alone and at once.

A lane is a stream with copies back to back; lanes of a row are launched together, each timed by
events of its own GPU (moments of two GPUs cannot be compared). `ms` is one copy of the slowest
lane.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from simulator.observe.microbench.device import GpuBench
from simulator.observe.microbench.tables import Row, Subject, spread

__all__ = ["HostLanes", "Lane", "link_subjects", "spans", "wait_for_all"]

_FILE = "micro_links.csv"
_MB = 1 << 20
_PEER_POWERS = tuple(range(12, 29, 2))
_HOST_POWERS = (20, 22, 24, 26, 28)
_FEW_HOST_POWERS = (20, 24, 28)


class Lane:
    """Copies of one buffer to another on a stream of its own of GPU `gpu`."""

    def __init__(
        self, torch: Any, gpu: int, target: Any, source: Any, *, from_host: bool = False
    ) -> None:
        self._torch, self.gpu = torch, gpu
        self._target, self._source = target, source
        self.from_host = from_host
        self._stream = torch.cuda.Stream(device=gpu)

    def start(self, size: int, copies: int) -> tuple[Any, Any]:
        """Launch `copies` of the first `size` bytes; the moments of their begin and end."""
        event = partial(self._torch.cuda.Event, enable_timing=True)
        with self._torch.cuda.stream(self._stream):
            begin, end = event(), event()
            begin.record()
            for _ in range(copies):
                self._target[:size].copy_(self._source[:size], non_blocking=True)
            end.record()
        return begin, end


class HostLanes:
    """A lane each way for each GPU, on page-locked buffers of `size` bytes of their own."""

    def __init__(self, gpu: GpuBench, gpus: Sequence[int], size: int) -> None:
        torch, self._lanes = gpu.torch, {}
        for number in gpus:
            for way in ("h2d", "d2h"):
                here = gpu.ops.staging((size,), "uint8")
                there = torch.zeros(size, dtype=torch.uint8, device=f"{gpu.ops.device}:{number}")
                target, source = (there, here) if way == "h2d" else (here, there)
                self._lanes[way, number] = Lane(
                    torch, number, target, source, from_host=way == "h2d"
                )

    def of(self, way: str, gpus: Sequence[int]) -> list[Lane]:
        """`way`: `h2d`, `d2h` or `h2d+d2h`."""
        return [self._lanes[one, number] for number in gpus for one in way.split("+")]


def spans(gpu: GpuBench, lanes: Sequence[Lane], size: int, copies: int) -> list[float]:
    """Milliseconds that one copy of each lane took, all launched together."""
    moments = [lane.start(size, copies) for lane in lanes]
    wait_for_all(gpu, lanes)
    return [gpu.ops.between_us(begin, end) / 1e3 / copies for begin, end in moments]


def wait_for_all(gpu: GpuBench, lanes: Sequence[Lane]) -> None:
    for number in sorted({lane.gpu for lane in lanes}):
        gpu.torch.cuda.synchronize(number)


def link_subjects(gpu: GpuBench) -> list[Subject]:
    """The subjects of `micro_links.csv`; two GPUs at least."""
    return [
        Subject("peer copies", _FILE, partial(_peers, gpu)),
        Subject("host copies of several GPUs", _FILE, partial(_host_copies, gpu)),
    ]


def _copies(size: int) -> int:
    """Back to back: one of a small size, for its latency; else enough to last."""
    return 1 if size < _MB else max(4, min(64, 512 * _MB // size))


def _row(gpu: GpuBench, op: str, lanes: Sequence[Lane], size: int) -> Row:
    copies = _copies(size)
    spans(gpu, lanes, size, copies)
    samples: list[list[float]] = []
    until = time.perf_counter() + gpu.budget.seconds
    while len(samples) < 5 or (time.perf_counter() < until and len(samples) < 50):
        samples.append(spans(gpu, lanes, size, copies))
    each = [size / float(np.median(lane)) / 1e6 for lane in zip(*samples, strict=True)]
    return {
        "session": "m1",
        "op": op,
        "bytes": size,
        "gpus": ",".join(str(number) for number in sorted({lane.gpu for lane in lanes})),
        "streams": len(lanes),
        **spread("ms", [max(sample) for sample in samples]),
        "GBps_sum": sum(each),
        "GBps_each": " ".join(f"{rate:.1f}" for rate in each),
        "note": f"{copies} copies back to back per stream",
    }


def _peers(gpu: GpuBench) -> Iterator[Row]:
    torch, most = gpu.torch, 1 << max(_PEER_POWERS)
    buffers = [
        [torch.zeros(most, dtype=torch.uint8, device=f"{gpu.ops.device}:{n}") for n in (0, 1)]
        for _ in range(2)
    ]
    there = Lane(torch, 0, buffers[0][1], buffers[0][0])
    back = Lane(torch, 1, buffers[1][0], buffers[1][1])
    access = [torch.cuda.can_device_access_peer(a, b) for a, b in ((0, 1), (1, 0))]
    for power in _PEER_POWERS:
        for op, lanes in (
            ("peer_copy 0->1", [there]),
            ("peer_copy 1->0", [back]),
            ("peer_copy both ways", [there, back]),
        ):
            row = dict(_row(gpu, op, lanes, 1 << power))
            yield row | {"note": f"peer access {access}; {row['note']}"}


def _host_copies(gpu: GpuBench) -> Iterator[Row]:
    numbers = list(range(gpu.torch.cuda.device_count()))
    powers = _FEW_HOST_POWERS if gpu.budget.quick else _HOST_POWERS
    lanes = HostLanes(gpu, numbers, 1 << max(powers))
    for power in powers:
        for gpus in ([0], [1], numbers):
            named = "+".join(f"gpu{number}" for number in gpus)
            for way in ("h2d", "d2h", "h2d+d2h"):
                yield _row(gpu, f"pinned {way} {named}", lanes.of(way, gpus), 1 << power)
        for one, other in (("h2d", "d2h"), ("d2h", "h2d")):
            opposite = [*lanes.of(one, [0]), *lanes.of(other, [1])]
            yield _row(gpu, f"pinned {one} gpu0 + {other} gpu1", opposite, 1 << power)
