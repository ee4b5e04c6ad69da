"""One file a kind of part: its constants, its resources, and what work on it costs.

A kind from outside: a subclass of `simulator.config.machine.Part`, named in the entry-point group
`scratchpipe.parts` under its kind.
"""

from __future__ import annotations

from functools import cache

from simulator._plugins import load_plugin, plugins
from simulator.config.machine import PART_CONTRACT, Part
from simulator.hardware.devices.accelerator import Accelerator
from simulator.hardware.devices.computational_ssd import ComputationalSsd
from simulator.hardware.devices.cpu import Cpu
from simulator.hardware.devices.cxl import Cxl, CxlMemory
from simulator.hardware.devices.dram import Dram
from simulator.hardware.devices.flash import FlashArray
from simulator.hardware.devices.gpu import Gpu
from simulator.hardware.devices.mesh import Mesh
from simulator.hardware.devices.near_memory import NearMemory
from simulator.hardware.devices.near_pmem import NearPmem
from simulator.hardware.devices.network import Network
from simulator.hardware.devices.nic import Nic
from simulator.hardware.devices.nvme import NvmeDrive
from simulator.hardware.devices.pcie import Pcie
from simulator.hardware.devices.pmem import Pmem
from simulator.hardware.devices.ports import NvLink
from simulator.hardware.devices.switch import Switch

__all__ = ["part_kinds"]

ENTRY_POINTS = "scratchpipe.parts"

_KINDS: dict[str, type[Part]] = {
    "accelerator": Accelerator,
    "computational_ssd": ComputationalSsd,
    "cpu": Cpu,
    "cxl": Cxl,
    "cxl_memory": CxlMemory,
    "dram": Dram,
    "flash_array": FlashArray,
    "gpu": Gpu,
    "mesh": Mesh,
    "near_memory": NearMemory,
    "near_pmem": NearPmem,
    "network": Network,
    "nic": Nic,
    "nvlink": NvLink,
    "nvme_drive": NvmeDrive,
    "pcie": Pcie,
    "pmem": Pmem,
    "switch": Switch,
}


@cache
def part_kinds() -> dict[str, type[Part]]:
    """The model of every kind of part, those of other packages included."""
    outside = {
        name: load_plugin(entry, PART_CONTRACT) for name, entry in plugins(ENTRY_POINTS).items()
    }
    return {**outside, **_KINDS}
