"""Machines for tests: parts of the catalogue with changed keys, on memories of one flat rate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from simulator.config.machine import HostConfig, MachineConfig, Part, Socket
from simulator.hardware.access import Access
from simulator.hardware.catalogue import load_part
from simulator.hardware.demand import Turnaround
from simulator.hardware.devices.base import Setup
from simulator.hardware.topology import Topology
from simulator.units import PS_PER_S

GB = 10**9
NO_TURNAROUND = Turnaround()
FLAT_RATE = 1000 * GB


@dataclass(frozen=True)
class Flat:
    """A memory that moves every stream at one rate, at 2 pJ a byte and 3 W at rest."""

    rate: int = FLAT_RATE
    turnaround: Turnaround = NO_TURNAROUND
    standing_w: float = 3.0
    sampling_error: float = 0.0

    @property
    def peak_bandwidth(self) -> int:
        return self.rate

    def stream_ps(self, access: Access) -> float:
        return access.bytes * PS_PER_S / self.rate

    def stream_pj(self, access: Access) -> float:
        return 2.0 * access.bytes


@cache
def catalogue_part(name: str) -> Any:
    """A part of the catalogue, read once."""
    return load_part(name)


def changed(name: str, **changes: Any) -> Any:
    """A part of the catalogue with other values (of fields, as they are kept inside)."""
    return catalogue_part(name).model_copy(update=changes)


def one_channel(name: str) -> Any:
    """The memory of a processor of the catalogue on one channel: rows fall evenly on it."""
    memory = catalogue_part(name).memory
    single = memory.organization.model_copy(update={"channels": 1, "pseudo_channels": 1})
    return memory.model_copy(update={"organization": single})


SocketLike = Socket | Part | str


def socket(part: Part | str, **keys: Any) -> Socket:
    """A socket; `part` may be the name of a part of the catalogue."""
    return Socket(part=catalogue_part(part) if isinstance(part, str) else part, **keys)


def host(name: str = "host", count: int = 1, **sockets: SocketLike) -> HostConfig:
    """Equal hosts with these sockets."""
    filled = {k: s if isinstance(s, Socket) else socket(s) for k, s in sockets.items()}
    return HostConfig(name=name, count=count, sockets=filled)


def config(*hosts: HostConfig, network: Socket | None = None) -> MachineConfig:
    """A machine of these hosts."""
    return MachineConfig(name="bench", operators="tuned", hosts=hosts, network=network)


def topology(
    *hosts: HostConfig,
    network: Socket | None = None,
    rates: Mapping[str, Flat] | None = None,
    threads: int | None = None,
    pools: int = 1,
) -> Topology:
    """A machine on flat memories; `rates`: of DRAM parts by name, where not 1000 GB/s."""
    timings = rates or {}
    setup = Setup(lambda part: timings.get(part.name, Flat()), threads, pools)
    return Topology(config(*hosts, network=network), setup)


CPU, GPU, PCIE = "xeon_e5_2698v4", "v100_sxm2_32gb", "pcie3_x16"


def server(gpus: int = 1, per: int | None = None, nvlink: bool = False) -> HostConfig:
    """A CPU with GPUs below PCIe links that `per` of them share (None: a link each)."""
    sockets: dict[str, SocketLike] = {
        "cpu": CPU,
        "gpu": socket(GPU, count=gpus),
        "pcie": socket(PCIE, join=("cpu", "gpu"), per=per),
    }
    if nvlink:
        sockets["nvlink"] = socket("nvlink2_v100", join=("gpu",))
    return host(**sockets)


def cluster(hosts: int = 2, gpus: int = 1, **changes: SocketLike) -> Topology:
    """Hosts with a NIC each, below the one PCIe link of their GPUs, joined by a network."""
    sockets: dict[str, SocketLike] = {
        "cpu": CPU,
        "gpu": socket(GPU, count=gpus),
        "nic": "connectx7_ndr",
        "pcie": socket(PCIE, join=("cpu", "gpu", "nic"), per=gpus),
    }
    network = socket("infiniband_ndr", join=("nic",))
    return topology(host(count=hosts, **(sockets | changes)), network=network)
