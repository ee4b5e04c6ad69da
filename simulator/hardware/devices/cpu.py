"""The host processor: what bounds its share of a memory-bound operator.

Modelled. Memory: an operator's bytes at what DRAM sustains for such a stream, and at what the path
between cores and DRAM carries (`memory_path`, a resource of its own that copies do not pass).
Threads: each spends `row_time` on a row and `line_time` on a line of it, and waits for lines of
64 B; with `miss_buffers` x `overlap` lines outstanding (or those of `prefetch_rows` rows) at
`memory_latency` each a core moves 64 B x outstanding / latency (Little's law). In-order reads come
by hardware prefetch. Stores read the line first (read for ownership) unless they are non-temporal;
lines that they change stay in the cores' own caches as far as those hold them, and the operation
that drives them out pays for their way to DRAM. Products of MLPs take a share of the cores' peak.
Operations on both hardware threads of the cores each have half of them, and take
`sibling_slowdown` times as long.
What a device has copied in is found in the last-level cache as far as devices may fill it
(`device_cache`). The operator takes the longer of threads and memory, the corner rounded by
`sharpness` (asymptotic bounds of a closed queueing network), and after that its page faults: each
thread traps and clears its own pages, a share of that behind one lock of the address space. Its
threads are taken all the while, whether they compute or wait: operators at once share them. A
memory behind a link costs the link's loads, and its latency adds to each wait; one that cannot be
loaded from (a drive) costs a thread's time for each request of pages, and no wait, for many are
under way: nobody's thread is held while it is the drive that is waited for. Rows out of large
tables read the page table beside themselves (`_walks`).

Threads share rows evenly, or take ranges of them one after the other (`dealing`).

Approximated: last-level hits are given by share, not by set; the
streams of one operation are spread evenly over its duration; power is proportional to busy cores.
Ignored: NUMA, upper levels of the page table, clock changes under load.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from simulator.columns import most, some
from simulator.config.bounds import AtMost
from simulator.config.machine import Part
from simulator.config.model import ModelConfig
from simulator.config.operators import CpuOperator, OperatorProfile
from simulator.config.sections import RunConfig
from simulator.config.types import (
    Bytes,
    BytesOrNone,
    BytesPerSecond,
    FlopPerSecond,
    Fraction,
    Picoseconds,
    Positive,
    Watts,
)
from simulator.errors import ConfigError, Problem
from simulator.hardware.access import Access
from simulator.hardware.demand import Demand, Resource, ResourceUse, Service
from simulator.hardware.devices.base import Path, Processor, Reach, Setup, dynamic_j
from simulator.hardware.devices.cpu_paths import DevicePath, MemoryPath
from simulator.hardware.devices.cpu_streams import (
    as_stored,
    first_answer_ps,
    in_lines,
    to_memory,
    with_deferred,
    without_last,
)
from simulator.hardware.devices.cpu_words import LINE_BYTES, CpuPass, Package, lines_of
from simulator.hardware.devices.cpu_words import PASSES as TRAINING_PASSES
from simulator.hardware.devices.dealing import slowest_ps
from simulator.hardware.devices.dram import Dram
from simulator.hardware.devices.noise_words import NOISE_PASSES
from simulator.hardware.memory import Memory
from simulator.hardware.program import Operation
from simulator.units import PS_PER_S

__all__ = ["Cpu", "CpuDevice", "CpuPass", "DevicePath", "MemoryPath"]

PASSES = {**TRAINING_PASSES, **NOISE_PASSES}
"""How each word becomes a pass."""
PAGE_ENTRIES = 8
"""Entries of a page table in a cache line."""


class Cpu(Part):
    """The host processor: what bounds its share of a memory-bound operator."""

    links: ClassVar[bool | None] = False
    kind: Literal["cpu"]
    cores: Positive
    """Cores that run operator threads."""
    core_flops: FlopPerSecond | None = None
    """Peak of one core in fp32 matrix products; null: it is asked for none."""
    miss_buffers: Positive
    """Cache-line misses that one core keeps outstanding (line-fill buffers)."""
    memory_latency: Picoseconds
    """Load-to-use latency of a miss to idle DRAM."""
    nontemporal_bandwidth: BytesPerSecond
    """Bytes per second that one core writes with non-temporal (streaming) stores."""
    sequential_bandwidth: BytesPerSecond
    """Bytes per second that one core reads in order, by hardware prefetch."""
    memory_path: MemoryPath
    """Limits between cores and DRAM."""
    device_path: DevicePath
    """Limits between devices and DRAM."""
    core_cache: Bytes
    """Bytes of the cache of its own that a core has (L2): lines that it changed wait there."""
    last_level_cache: Bytes
    """Bytes of last-level cache that the rows of this machine's cores can stay in: less than the
    socket has where others share it."""
    last_level_latency: Picoseconds
    """Load-to-use latency of a hit in the last-level cache."""
    device_cache: BytesOrNone
    """Bytes of last-level cache that writes of devices fill (direct cache access): the cores find
    that much of a buffer that a copy has just written."""
    page_fault: Picoseconds
    """First touch of a fresh page by one thread: trap, allocation and clearing."""
    page_fault_lock: Fraction
    """Share of it that threads of one process do one after the other (locks of the address space
    and of the allocator)."""
    page: Bytes
    """Page size of fresh allocations."""
    thread_start: Picoseconds
    """Fork and join of a parallel region over all cores."""
    forwards: Annotated[int, Field(ge=0), AtMost(4096, "so many GPUs are simulated")] = 0
    """GPUs of a host, at most, that write to each other's memory through its root ports; what more
    of them exchange over PCIe passes its memory."""
    memory: Dram
    idle_power: Watts
    active_power: Watts
    """Package power with all cores busy (without DRAM)."""
    stalled_power: Fraction
    """Share of a busy core's power beyond idle that a core takes whose thread waits for DRAM, for
    the path to it or for other threads (it holds the core: no sleep state, full clock)."""

    def misfits(self, run: RunConfig, model: ModelConfig) -> list[Problem]:
        """What a run or a model asks for that it does not have."""
        del model
        if run.cpu_threads is None or run.cpu_threads <= self.cores:
            return []
        message = f"is {run.cpu_threads}: {self.name} has {self.cores} cores"
        return [Problem("", "run.cpu_threads", message)]

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> CpuDevice:
        """The processor in its socket."""
        return CpuDevice(name, self, setup, members)


class CpuDevice(Processor):
    """A CPU on its machine; brings its DRAM."""

    part: Cpu
    rules: ClassVar[Mapping[type[Operation], str]] = {
        CpuPass: "_priced",
        **dict.fromkeys(PASSES, "_price_word"),
    }

    def prepare(self, setup: Setup) -> None:
        cpu = self.part
        self.dram = Memory(
            f"{self.name}.dram", self.name, "dram", cpu.memory.usable, setup.timing(cpu.memory)
        )
        self._all_threads = min(cpu.cores, setup.cpu_threads or cpu.cores)
        self.threads = max(1, self._all_threads // setup.pools)
        self._one_pool = setup.pools == 1
        self._cores, self._pool_name = f"{self.name}.cores", f"{self.name}.threads"
        self._path, self._device_path = f"{self.name}.path", f"{self.name}.device_path"

    @property
    def memories(self) -> tuple[Memory, ...]:
        return (self.dram,)

    @property
    def resources(self) -> tuple[Resource, ...]:
        pool = Resource(self._pool_name, self.name, "pool", one_requester=self._one_pool)
        path, devices = (
            Resource(name, self.name, "path") for name in (self._path, self._device_path)
        )
        cores = Resource(self._cores, self.name, "cpu")
        own = (self.dram.resource, cores, path)
        return (*own, devices, pool) if self.part.device_path.bounds else (*own, pool)

    def entered(self, memory: Memory, size: int, *, write: bool) -> dict[str, Service]:
        path = self.part.device_path
        limit = path.write if write else path.read
        if limit is None or memory is not self.dram:
            return {}
        ps = size * PS_PER_S / limit
        return {self._device_path: Service(read_ps=ps)}

    def cached_rows(self, row_bytes: int) -> int:
        return self.part.last_level_cache // row_bytes

    def training_passes(
        self, software: OperatorProfile, optimizer: str = "sgd"
    ) -> tuple[tuple[str, str], ...]:
        del optimizer
        passes = [("expand", "expand")] if software.expand is not None else []
        passes.append(("sort", "sort"))
        if software.scatter is None:
            passes.append(("update", "accumulate"))
        else:
            passes += [("accumulate", "accumulate"), ("update", "scatter")]
        return tuple(passes)

    def occupied(self, parts: int, ps: float) -> dict[str, Service]:
        cores = self.part.cores
        return {self._cores: Service(read_ps=ps * min(parts, cores) / cores)}

    def energy(self, use: Mapping[str, ResourceUse], elapsed_ps: int) -> dict[str, float]:
        """Joules of the package and of DRAM: idle power throughout, the rest of the active power
        by the busy cores, `stalled_power` of it by cores that threads hold while they wait."""
        seconds, cpu, place = elapsed_ps / PS_PER_S, self.part, self.dram.place
        cores, pool = (use.get(name, ResourceUse()) for name in (self._cores, self._pool_name))
        busy = min(1.0, cores.busy_ps / elapsed_ps)
        stalled = max(0.0, pool.held_ps / elapsed_ps * self._all_threads / cpu.cores - busy)
        load = busy + cpu.stalled_power * stalled
        return {
            self._cores: seconds * (cpu.idle_power + (cpu.active_power - cpu.idle_power) * load),
            place: dynamic_j(use, place) + self.dram.timing.standing_w * seconds,
        }

    def left_changed(self, operation: Operation, software: OperatorProfile) -> int | None:
        word = operation
        if type(word) not in PASSES:
            return None
        work = self._as_pass(word, software)
        if work.operator.nontemporal:
            return 0
        written = [in_lines(a) for a in work.accesses if a.write and a.memory == self.dram.place]
        room = self._all_threads * self.part.core_cache
        return room - without_last(written, room)[1]

    def _as_pass(self, word: Operation, software: OperatorProfile) -> CpuPass:
        cpu = self.part
        at = Package(
            self.name, self.dram.place, cpu.last_level_cache, cpu.device_cache, cpu.core_flops
        )
        work = as_stored(PASSES[type(word)](word, software, at))
        accesses = (*work.accesses, *self._walks(word, work))
        work = replace(work, accesses=accesses, sibling=word.sibling)
        return replace(work, leaves=word.leaves, evicts=word.evicts)

    def _walks(self, word: Operation, work: CpuPass) -> tuple[Access, ...]:
        """Lines of the page table that translating the rows of a table reads from memory.

        A row is translated once a page, by an entry of 8 B; a line holds the entries of 8 pages.
        Uniform rows out of T bytes share T / (8 pages) such lines with the last-level cache, which
        holds as many touches as it has room for rows with their line: a line is found with
        1 - exp(-touches / lines) (independent references under LRU, Che's approximation). The page
        table lies in the processor's own memory, wherever the rows are.
        """
        store = getattr(word, "reads", None) or getattr(word, "writes", None)
        if store is None or not store.bytes:
            return ()
        cpu = self.part
        missing: dict[str, float] = {}
        for a in work.accesses:
            if a.random and not a.in_place and not a.buffer:
                own = a.count * (1.0 - a.hit_share)
                missing[a.memory] = most(missing.get(a.memory, 0.0), own)
        rows = sum(missing.values())
        lines = max(1.0, store.bytes / (PAGE_ENTRIES * cpu.page))
        touches = cpu.last_level_cache / (LINE_BYTES * (lines_of(store.row_bytes) + 1))
        missed = math.exp(-touches / lines)
        count = round(rows * -(-store.entry_bytes // cpu.page) * missed)
        place = self.dram.place
        beside = any(a.memory == place for a in work.accesses)
        read = some(count) if beside else bool(count)  # none of them adds nothing there
        return (Access(place, count, LINE_BYTES, buffer=True),) if read else ()

    def _price_word(self, word: Operation, software: OperatorProfile, reach: Reach) -> Demand:
        if getattr(word, "elsewhere", None) is not None:
            raise ConfigError(f"{self.name} ({self.part.name}) does {word.name} in one store alone")
        return self._priced(self._as_pass(word, software), software, reach)

    # what a pass costs

    def _priced(self, work: CpuPass, software: OperatorProfile, reach: Reach) -> Demand:
        cpu, operator = self.part, work.operator
        threads = {
            "all": self.threads,
            "tables": min(self.threads, work.tables),
            "one": 1,
        }[operator.threads]
        paths = {place: reach(place) for place in dict.fromkeys(a.memory for a in work.accesses)}
        streams = self._streams(work, paths)
        loaded = {place: 1.0 for place, path in paths.items() if path.memory.pages is None}
        queued = cpu.device_path.bounds and self.dram.place in paths
        services, loads_ps, pages_ps = self._served(work, paths, streams)
        waits_ps = [self._waiting_ps(a, operator, paths[a.memory]) for a in work.accesses]
        thread_ps = work.busy_ps + sum(waits_ps)
        each_ps = thread_ps / threads
        if work.ranges:
            each_ps = _slowest_ps(work, threads, thread_ps, waits_ps[0])
        fault_ps = self._page_faults_ps(work)
        faults_ps = fault_ps * (cpu.page_fault_lock + (1.0 - cpu.page_fault_lock) / threads)
        first_ps = round(first_answer_ps(paths, streams) / work.parts)
        corner = cpu.memory_path.rounded_corner
        held_ps = round(corner(each_ps, loads_ps) + faults_ps)
        alone_ps = round(corner(each_ps, most(loads_ps, pages_ps)) + faults_ps + first_ps)
        cores = 1.0
        if work.sibling is not None:
            slower, cores = software.cpu_mlp.sibling_slowdown, 0.5
            held_ps, alone_ps = round(held_ps * slower), round(alone_ps * slower)
        services[self._cores] = Service(read_ps=cores * (thread_ps + fault_ps) / cpu.cores)
        if not work.sibling:
            services[self._pool_name] = Service(read_ps=held_ps * threads / self._all_threads)
        return Demand(
            name=work.name,
            services=services,
            latency_ps=work.regions * cpu.thread_start if threads > 1 else 0,
            minimum_ps=alone_ps,
            blocks=True,
            loaded=loaded | ({self._device_path: 1.0} if queued else {}) if work.waits else {},
        )

    def _streams(self, work: CpuPass, paths: Mapping[str, Path]) -> dict[str, list[Access]]:
        """What reaches each memory of a pass."""
        streams = {
            place: [
                stream
                for a in work.accesses
                if a.memory == place
                for stream in to_memory(a, work.operator, path)
            ]
            for place, path in paths.items()
        }
        if self.dram.place in paths:
            streams[self.dram.place] = with_deferred(streams[self.dram.place], work)
        return streams

    def _served(
        self, work: CpuPass, paths: Mapping[str, Path], streams: Mapping[str, list[Access]]
    ) -> tuple[dict[str, Service], float, float]:
        """What memories and the paths to them are asked for, and the longest time that one of them
        takes: of memories that are loaded from, and of those that are read a page at a time."""
        services, loads_ps, pages_ps = dict[str, Service](), 0.0, 0.0
        loads = [place for place, path in paths.items() if path.memory.pages is None]
        if loads:
            passing = [stream for place in loads for stream in streams[place]]
            streamed = work.operator.nontemporal
            path_ps = self.part.memory_path.passing_ps(passing, work.evicts, streamed=streamed)
            services[self._path] = Service(read_ps=path_ps)
            loads_ps = most(0.0, services[self._path].ps)
        for place, path in paths.items():
            served = path.services(streams[place])
            services |= served
            if place in loads:
                loads_ps = most(loads_ps, path.alone_ps(served))
            else:
                pages_ps = most(pages_ps, path.alone_ps(served))
        return services, loads_ps, pages_ps

    def _waiting_ps(self, access: Access, operator: CpuOperator, path: Path) -> float:
        """Time that one thread alone would wait for the lines of `access`, or spend on the requests
        for its pages."""
        cpu, pages = self.part, path.memory.pages
        if pages is not None:
            requests = sum(s.count for s in to_memory(access, operator, path))
            return 1.0 * (requests * pages.request_ps)
        if access.write and access.in_place:
            return 0.0  # in the core's cache since it was read
        if access.write and operator.nontemporal:
            return access.bytes * PS_PER_S / cpu.nontemporal_bandwidth
        lines = in_lines(access).bytes // LINE_BYTES
        if not (access.random or access.write):
            missed_ps = access.bytes * PS_PER_S / cpu.sequential_bandwidth
            found_ps = lines * cpu.last_level_latency / cpu.miss_buffers
            return access.hit_share * found_ps + (1.0 - access.hit_share) * missed_ps
        latency = access.hit_share * cpu.last_level_latency + (1.0 - access.hit_share) * (
            cpu.memory_latency + path.load_latency_ps
        )
        return lines * latency / self._outstanding(access, operator)

    def _outstanding(self, access: Access, operator: CpuOperator) -> float:
        """Lines that a core has asked for at a time: what the code keeps of the miss buffers busy,
        or all lines of the rows that it prefetches."""
        most = self.part.miss_buffers
        ahead = 0 if access.write else operator.prefetch_rows * lines_of(access.size)
        return max(most * operator.overlap, min(most, ahead))

    def _page_faults_ps(self, work: CpuPass) -> float:
        """First touch of every fresh page, all of it in one thread."""
        if not work.operator.fresh_output:
            return 0.0
        cpu = self.part
        fresh = sum(access.bytes for access in work.accesses if access.write)
        return fresh / cpu.page * cpu.page_fault


def _slowest_ps(work: CpuPass, threads: int, thread_ps: float, gradients_ps: float) -> float:
    """Time of the thread that ends last, of a pass whose lookups wait `gradients_ps` together for
    what is summed: the lookups of one row are one thread's."""
    operator, lookups = work.operator, most(1, work.count)
    lookup_ps = operator.row_time + work.lines * operator.line_time + gradients_ps / lookups
    own_ps = [count * lookup_ps for count in work.ranges]
    even_ps = most(0.0, thread_ps - sum(own_ps)) / len(own_ps)
    return slowest_ps(threads, even_ps, *own_ps)
