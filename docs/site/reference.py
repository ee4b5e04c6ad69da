"""Pages of all keys of a configuration and of the layouts of trace files, from the code."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from simulator.config.catalogue import adapter
from simulator.config.experiment import Experiment
from simulator.config.machine_file import MachineFile
from simulator.hardware.devices import part_kinds

Schema = Mapping[str, Any]
_SECTION = re.compile(r"#/\$defs/(\w+)")

READERS = {
    "npy": "numpy_files",
    "npz": "npz_files",
    "parquet": "parquet_files",
    "csv, tsv, words, criteo": "text_files",
    "meta": "tensor_files",
    "oracle": "oracle_files",
}
"""Formats of trace files and the modules that read them."""


def pages() -> Iterator[tuple[str, str]]:
    """Name and text of each page."""
    yield "reference/experiment", _experiment()
    yield "reference/platform", _platform()
    yield "reference/model", _page("Keys of a model", adapter("models").json_schema())
    yield "reference/operators", _page("Keys of operators", adapter("operators").json_schema())
    yield "reference/trace", _traces()


def _experiment() -> str:
    schema = Experiment.model_json_schema()
    about = "An experiment file has these keys ([a tutorial](../tutorial.md)); sections below them."
    return f"# Keys of an experiment\n\n{about}\n\n{_table(schema)}{_sections(schema)}"


def _platform() -> str:
    schema = MachineFile.model_json_schema()
    text = "# Keys of a platform and of its parts\n\nA platform is made of parts in sockets"
    text += " ([extending](../extending.md)).\n\n" + _table(schema)
    for kind, model in part_kinds().items():
        part = model.model_json_schema()
        text += f"\n## Part `{kind}`\n\n{_prose(part)}\n\n{_table(part)}"
        text += _sections(part, "###")
    return text


def _page(title: str, schema: Schema) -> str:
    return f"# {title}\n\n{_prose(schema)}\n\n{_table(schema)}{_sections(schema)}"


def _traces() -> str:
    text = "# Keys and layouts of traces\n\nFiles by example: [trace files](../traces.md).\n"
    schema = adapter("traces").json_schema()
    for model in schema["$defs"].values():
        kind = model["properties"].get("kind", {}).get("const")
        if kind:
            text += f"\n## Kind `{kind}`\n\n{_prose(model)}\n\n{_table(model)}"
    for formats, module in READERS.items():
        about = importlib.import_module(f"simulator.traces.{module}").__doc__ or ""
        text += f"\n## Format {formats}\n\n{about.strip()}\n"
    return text


def _sections(schema: Schema, level: str = "##") -> str:
    """A table for each inner mapping."""
    called = _keys_of_sections(schema)
    return "".join(
        f"\n{level} {called.get(name, name)}\n\n{_prose(inner)}\n\n{_table(inner)}"
        for name, inner in schema.get("$defs", {}).items()
        if inner.get("properties")
    )


def _keys_of_sections(schema: Schema) -> dict[str, str]:
    """For each inner mapping the first key that holds it."""
    called: dict[str, str] = {}
    for model in (schema, *schema.get("$defs", {}).values()):
        for key, about in model.get("properties", {}).items():
            for name in _SECTION.findall(json.dumps(about)):
                called.setdefault(name, f"`{key}`: {name}")
    return called


def _prose(schema: Schema) -> str:
    return str(schema.get("description", "")).strip()


def _table(schema: Schema) -> str:
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    needed = schema.get("required", ())
    for name, key in schema.get("properties", {}).items():
        default = "needed" if name in needed else _short(key.get("default"))
        meaning = " ".join(_prose(key).split()).replace("|", "\\|")
        rows.append(f"| `{name}` | {_type(key)} | {default} | {meaning} |")
    return "\n".join(rows) + "\n"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False).replace("|", "\\|")
    return f"`{text}`" if len(text) <= 40 else "those of its keys"


_TYPES = {"integer": "whole number", "string": "text", "object": "mapping", "array": "list"}
_BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}


def _type(key: Schema) -> str:
    """What a value may be, in words."""
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in key:
            return " or ".join(dict.fromkeys(map(_type, key[choice])))
    if "$ref" in key:
        return str(key["$ref"]).rpartition("/")[2]
    if "enum" in key:
        return ", ".join(f"`{word}`" for word in key["enum"])
    if "const" in key:
        return f"`{key['const']}`"
    bounds = " ".join(f"{sign} {key[name]:g}" for name, sign in _BOUNDS.items() if name in key)
    if key.get("examples"):
        bounds = f"such as `{key['examples'][0]}`"
    kind = key.get("type", "any")
    kinds = [kind] if isinstance(kind, str) else kind
    return f"{' or '.join(_TYPES.get(k, k) for k in kinds)} {bounds}".strip()
