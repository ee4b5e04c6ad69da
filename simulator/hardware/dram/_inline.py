"""How the helpers of a kernel are compiled.

A kernel issues tens of millions of commands a second, so a call at each helper would be most of
its time. Helpers are kept on disk within the kernels that use them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

from simulator._compilers import InnerCompiler

__all__ = ["helper", "inlined"]

F = TypeVar("F", bound=Callable[..., Any])


_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "pipeline_class": InnerCompiler,
}


def inlined(function: F) -> F:
    """Compile `function` into each of its callers."""
    return cast(F, numba.njit(forceinline=True, **_OPTIONS)(function))


def helper(function: F) -> F:
    """Compile `function` as a helper that is called: for what is large or seldom needed."""
    return cast(F, numba.njit(**_OPTIONS)(function))
