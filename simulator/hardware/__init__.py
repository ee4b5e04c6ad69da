"""Machines: named parts, what work on them costs, and the words that programs are made of.

What a system or a part of another package needs is here: the words of a program, the machine that
a system asks (`Topology`), what a part is (`Part`, its fields' types), what it does on a machine
(`Device`, `Processor`, `Link`), and what it answers (`Demand`, `Service`).
"""

from simulator.config.machine import Part
from simulator.config.operators import OperatorProfile
from simulator.config.types import (
    Bytes,
    BytesPerSecond,
    FlopPerSecond,
    Frozen,
    Hertz,
    MisfitError,
    Picojoules,
    Picoseconds,
    Watts,
)
from simulator.hardware.access import Access
from simulator.hardware.demand import Demand, Resource, ResourceUse, Service
from simulator.hardware.devices.base import (
    Carried,
    Device,
    Link,
    Processor,
    Reach,
    Setup,
)
from simulator.hardware.devices.dram import Dram
from simulator.hardware.memory import Memory, StreamTiming
from simulator.hardware.program import (
    GRADIENT_BYTES,
    POSITION_BYTES,
    RADIX_BITS,
    Accumulate,
    Add,
    Algorithm,
    Buffer,
    Dense,
    Exchange,
    Expand,
    Gather,
    Interaction,
    Move,
    Operation,
    Pattern,
    Plan,
    Pool,
    Scatter,
    Sort,
    Split,
    Stage,
    Store,
    Update,
    Wait,
    key_bits,
)
from simulator.hardware.topology import Topology, build_topology

__all__ = [
    "GRADIENT_BYTES",
    "POSITION_BYTES",
    "RADIX_BITS",
    "Access",
    "Accumulate",
    "Add",
    "Algorithm",
    "Buffer",
    "Bytes",
    "BytesPerSecond",
    "Carried",
    "Demand",
    "Dense",
    "Device",
    "Dram",
    "Exchange",
    "Expand",
    "FlopPerSecond",
    "Frozen",
    "Gather",
    "Hertz",
    "Interaction",
    "Link",
    "Memory",
    "MisfitError",
    "Move",
    "Operation",
    "OperatorProfile",
    "Part",
    "Pattern",
    "Picojoules",
    "Picoseconds",
    "Plan",
    "Pool",
    "Processor",
    "Reach",
    "Resource",
    "ResourceUse",
    "Scatter",
    "Service",
    "Setup",
    "Sort",
    "Split",
    "Stage",
    "Store",
    "StreamTiming",
    "Topology",
    "Update",
    "Wait",
    "Watts",
    "build_topology",
    "key_bits",
]
