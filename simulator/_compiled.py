"""One place that compiles kernels with numba, so that every kernel has the same settings.

Kernels release the GIL (tables are planned on threads) and are kept on disk
(`simulator._kernel_cache`). With `NUMBA_DISABLE_JIT=1` they are the plain functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from simulator._compilers import AddressCompiler, InnerAddressCompiler, InnerCompiler
from simulator._kernel_cache import KernelCache

__all__ = ["PLAIN", "compiled", "done_without", "inner_kernel", "inner_on_words", "is_kept"]
__all__ += ["can_be_kept", "make_ready", "on_words", "pays", "prefetch"]

F = TypeVar("F", bound=Callable[..., Any])

PLAIN = bool(cast(Any, numba.config).DISABLE_JIT)
"""Whether nothing is compiled, as `NUMBA_DISABLE_JIT=1` asks."""


def compiled(
    function: F, *, parallel: bool = False, inner: bool = False, on_words: bool = False
) -> F:
    """Compile `function` in nopython mode; same signature, same results.

    `parallel`: loops over `numba.prange` run on numba's pool of threads. `inner`: other kernels
    alone call it, so that no entry for Python is made, which takes as long to compile as a short
    function itself. `on_words`: see there. A function within a function, or without a file, is
    compiled anew in each process.
    """
    if PLAIN:  # hashes wrap around; numpy's scalars would warn of it
        return np.errstate(over="ignore")(function)
    entries: dict[str, Any] = {"no_cpython_wrapper": inner, "no_cfunc_wrapper": inner}
    name = f"parallel={parallel} inner={inner}"
    if inner:
        entries["pipeline_class"] = InnerCompiler
    if on_words:
        compiler = InnerAddressCompiler if inner else AddressCompiler
        entries |= {"_nrt": False, "pipeline_class": compiler}
        name = f"{name} on_words=True"
    dispatcher: Any = numba.njit(nogil=True, parallel=parallel, **entries)(function)
    dispatcher.get_call_template = partial(_for_any, dispatcher.get_call_template)
    code: Any = function.__code__
    if not code.co_freevars and Path(code.co_filename).is_file():
        dispatcher._cache = KernelCache(cast(Any, function), name)
    return cast(F, dispatcher)


def _for_any(resolve: Callable[..., Any], args: Sequence[Any], kws: Mapping[str, Any]) -> Any:
    """What `resolve` finds for a call from a kernel, whatever constants it is called with: numba
    would compile for each of them."""
    plain: Callable[[Any], Any] = types.unliteral
    return resolve(tuple(map(plain, args)), {name: plain(kws[name]) for name in kws})


def inner_kernel(function: F) -> F:
    """`compiled` for a function that other kernels alone call."""
    return compiled(function, inner=True)


def on_words(function: F) -> F:
    """`compiled` for a function that works on words of arrays that it is given.

    Neither it nor what it calls makes arrays: nobody counts references to those that it is given,
    which takes a sixth of the time of short functions. Its indices are addresses, none of them
    negative: nobody asks for those that count from the end, which takes a third (`_compilers`).
    """
    return compiled(function, on_words=True)


def inner_on_words(function: F) -> F:
    """`on_words` for a function that other kernels alone call."""
    return compiled(function, inner=True, on_words=True)


def make_ready() -> None:
    """Have numba read its own tables, which takes a third of a second once a process, now and not
    with the first kernel."""
    if not PLAIN:
        cpu_target.typing_context.refresh()
        cpu_target.target_context.refresh()


def is_kept(kernel: Callable[..., Any]) -> bool:
    """Whether a compiled `kernel` is in memory or on disk."""
    dispatcher: Any = kernel
    return bool(dispatcher.signatures) or dispatcher._cache.is_kept


def can_be_kept(kernel: Callable[..., Any]) -> bool:
    """Whether there is a folder for a compiled `kernel`."""
    dispatcher: Any = kernel
    return bool(dispatcher._cache.can_keep)


def pays(kernel: Callable[..., Any], compiling_s: float) -> bool:
    """Whether to use a `kernel` that plain code can stand for: it is compiled already, or runs
    without it have taken as long as compiling takes, `compiling_s` seconds."""
    dispatcher: Any = kernel
    return not PLAIN and (is_kept(kernel) or dispatcher._cache.done_without_s > compiling_s)


def done_without(kernel: Callable[..., Any], seconds: float) -> None:
    """Plain code stood for a `kernel` and took `seconds`; later runs count them (`pays`)."""
    dispatcher: Any = kernel
    if not PLAIN:
        dispatcher._cache.add_without(seconds)


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


def _no_prefetch(array: Any, index: Any) -> None:
    """What `prefetch` is where nothing is compiled: a hint less."""


prefetch = _no_prefetch if PLAIN else cast(Callable[[Any, Any], None], intrinsic(_prefetch))
"""In kernels only: start to bring `array[index]` (1-D, C order) to the second-level cache.

A hint: it waits for nothing, changes nothing, and any index is allowed.
"""
