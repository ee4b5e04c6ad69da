# mypy: allow-untyped-calls
"""numba's compiler for functions of some kinds.

Indexing by addresses, which are never negative: Python counts a negative index from the end, and
numba asks of every signed index whether it is one, a compare, a choice and the length of the array
for each word that is read or written. Kernels that walk from record to record do little else. Here
their indices are taken as unsigned, which numba does not ask about.

Functions that other kernels alone call: they become part of those, and are optimised there. numba
optimises them by themselves before, which takes a third of the time of compiling, for nothing.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numba.core import ir
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.ir_utils import mk_unique_var
from numba.core.untyped_passes import ReconstructSSA

__all__ = ["AddressCompiler", "InnerAddressCompiler", "InnerCompiler"]


@register_pass(mutates_CFG=False, analysis_only=False)
class _UnsignedIndices(FunctionPass):
    """`array[index]` becomes `array[np.uintp(index)]`, read or written."""

    _name = "unsigned_indices"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        for block in state.func_ir.blocks.values():
            block.body = [each for old in block.body for each in _with_unsigned(old, state.func_ir)]
        return True


def _with_unsigned(statement: Any, function: Any) -> list[Any]:
    """A statement whose index is unsigned, behind those that make it so."""
    value: Any = statement.value if isinstance(statement, ir.Assign) else statement
    reads = isinstance(value, ir.Expr) and value.op == "getitem"
    if not (reads or isinstance(value, ir.SetItem)):
        return [statement]
    index, loc = value.index, value.loc
    before: list[Any] = []
    cast = _named("$uintp", index.scope, ir.Global("uintp", np.uintp, loc), function, before)
    call = ir.Expr.call(cast, (index,), (), loc)
    value.index = _named("$address", index.scope, call, function, before)
    return [*before, statement]


def _named(stem: str, scope: Any, value: Any, function: Any, before: list[Any]) -> Any:
    """A new variable for `value`, assigned at the end of `before`."""
    variable = ir.Var(scope, mk_unique_var(stem), value.loc)
    function._definitions[variable.name].append(value)
    before.append(ir.Assign(value, variable, value.loc))
    return variable


@register_pass(mutates_CFG=False, analysis_only=True)
class _LeaveToCallers(FunctionPass):
    """What the function becomes is not optimised by itself."""

    _name = "leave_to_callers"

    def __init__(self) -> None:
        FunctionPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        code = state["library"]
        if code is None:
            code = state.targetctx.codegen().create_library(state.func_id.func_qualname)
            code.enable_object_caching()
            state["library"] = code
        code._optimize_final_module = lambda: None
        return False


class _Compiler(CompilerBase):
    """`added`: passes, each behind another of numba's."""

    added: ClassVar[tuple[tuple[type[FunctionPass], type[Any]], ...]]

    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        for own, behind in self.added:
            passes.add_pass_after(own, behind)
        passes.finalize()
        return [passes]


class AddressCompiler(_Compiler):
    """For functions that index one-dimensional arrays by addresses alone."""

    added = ((_UnsignedIndices, ReconstructSSA),)


class InnerCompiler(_Compiler):
    """For functions that other kernels alone call."""

    added = ((_LeaveToCallers, ReconstructSSA),)


class InnerAddressCompiler(_Compiler):
    """For those that are both."""

    added = (*AddressCompiler.added, *InnerCompiler.added)
