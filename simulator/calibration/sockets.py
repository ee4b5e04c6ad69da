"""The sockets of a machine that measurements are about, and keys of their parts by dotted path."""

from __future__ import annotations

from typing import Any, TypeVar

from simulator.config.machine import MachineConfig, Part
from simulator.errors import UsageError
from simulator.hardware.devices.cpu import Cpu
from simulator.hardware.devices.gpu import Gpu
from simulator.hardware.devices.pcie import Pcie

__all__ = ["CPU", "GPU", "LINK", "cpu_of", "gpu_of", "link_of", "with_key", "with_value"]

CPU, GPU, LINK = "platform.host.cpu", "platform.host.gpu", "platform.host.pcie"
"""Paths of the parts that are calibrated."""

P = TypeVar("P", bound=Part)


def cpu_of(machine: MachineConfig) -> Cpu:
    """The processor. Raises `UsageError` where the machine has none in that socket."""
    return _part(machine, CPU, Cpu)


def gpu_of(machine: MachineConfig) -> Gpu:
    """The GPU, as `cpu_of`."""
    return _part(machine, GPU, Gpu)


def link_of(machine: MachineConfig) -> Pcie:
    """The link between both, as `cpu_of`."""
    return _part(machine, LINK, Pcie)


def _part(machine: MachineConfig, path: str, model: type[P]) -> P:
    socket = machine.socket(path.rpartition(".")[2])
    if socket is None or not isinstance(socket.part, model):
        raise UsageError(
            f"{machine.name} has no {path}: a machine to calibrate has a CPU, a GPU and a link "
            "between them in the sockets cpu, gpu and pcie"
        )
    return socket.part


def with_key(machine: MachineConfig, path: str, value: float | int | str) -> MachineConfig:
    """`machine` with the value at `path` (`host.cpu.memory_path.write`, `platform.` before it or
    not) replaced.

    Numbers that are integers (picoseconds, bytes/s) stay integers.
    """
    socket, _, key = path.removeprefix("platform.").removeprefix("host.").partition(".")
    item = machine.socket(socket)
    if item is None:
        raise UsageError(f"{machine.name} has no socket {socket}")
    return machine.with_part(socket, with_value(item.part, key, value))


def with_value(model: Any, path: str, value: float | int | str) -> Any:
    """A frozen configuration with the value at the dotted `path` replaced, as `with_key`."""
    name, _, rest = path.partition(".")
    old = getattr(model, name)
    if rest:
        return model.model_copy(update={name: with_value(old, rest, value)})
    if not isinstance(value, str):
        value = round(value) if old is None or isinstance(old, int) else float(value)
    return model.model_copy(update={name: value})
