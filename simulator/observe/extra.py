"""PyTorch, if it is there."""

from __future__ import annotations

import importlib
from typing import Any

from simulator._extras import extra_module, install
from simulator.errors import UsageError

__all__ = ["choose_device", "require_torch", "require_triton"]


def require_torch() -> Any:
    """The module `torch`. Raises `UsageError` where it is not installed."""
    return extra_module("torch", "measuring needs PyTorch")


def require_triton() -> Any:
    """The module `triton`, which compiles the GPU kernels. Raises `UsageError` without it."""
    try:
        return importlib.import_module("triton")
    except ImportError as error:
        raise UsageError(
            "training on a GPU needs Triton, which PyTorch's CUDA packages for Linux bring along: "
            f"{install('lab')}, or ask for --device cpu"
        ) from error


def choose_device(asked: str | None) -> str:
    """`cpu` or `cuda`: what was asked for, else the GPU where there is one."""
    torch = require_torch()
    there = bool(torch.cuda.is_available())
    if asked is None:
        return "cuda" if there else "cpu"
    if asked not in ("cpu", "cuda"):
        raise UsageError(f"no device {asked!r}: cpu or cuda")
    if asked == "cuda" and not there:
        raise UsageError("PyTorch sees no CUDA device here: leave --device out, or give cpu")
    return asked
