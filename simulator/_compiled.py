"""One place that compiles kernels with numba, so that every kernel has the same settings.

Kernels are cached on disk where numba finds a writable place, release the GIL (tables are planned
on threads), and fall back to compilation in memory where no cache directory is writable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

__all__ = ["compiled", "prefetch"]

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile `function` in nopython mode; same signature, same results."""
    try:
        return cast(F, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # numba: "no locator available": nowhere to keep the cache
        return cast(F, numba.njit(nogil=True)(function))


def _prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        hint = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        module: Any = builder.module
        function = cgutils.get_or_insert_function(module, hint, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        address = builder.bitcast(builder.gep(data, [args[1]]), byte)
        builder.call(function, [address, number(0), number(2), number(1)])  # read, level 2, data
        return context.get_dummy_value()

    return types.void(array, index), generate


prefetch = cast(Callable[[Any, Any], None], intrinsic(_prefetch))
"""In kernels only: start to bring `array[index]` (1-D, C order) to the second-level cache.

A hint: it waits for nothing, changes nothing, and any index is allowed.
"""
