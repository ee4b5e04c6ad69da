"""How the helpers of a kernel are compiled: into their caller, without reference counts.

A kernel issues tens of millions of commands a second, so a call and an atomic counter at each
helper would be most of its time. Reference counting is safe to leave out because no helper makes
or keeps an array. numba keeps a cached kernel until the file of its entry function changes: after
editing a helper's file, remove `simulator/memory/__pycache__/*.nb*`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["inlined"]

F = TypeVar("F", bound=Callable[..., Any])


def inlined(function: F) -> F:
    """Compile `function` into each of its callers."""
    return cast(
        F,
        numba.njit(nogil=True, forceinline=True, error_model="numpy", _nrt=False)(function),
    )
