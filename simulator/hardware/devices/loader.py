"""Cores, or accelerators in storage, that make mini-batches beside training.

Source: PreSto (ISCA 2024, arXiv 2406.14571): a worker a core, each on a mini-batch of its own;
extract (read, decode), bucketize, hash (SigridHash), log.

Modelled: storage delivers bytes at its bandwidth; a core spends the time of its software on each
value; W of them finish a mini-batch every W-th of the time that one takes; tensors come to the host
at the bandwidth of that way, where it is told. An accelerator in a drive is worth a number of cores
and reads its own flash. Power is proportional to the share of busy
workers, and all of them stand ready all the time.

Approximated: a mini-batch comes out when the next one goes in, however long one worker is at it.
Ignored: what remote calls cost cores at both ends of the way to the host, what reading costs a
core, workers that wait for each other, memory bandwidth (below 15 % in PreSto).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import ClassVar, Literal

from simulator.config.loading import LoadConfig
from simulator.config.machine import Part
from simulator.config.operators import OperatorProfile
from simulator.hardware.demand import Demand, Kind, Resource, ResourceUse, Service
from simulator.hardware.devices.base import Processor, Reach, Setup
from simulator.hardware.loading import Preprocess
from simulator.hardware.program import Operation
from simulator.units import PS_PER_S

__all__ = ["Loader", "LoaderDevice", "WorkerTime"]

_VALUE_BYTES = 4
"""Of a value in raw records; of a decoded dense value."""
_ID_BYTES = 8
"""Of a decoded id, and of one in a tensor."""


@dataclass(frozen=True, slots=True)
class WorkerTime:
    """Picoseconds that one worker spends on a mini-batch, by operator."""

    decode: float
    bucketize: float
    hash: float
    log: float

    @property
    def total(self) -> float:
        return math.fsum(astuple(self))


class Loader(Part):
    """The load stage of a point as a part beside its machine."""

    links: ClassVar[bool | None] = False
    kind: Literal["loader"] = "loader"
    load: LoadConfig
    """What it reads, and with what."""

    def device(self, name: str, setup: Setup, members: tuple[str, ...]) -> LoaderDevice:
        """The workers and the way from storage to them."""
        return LoaderDevice(name, self, setup, members)


class LoaderDevice(Processor):
    """The workers of a load stage; brings no memory."""

    part: Loader
    rules: ClassVar[Mapping[type[Operation], str]] = {Preprocess: "_preprocess"}

    def prepare(self, setup: Setup) -> None:
        del setup
        load = self.part.load
        self.workers = f"{self.name}.{'cores' if load.device is None else 'devices'}"
        """Resource that does the work."""
        self.source = f"{self.name}.source"
        """Resource that the bytes come over."""
        self.host = f"{self.name}.host"
        """Resource that tensors come to the host over, where it is told."""

    @property
    def resources(self) -> tuple[Resource, ...]:
        load = self.part.load
        kind: Kind = "network" if load.device is None else "drive"
        way = load.host_bandwidth
        return (
            Resource(self.workers, self.name, "other"),
            Resource(self.source, self.name, kind, self.bandwidth),
            *(() if way is None else (Resource(self.host, self.name, "network", way),)),
        )

    @property
    def bandwidth(self) -> int:
        """Bytes per second from storage, to all workers together."""
        load = self.part.load
        if load.device is not None:
            return load.device.read_bandwidth * load.workers
        return load.source_bandwidth or 0

    def stored_bytes(self, word: Preprocess) -> int:
        """Bytes of a mini-batch in storage."""
        return math.ceil(word.stored * _VALUE_BYTES / (self.part.load.compression or 1.0))

    def tensor_bytes(self, word: Preprocess) -> int:
        """Bytes of the tensors of a mini-batch: dense values and labels, ids."""
        return (word.samples + word.dense) * _VALUE_BYTES + word.ids * _ID_BYTES

    def worker_time(self, word: Preprocess) -> WorkerTime:
        """What one worker spends on a mini-batch."""
        load = self.part.load
        profile, borders = load.profile, load.borders or 1
        decode = 0.0
        if load.format == "parquet":
            many = word.columns >= profile.many_columns
            rate = profile.decode_many if many else profile.decode_few
            size = (word.samples + word.dense) * _VALUE_BYTES + word.stored_ids * _ID_BYTES
            decode = size * PS_PER_S / rate
        bucketize = 1.0 * profile.bucketize_time + profile.bucketize_border_time * borders
        bucketize += profile.bucketize_step_time * math.log2(borders)
        worth = 1.0 if load.device is None else load.device.cores_worth
        return WorkerTime(
            decode / worth,
            word.bucketized * bucketize / worth,
            word.ids * profile.hash_time / worth,
            word.dense * profile.log_time / worth,
        )

    def energy(self, use: Mapping[str, ResourceUse], elapsed_ps: int) -> dict[str, float]:
        load = self.part.load
        one = load.profile if load.device is None else load.device
        busy_ps = use[self.workers].busy_ps if self.workers in use else 0.0
        share = min(1.0, busy_ps / elapsed_ps)
        watts = load.workers * (one.idle_power + (one.active_power - one.idle_power) * share)
        return {self.workers: watts * elapsed_ps / PS_PER_S}

    def _preprocess(self, word: Preprocess, software: OperatorProfile, reach: Reach) -> Demand:
        del software, reach
        size = self.stored_bytes(word)
        done = Service(self.worker_time(word).total / self.part.load.workers)
        read = Service(size * PS_PER_S / self.bandwidth, bytes=size)
        services = {self.workers: done, self.source: read}
        way = self.part.load.host_bandwidth
        if way is not None:
            sent = self.tensor_bytes(word)
            services[self.host] = Service(sent * PS_PER_S / way, bytes=sent)
        return Demand(word.name, services)
