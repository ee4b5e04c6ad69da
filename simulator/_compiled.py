"""One place that compiles kernels with numba, so that every kernel has the same settings.

Kernels are cached on disk where numba finds a writable place, release the GIL (tables are planned
on threads), and fall back to compilation in memory where no cache directory is writable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile `function` in nopython mode; same signature, same results."""
    try:
        return cast(F, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # numba: "no locator available": nowhere to keep the cache
        return cast(F, numba.njit(nogil=True)(function))
