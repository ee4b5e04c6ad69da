"""Named fields over one flat array of integers, free of charge in compiled code.

A kernel issues tens of millions of commands a second on a state of some eighty fields. One array
holds them all, because a compiled function takes one array for nothing and fifty for a price. A
`View` names its words: an `int` is one word, `Annotated[Ints, n]` are `n`, another view is a group.

    class Point(View):
        x: int
        weights: Annotated[Ints, 8]

    point = Point(words, 16)  # its fields begin at words[16]

In Python a field is a property. In compiled code a view is a bare pointer, a field a load or a
store at a fixed distance from it: no reference count, and no test for a negative index.
The array must outlive its views there, and every index must lie within its field.

Measured against subscripts of the bare array with offsets by hand (two runs each of
`benchmarks/memory.py` on a Xeon): every stream within 5 %, the runs of one version as far apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, cast, get_args, get_origin, get_type_hints

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba.core import types
from numba.core.typing.templates import AttributeTemplate
from numba.extending import (
    infer_getattr,
    lower_builtin,
    lower_getattr_generic,
    lower_setattr_generic,
    models,
    register_model,
    type_callable,
)

__all__ = ["Ints", "View"]

Ints = npt.NDArray[np.int64]

_LINE = 8
"""Words of a cache line: fields of so many words or more start at a multiple of it."""


@dataclass(frozen=True)
class _Field:
    at: int
    words: int
    group: type[View] | None
    """The view that the words are, `None`: integers."""
    scalar: bool = False


class View:
    """Fields over `words`, from word `at` on; `words` may be a view, with `at` counted from its
    first field."""

    fields: ClassVar[dict[str, _Field]] = {}
    size: ClassVar[int] = 0
    """Words of all fields together, whole cache lines. Compiled code has no attributes of classes:
    it takes a size from a constant."""

    def __init__(self, words: Ints | View, at: int) -> None:
        self._words: Ints = words._words if isinstance(words, View) else words
        self._at: int = int(at) + (words._at if isinstance(words, View) else 0)

    @property
    def words(self) -> Ints:
        """All words from the first field on."""
        return self._words[self._at :]

    def fill(self, other: View) -> None:
        """Take the words of another view of this class."""
        self.words[: self.size] = other.words[: self.size]

    def as_dict(self) -> dict[str, int]:
        """The fields of one word each, by name."""
        return {name: getattr(self, name) for name, field in self.fields.items() if field.scalar}

    def __init_subclass__(cls) -> None:
        hints = get_type_hints(cls, include_extras=True)
        cls.fields, at = {}, 0
        for name in cls.__annotations__:
            field = _field(hints[name], at)
            cls.fields[name] = field
            at = field.at + field.words
            setattr(cls, name, _property(field))
        cls.size = _whole_lines(at)
        _compile(cls)


def _whole_lines(words: int) -> int:
    return -(-words // _LINE) * _LINE


def _field(hint: Any, at: int) -> _Field:
    if hint is int:
        return _Field(at, 1, None, scalar=True)
    if get_origin(hint) is Annotated:
        words = int(get_args(hint)[1])
        return _Field(_whole_lines(at) if words >= _LINE else at, words, None)
    return _Field(_whole_lines(at), hint.size, hint)


def _property(field: _Field) -> property:
    at, end, group = field.at, field.at + field.words, field.group

    def scalar(view: View) -> int:
        return int(view._words[view._at + at])

    def store(view: View, value: int) -> None:
        view._words[view._at + at] = value

    def several(view: View) -> Ints:
        return view._words[view._at + at : view._at + end]

    if field.scalar:
        return property(scalar, store)
    return property(several if group is None else lambda view: group(view, at))


# What numba makes of it.

_INT: Any = types.int64
_POINTER = cast(Any, types.CPointer)(_INT)


class _ViewType(types.Type):
    def __init__(self, view: type[View]) -> None:
        self.view = view
        cast(Any, super()).__init__(name=f"{view.__module__}.{view.__qualname__}")


class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, view: Any) -> None:
        cast(Any, super()).__init__(manager, view, ir.IntType(64).as_pointer())


cast(Any, register_model)(_ViewType)(_Model)


def _compile(view: type[View]) -> None:
    """Let compiled code make views of this class."""
    made = _ViewType(view)

    def typer(_: Any) -> Any:
        return lambda words, at: made if isinstance(words, types.Array | _ViewType) else None

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        words, at = arguments
        kind, integer = signature.args
        if isinstance(kind, types.Array):
            words = context.make_array(kind)(context, builder, words).data
        return builder.gep(words, [context.cast(builder, at, integer, types.intp)])

    cast(Any, type_callable)(view)(typer)
    cast(Any, lower_builtin)(view, types.Any, types.Integer)(lower)


class _Fields(AttributeTemplate):
    key = _ViewType

    def generic_resolve(self, value: Any, attr: Any) -> Any:  # type: ignore[override]  # NotImplemented there
        if attr == "words":
            return _POINTER
        field = value.view.fields.get(attr)
        if field is None:
            return None
        if field.group is not None:
            return _ViewType(field.group)
        return _INT if field.scalar else _POINTER


cast(Any, infer_getattr)(_Fields)


def _address(builder: Any, view: Any, at: int) -> Any:
    return builder.gep(view, [ir.Constant(ir.IntType(64), at)])


def _load(context: Any, builder: Any, kind: Any, view: Any, name: str) -> Any:
    if name == "words":
        return view
    field = kind.view.fields[name]
    address = _address(builder, view, field.at)
    return builder.load(address) if field.scalar else address


def _store(context: Any, builder: Any, signature: Any, arguments: Any, name: str) -> None:
    view, value = arguments
    kind, given = signature.args
    address = _address(builder, view, kind.view.fields[name].at)
    builder.store(context.cast(builder, value, given, _INT), address)


cast(Any, lower_getattr_generic)(_ViewType)(_load)
cast(Any, lower_setattr_generic)(_ViewType)(_store)
