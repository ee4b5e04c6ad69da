"""Which machine of the catalogue a measured one is a variant of: the one with its GPU.

A GPU is recognised by what its driver calls it (`reported_as` of the part). So a fit never gets
the memory and the peaks of another card without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.calibration.facts import Described
from simulator.config.machine import MachineConfig
from simulator.errors import UsageError
from simulator.hardware.catalogue import load_machine, machine_names
from simulator.hardware.devices.gpu import Gpu

__all__ = ["AUTO", "Base", "base_for", "require_same"]

AUTO = "auto"
"""Stands for the machine that the description of the measured one leads to."""


@dataclass(frozen=True)
class Base:
    """The machine that gives what was not measured."""

    reference: str
    """Name of the catalogue, or path of a file."""
    machine: MachineConfig
    remark: str = ""
    """What its choice leaves open, for the reader of the fit; often nothing."""


def base_for(described: Described | None, given: str = AUTO) -> Base:
    """The base for a machine that says of itself what is `described` (None: nothing).

    `given`: a name, a path, or `AUTO`. Raises `UsageError` where that is a machine with another
    GPU than the measured one and the catalogue has the right one, or where nothing is given and
    nothing leads to one machine.
    """
    if given != AUTO:
        return _checked(given, load_machine(given), described)
    if described is None:
        raise UsageError(
            "no machine.json beside the measurements says what was measured: name the machine that "
            f"gives the rest with --base ({_listed(machine_names())})"
        )
    if described.gpu is None:
        raise UsageError(
            f"{described.origin} names no GPU: say with --base which machine gives GPU and link "
            f"({_listed(machine_names())})"
        )
    return _recognised(described, described.gpu)


def require_same(base: Base, described: Described | None) -> None:
    """Raise `UsageError` unless what was measured says that it has the GPU of `base`, whose own
    parts are to be written anew."""
    said = "nothing" if described is None else described.gpu or "no GPU"
    if described is None or described.gpu is None or not _has(base.machine, described.gpu):
        raise UsageError(
            f"--update {base.reference} writes the parts of that machine anew, but machine.json "
            f"beside the measurements says that {said} was measured: give the machine a file of "
            "its own with --out, or add the GPU's name to `reported_as` of its part"
        )


def _recognised(described: Described, gpu: str) -> Base:
    """The machine with that GPU, as many of them, the number of cores that is nearest, and the
    fewest parts beside what every server has."""
    same = _with_gpu(gpu)
    if not same:
        raise UsageError(
            f"{described.origin}: no machine of the catalogue has a GPU that reports {gpu!r}: add "
            "it to `reported_as` of the GPU's part, or take data-sheet numbers of another with "
            f"--base ({_listed(machine_names())})"
        )
    fitting = [machine for machine in same if _gpus(machine) == described.gpus]
    if not fitting:
        raise UsageError(
            f"{described.origin}: no machine of the catalogue has {described.gpus} x {gpu}: take "
            f"one with another number of them, --base {_listed([one.name for one in same])}"
        )
    fitting.sort(key=lambda m: (_apart(m, described.cores), _sockets(m), m.name))
    others = [machine.name for machine in fitting[1:]]
    remark = f"chosen by its cores; {_listed(others)} has that GPU too" if others else ""
    return Base(fitting[0].name, fitting[0], remark)


def _checked(given: str, machine: MachineConfig, described: Described | None) -> Base:
    """`machine`, unless the catalogue has the GPU that was measured and this is another."""
    if described is None or described.gpu is None or _has(machine, described.gpu):
        return Base(given, machine)
    right = [one.name for one in _with_gpu(described.gpu)]
    own = ", ".join(part.name for _, part in machine.parts("gpu")) or "no GPU"
    if right:
        raise UsageError(
            f"--base {given} has {own}, but {described.origin} says that {described.gpu} was "
            f"measured: type --base {_listed(right)}"
        )
    return Base(given, machine, f"peaks and HBM are those of {own}, not of {described.gpu}")


def _with_gpu(gpu: str) -> list[MachineConfig]:
    """Machines of one kind of host with that GPU, and nothing that no micro-benchmark reaches."""
    machines = (load_machine(name) for name in machine_names())
    return [
        machine
        for machine in machines
        if _has(machine, gpu) and len(machine.hosts) == 1 and not machine.parts("accelerator")
    ]


def _has(machine: MachineConfig, gpu: str) -> bool:
    return any(gpu == part.name or gpu in part.reported_as for part in _parts(machine))


def _parts(machine: MachineConfig) -> list[Gpu]:
    return [part for _, part in machine.parts("gpu") if isinstance(part, Gpu)]


def _gpus(machine: MachineConfig) -> int:
    """GPUs of one host."""
    socket = machine.socket("gpu")
    return 0 if socket is None else socket.count


def _apart(machine: MachineConfig, cores: int | None) -> float:
    """How much more or fewer cores a machine has, as a ratio of at least 1."""
    own = sum(part.cores for _, part in machine.parts("cpu"))
    return max(own / cores, cores / own) if cores and own else 1.0


def _sockets(machine: MachineConfig) -> int:
    return sum(len(host.sockets) for host in machine.hosts)


def _listed(names: Sequence[str]) -> str:
    return " or ".join(names)
