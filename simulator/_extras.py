"""Extras of the package: what each brings, and what to type where one is missing."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

from simulator.errors import UsageError

__all__ = ["EXTRAS", "extra_module", "install", "missing", "require"]

EXTRAS: dict[str, tuple[str, ...]] = {
    "figures": ("matplotlib", "jinja2"),
    "lab": ("torch",),
    "distributed": ("distributed",),
    "optimize": ("optuna",),
}
"""Modules that only an extra brings: figures and reports; measuring; workers of Dask; a search of
spaces that are too large to try all of."""


def install(extra: str) -> str:
    """The command that adds an extra to whatever is installed."""
    return f"python -m pip install 'scratchpipe-sim[{extra}]'"


def missing(extra: str) -> list[str]:
    """The modules of `extra` that are not installed; nothing is imported."""
    return [module for module in EXTRAS[extra] if find_spec(module) is None]


def require(extra: str, what: str) -> None:
    """Raise `UsageError` with what to type where a module of `extra` is missing; `what` needs it.

    Nothing is imported: it can be asked before long work."""
    if lacking := missing(extra):
        raise UsageError(f"{what}: {' and '.join(lacking)} missing: {install(extra)}")


def extra_module(name: str, what: str) -> Any:
    """The module `name` of an extra. Raises `UsageError` with what to type where it is missing."""
    (extra,) = (extra for extra, modules in EXTRAS.items() if name in modules)
    require(extra, what)
    return importlib.import_module(name)
