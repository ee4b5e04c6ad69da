"""What a row copy needs of the processor and Python does not offer: for compiled kernels only.

Streaming (non-temporal) stores write whole cache lines past the caches; a prefetch asks for a line
ahead of its use; an atomic counter deals out chunks of work; a fence makes streaming stores
visible. All are LLVM instructions, so any processor that numba compiles for has them, or something
weaker with the same result.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_cgutils: Any = cgutils
"""Without annotations of its own."""


def _for_kernels(generator: Any) -> Any:
    """An intrinsic: kernels call it without its first argument."""
    return intrinsic(generator)


__all__ = ["LINE_BYTES", "fence", "prefetch_line", "stream_line", "take_chunk"]

LINE_BYTES = 64
_LOCALITY = 3
"""Of `llvm.prefetch`: keep in all levels of cache."""


@_for_kernels
def stream_line(_context: Any, _to: Any, _source: Any) -> Any:
    """Copy 64 bytes from address `source` to the 64-byte aligned address `to`, past the caches."""

    def generate(_c: Any, builder: Any, _signature: Any, args: Any) -> Any:
        line = ir.VectorType(ir.FloatType(), 16)
        pointer = ir.PointerType(line)
        value = builder.load(builder.inttoptr(args[1], pointer), align=4)
        store = builder.store(value, builder.inttoptr(args[0], pointer), align=LINE_BYTES)
        flag = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        store.set_metadata("nontemporal", flag)
        return _cgutils.get_null_value(ir.IntType(8).as_pointer())

    return types.void(types.intp, types.intp), generate


@_for_kernels
def prefetch_line(_context: Any, _address: Any) -> Any:
    """Ask for the cache line at `address`."""

    def generate(_c: Any, builder: Any, _signature: Any, args: Any) -> Any:
        byte, word = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = _cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        read_data = [word(0), word(_LOCALITY), word(1)]
        builder.call(function, [builder.inttoptr(args[0], byte), *read_data])
        return _cgutils.get_null_value(byte)

    return types.void(types.intp), generate


@_for_kernels
def take_chunk(_context: Any, _counter: Any, _chunk: Any) -> Any:
    """Add `chunk` to the int64 at address `counter`, atomically; its value before."""

    def generate(_c: Any, builder: Any, _signature: Any, args: Any) -> Any:
        where = builder.inttoptr(args[0], ir.PointerType(ir.IntType(64)))
        return builder.atomic_rmw("add", where, args[1], "monotonic")

    return types.int64(types.intp, types.int64), generate


@_for_kernels
def fence(_context: Any) -> Any:
    """Everything stored before is visible to what comes after."""

    def generate(_c: Any, builder: Any, _signature: Any, _args: Any) -> Any:
        builder.fence("seq_cst")
        return _cgutils.get_null_value(ir.IntType(8).as_pointer())

    return types.void(), generate
