"""How the helpers of a kernel are compiled, and how a kernel reaches its state.

A kernel issues tens of millions of commands a second, so a call at each helper, a reference count
at each array argument and a test for a negative index at each access would be most of its time.
`inlined` and `helper` compile helpers; `raw` hands them the state as a bare pointer, which numba
indexes without either. Helpers are kept on disk within the kernels that use them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core import types
from numba.extending import intrinsic, overload

from simulator.hardware.dram.state import Ints

__all__ = ["helper", "inlined", "raw"]

F = TypeVar("F", bound=Callable[..., Any])


def inlined(function: F) -> F:
    """Compile `function` into each of its callers."""
    return cast(F, numba.njit(nogil=True, forceinline=True, error_model="numpy")(function))


def helper(function: F) -> F:
    """Compile `function` as a helper that is called: for what is large or seldom needed."""
    return cast(F, numba.njit(nogil=True, error_model="numpy")(function))


def raw(array: Ints) -> Ints:
    """`array` itself; within compiled code a pointer to its first element.

    The array must outlive the pointer, and every index must lie within it.
    """
    return array


@intrinsic
def _address(_: Any, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        made = context.make_array(signature.args[0])(context, builder, arguments[0])
        return made.data

    pointer: Any = types.CPointer
    return pointer(array.dtype)(array), generate


@overload(raw)
def _raw(array):  # type: ignore[no-untyped-def]  # numba compares the bare signatures
    return lambda array: _address(array)  # type: ignore[call-arg]
