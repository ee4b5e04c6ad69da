"""Seeded damage: to bytes, to the fields of a text, to the values of plain data, to YAML text."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

import pyarrow as pa

__all__ = [
    "ABSURD",
    "mutated_bytes",
    "mutated_data",
    "mutated_fields",
    "mutated_table",
    "mutated_yaml",
    "value",
]

_BYTES = (0, 1, 0x0A, 0x20, 0x22, 0x2C, 0x7F, 0x80, 0xFE, 0xFF)

ABSURD = (
    *("", " ", "-", "--", "0", "-1", "-0.0", "1e400", "-1e308", "1e-320", "nan", "inf", "-inf"),
    *("9" * 19, "9" * 400, "1e9", "1_000", "0x10", "1,2", "1,,2", "１２", "µ", "名前", "💥"),
    *("a b", "a/b", "../x", "/", ".", "/dev/null", "x" * 300, "a\nb", "\x1b[31m", "%s", "{0}"),
    *("[bold]x[/]", "$HOME", "true", "null", "~", "18446744073709551616", "9223372036854775807"),
)
"""Texts for an option or a field, whatever it is."""

_SCALARS = (
    *("", "~", "5", "-5", "0", "-0.0", "1.5", "1e400", "1e-320", ".nan", "-.inf", "true", "no"),
    *("0o17", "0x1F", "1:30", "2001-12-14", "2001-99-99", "2001-12-14t21:59:43.10-05:00", "''"),
    *("[]", "{}", "[[[]]]", "[{}]", "[1, 2]", "{1: 2}", "{null: 2}", "{[1]: 2}", "&a [*a]", "*a"),
    *("&a {<<: *a}", "{<<: 1}", "{<<: {base: default}}", "!x 5", "!!binary aGk=", "!!int x"),
    *("!!set {a}", "${HOME}", '"\\0"', '"\\uD800"', "../", "/", "no.yaml", "/dev/null"),
    *("9" * 19, "9" * 400, "1" * 5000, "x" * 5000, "[" * 300, "{a: " * 120, "|\n  a", "@", "\t1"),
    *("10 GB", "-1 GB", "1e30 GB", "5 ns", "1 parsec", "16 GB/s", "0 GHz", "1e9", "1e12", "1e18"),
    *("1000000", "2147483648", "9223372036854775808", "0.1", "0.999999", "µ", "名前", "[a, b]"),
    *("default", "medium", "lru", "hybrid", "auto", "off", "{name: x}", "{kind: dram}", "[~]"),
)

_PLAIN: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 3, 1.5, -0.0, 1e308, 1e-320, 10**18, 2**63, 10**30, "", "x"),
    *("5", "µ", "x" * 3000, [], {}, [[]], [None], {"a": 1}, {"": 0}, [1, 2, 3], "2001-12-14"),
    *(float("nan"), float("inf"), "10 GB", "-3 ns", "1e3", "\0", "a\nb", "../..", "lru"),
)


def value(random: Random) -> str:
    """A YAML value of any kind."""
    return random.choice(_SCALARS)


def mutated_bytes(data: bytes, random: Random) -> bytes:
    """One to three of: a cut, bytes changed, a piece repeated, taken out or put elsewhere."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        data = _damaged(data, random)
    return data


def _damaged(data: bytes, random: Random) -> bytes:
    start = random.randint(0, len(data))
    stop = min(len(data), start + random.choice((1, 2, 4, 8, 64, 1000)))
    piece = data[start:stop]
    kind = random.randrange(6)
    if kind == 0:
        return data[:start]
    if kind == 1:
        return data[:start] + piece * random.choice((2, 2, 3, 200)) + data[stop:]
    if kind == 2:
        return data[:start] + data[stop:]
    if kind == 3:
        place = random.randint(0, len(data))
        return data[:place] + piece + data[place + len(piece) :]
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5)) if data else 0):
        chosen = random.choice((*_BYTES, random.randrange(256)))
        changed[random.randrange(len(data))] = chosen
    return bytes(changed)


def mutated_fields(text: str, random: Random, delimiter: str = ",") -> str:
    """A text of fields: some fields, lines or delimiters are others, or missing, or repeated."""
    lines = text.split("\n")
    for _ in range(random.choice((1, 1, 2, 4))):
        number = random.randrange(len(lines))
        fields = lines[number].split(delimiter)
        column = random.randrange(len(fields))
        kind = random.randrange(9)
        if kind < 4:
            fields[column] = random.choice((*ABSURD, str(random.randrange(1 << 40)), '"', "'1'"))
        elif kind == 4:
            del fields[column]
        elif kind == 5:
            fields.insert(column, random.choice(ABSURD))
        elif kind == 6:
            lines.insert(number, lines[random.randrange(len(lines))])
        elif kind == 7:
            del lines[number]
            lines = lines or [""]
            continue
        lines[number] = random.choice((delimiter, delimiter, delimiter, ";", " ")).join(fields)
    ends = random.choice(("\n", "\n", "\n", "\r\n", "\r"))
    return random.choice(("", "", "", "\ufeff", "# x\n", "\n\n")) + ends.join(lines)


def mutated_data(data: Any, random: Random) -> Any:
    """Plain data (JSON): a value or key of it is another, missing, renamed or repeated."""
    copied = json.loads(json.dumps(data))
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        copied = _changed(copied, random)
    return copied


def _changed(data: Any, random: Random) -> Any:
    places = [([], data)]
    for path, item in places:
        inner = item.items() if isinstance(item, dict) else ()
        inner = enumerate(item) if isinstance(item, list) else inner
        places += [([*path, key], below) for key, below in inner]
    path, _ = random.choice(places)
    if not path:
        return random.choice(_PLAIN) if random.random() < 0.1 else data
    parent = data
    for key in path[:-1]:
        parent = parent[key]
    key, kind = path[-1], random.randrange(6)
    if kind == 0:
        del parent[key]
    elif kind == 1 and isinstance(parent, dict):
        parent[random.choice((f"{key}x", "", "µ", "x-y", "0", key.upper()))] = parent.pop(key)
    elif kind == 1:
        parent.insert(key, parent[key])
    elif kind == 2:
        parent[key] = random.choice(([parent[key]], {"x": parent[key]}, str(parent[key])))
    elif kind == 3:
        parent[key] = json.loads(json.dumps(random.choice(places)[1]))
    else:
        parent[key] = random.choice(_PLAIN)
    return data


def mutated_table(table: pa.Table, random: Random) -> pa.Table:
    """A column or some rows of a Parquet table are others, missing, renamed or repeated."""
    kind, number = random.randrange(7), random.randrange(table.num_columns)
    name, column = table.column_names[number], table.column(number)
    if kind == 0:
        return table.drop_columns([name])
    if kind == 1:
        return table.rename_columns([f"{n}x" if n == name else n for n in table.column_names])
    if kind == 2:
        return table.append_column(random.choice(("x", name, "µ")), column)
    if kind == 3:
        return table.slice(random.randrange(table.num_rows + 1), random.randrange(3))
    if kind == 4:
        return pa.concat_tables([table, table.slice(0, 1)])
    if kind == 5:
        return table.set_column(number, name, pa.array([random.choice(ABSURD)] * table.num_rows))
    values = column.to_pylist()
    wild = (*("", "x", None, float("nan"), float("inf"), -1, 0, 2**62, -(2**62), 1e300, "hybrid"),)
    for _ in range(random.choice((1, 2, len(values)))):
        values[random.randrange(len(values))] = random.choice(wild)
    try:
        array = pa.array(values, type=column.type)
    except (pa.ArrowException, TypeError, OverflowError):
        array = pa.array([str(v) for v in values])
    return table.set_column(number, name, array)


def mutated_yaml(text: str, random: Random) -> bytes:
    """YAML text: values, lines, indents, anchors or bytes of it are others."""
    lines = text.split("\n")
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        number = random.randrange(len(lines))
        line, kind = lines[number], random.randrange(12)
        if kind < 6:
            lines[number] = _other_value(line, random)
        elif kind == 6:
            lines.insert(number, random.choice(lines))  # a key twice, or one out of place
        elif kind == 7:
            del lines[number]
            lines = lines or [""]
        elif kind == 8:
            lines[number] = random.choice((f"  {line}", line.lstrip(), f"- {line}", f"\t{line}"))
        elif kind == 9:
            indent = re.match(" *", line)[0]
            extra = random.choice(("<<: *a", "<<: {x: 1}", "x-a: &a {b: 1}", "y: 1", "? [1]", "-"))
            lines.insert(number, f"{indent}{extra}")
        elif kind == 10:
            lines[number] = re.sub(r"[\w.]+(?=:)", lambda key: f"{key[0]}x", line, count=1)
        else:
            return mutated_bytes("\n".join(lines).encode(), random)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def _other_value(line: str, random: Random) -> str:
    """`line` with one of its values another, within braces and brackets too."""
    places = [m.span(1) for m in re.finditer(r"(?:[:,\[-] )\s*([^,\]}{\[]+)", line)]
    places += [m.span(1) for m in re.finditer(r": (.+)$", line)]
    if not places:
        return f"{line} {value(random)}"
    start, stop = random.choice(places)
    number = re.match(r"(\d+)(.*)", line[start:stop])
    if number and random.random() < 0.4:  # another number with the unit that is there
        factor = random.choice(("0", "-1", "1", "7", "1e6", "999999999999", "0.001", "1.5", "nan"))
        return line[:start] + factor + number[2] + line[stop:]
    return line[:start] + value(random) + line[stop:]
