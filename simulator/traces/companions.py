"""Which arrays or columns of a file are tables, and which accompany them: told by their names.

`<name>_offsets` or `<name>_lengths` are the bags of the ids in `<name>` or `<name>_values`
(TorchRec's way: table `<name>`); bare `offsets` or `lengths` those of `values`, `indices` or `ids`.
Weights, labels, times and the index of a data frame are no tables, though they may be integers.
What a caller asks for by name is read whatever its name says, as long as it holds integers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulator.errors import TraceError
from simulator.text import few

__all__ = ["Table", "assign", "role_of"]

_COMPANIONS = ("offsets", "lengths", "weights")
_WHOLE = ("values", "indices", "ids")
"""Arrays that a bare `offsets` or `lengths` belongs to."""
_ROLES = {
    "the index of a data frame": r"|index|__index_level_\d+__|unnamed: \d+",
    "a label": r"(.*[_ ])?labels?|click|clicked|target",
    "a time": r"(.*[_ ])?(timestamps?|ts)|time|datetime",
    "weights": r"weights?",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A table `name`: its ids are in `values`, its bags in `offsets` or else in `lengths`."""

    name: str
    values: str
    offsets: str | None = None
    lengths: str | None = None


def role_of(name: str) -> str:
    """What a column of this name is if not a table ("a label"); empty where it may be one."""
    for role, pattern in _ROLES.items():
        if re.fullmatch(pattern, name.strip(), re.IGNORECASE):
            return role
    return ""


def assign(
    path: Path,
    unfit: Mapping[str, str],
    columns: Sequence[str] = (),
    marked: Sequence[str] = (),
    *,
    rows: bool = False,
) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    """(the tables, notes on what is left out) of a file.

    `unfit`: every name in the file, with what its values are where they can be no ids ("float64
    values"), else empty. `columns`: names that were asked for; all tables if empty. `marked`: names
    that the file itself calls an index. `rows`: every name has a value a row, so that none holds
    the bags of another. Raises `TraceError` where a name is not there, or no table is.
    """
    if columns:
        return tuple(_asked(path, name, unfit, rows) for name in columns), ()
    tables, used, left = [], set[str](), {}
    for name, kind in unfit.items():
        why = kind or _accompanied(name, unfit) or role_of(name)
        if name in marked:
            why = "the index of a data frame"
        if why:
            left[name] = why
            continue
        table = _table(name, unfit, rows)
        tables.append(table)
        used |= {n for n in (table.offsets, table.lengths) if n is not None}
    phrases = [f"{name!r} ({why})" for name, why in left.items() if name not in used]
    if not tables:
        has = f"it has {few(phrases)}" if phrases else "it is empty"
        raise TraceError(f"{path}: no table of ids: {has}")
    note = f"left out: {few(phrases)}; a name that is asked for is read"
    return tuple(tables), (note,) if phrases else ()


def _asked(path: Path, name: str, unfit: Mapping[str, str], rows: bool) -> Table:
    for values in (name, name + "_values"):
        if values in unfit and (values == name or _table(values, unfit, rows).name == name):
            if unfit[values]:
                raise TraceError(f"{path}: {values!r}: {unfit[values]}, ids must be integers")
            table = _table(values, unfit, rows)
            return Table(name, values, table.offsets, table.lengths)
    raise TraceError(f"{path}: no array or column {name}; it has {few(unfit)}")


def _table(values: str, names: Mapping[str, str], rows: bool) -> Table:
    if rows:
        return Table(values, values)
    stem = values.removesuffix("_values")
    for base in (values, *(() if stem in names else (stem,))):
        offsets, lengths = (_companion(base, kind, names) for kind in ("offsets", "lengths"))
        if offsets or lengths:
            return Table(base, values, offsets, None if offsets else lengths)
    return Table(values, values)


def _companion(base: str, kind: str, names: Mapping[str, str]) -> str | None:
    name = f"{base}_{kind}"
    if name in names:
        return name
    return kind if base in _WHOLE and kind in names else None


def _accompanied(name: str, names: Mapping[str, str]) -> str:
    """What `name` is to another array of the file, or nothing."""
    for kind in _COMPANIONS:
        base = name.removesuffix(f"_{kind}")
        if base != name:
            owner = next((n for n in (base, base + "_values") if n in names), None)
        else:
            owner = next((n for n in _WHOLE if n in names), None) if name == kind else None
        if owner is not None:
            return f"{kind} of {owner!r}"
    return ""
