"""The machine that measured: what a reader needs to judge the numbers, nothing that names it."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from simulator._threads import cores
from simulator.observe.extra import require_torch

__all__ = ["describe_machine"]

_PACKAGES = ("scratchpipe-sim", "torch", "triton", "numba", "numpy")


def describe_machine(device: str) -> dict[str, Any]:
    """Processor, memory, GPU, driver and versions; no host name, user or path."""
    described: dict[str, Any] = {
        "cpu": _cpu_model(),
        "cores": cores(),
        "last_level_cache_bytes": _last_level_cache_bytes(),
        "memory_bytes": _memory_bytes(),
        "kernel": platform.system(),
        "python": platform.python_version(),
        "versions": _versions(),
    }
    if device == "cuda":
        torch = require_torch()
        gpu = torch.cuda.get_device_properties(0)
        described |= {
            "gpu": gpu.name,
            "gpus": torch.cuda.device_count(),
            "gpu_memory_bytes": gpu.total_memory,
            "gpu_l2_cache_bytes": gpu.L2_cache_size,
            "gpu_multiprocessors": gpu.multi_processor_count,
            "cuda": torch.version.cuda,
            "driver": _driver(),
        }
    return described


def _cpu_model() -> str:
    """The model's name, with family and model numbers (a virtual machine may hide the name)."""
    facts: dict[str, str] = {}
    file = Path("/proc/cpuinfo")
    if file.is_file():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            key, colon, value = line.partition(":")
            if colon:
                facts.setdefault(key.strip(), value.strip())
    name = facts.get("model name", platform.processor() or platform.machine())
    if "cpu family" in facts:
        name += f" (family {facts['cpu family']}, model {facts.get('model', '?')})"
    return name


def _memory_bytes() -> int | None:
    pages, size = _sysconf("SC_PHYS_PAGES"), _sysconf("SC_PAGE_SIZE")
    return pages * size if pages and size else None


def _last_level_cache_bytes() -> int | None:
    return _sysconf("SC_LEVEL3_CACHE_SIZE") or _sysconf("SC_LEVEL2_CACHE_SIZE")


def _sysconf(name: str) -> int | None:
    names = os.sysconf_names if hasattr(os, "sysconf_names") else {}
    value = os.sysconf(name) if name in names else 0
    return value if value > 0 else None


def _driver() -> str | None:
    """Of the kernel module, e.g. `580.95.05`; None where it does not say."""
    file = Path("/proc/driver/nvidia/version")
    if not file.is_file():
        return None
    words = file.read_text(encoding="utf-8", errors="replace").split()
    return next((w for w in words if w[0].isdigit() and w.count(".") >= 1), None)


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
