"""Every number that a key or an option takes has a least and a most: the schemas are asked.

A key without bounds fails here, and so does any value that gets past them in another way than as a
configuration or as an error that names the key.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
import typer
from pydantic import TypeAdapter

from simulator.cli.app import VERBS, _loaded, main
from simulator.config.catalogue import adapter
from simulator.config.expand import expand
from simulator.config.experiment import Experiment
from simulator.config.machine_file import MachineFile
from simulator.config.point import PointConfig
from simulator.config.problems import validate
from simulator.config.reader import Marks
from simulator.engine import parse_experiment
from simulator.hardware.catalogue import load_part
from simulator.hardware.devices import part_kinds

Key = tuple[str, ...]

EXPERIMENT: dict[str, Any] = {
    "config_version": 1,
    "platform": {"base": "dgx_a100", "hosts": 2},
    "model": {"base": "default", "tables": 2, "interaction": "cat", "average_stride": 4},
    "trace": {"kind": "zipf", "alpha": 0.9},
    "systems": {"name": "hybrid", "gpus": 1},
    "cache": {"fraction": 0.5, "profile": {"prefix": 0.5}},
    "tables": {"tier": {"dram": 1.0}},
}
TRACES: dict[str, dict[str, Any]] = {
    "drift": {"alpha": 1.0, "hot_fraction": 0.1, "replaced": 0.1, "period_batches": 9},
    "session": {"alpha": 1.0, "repeat": 0.5, "length": 9.0, "concurrent": 9},
    "zipf": {"alpha": 1.0},
    "stack": {"curve": "x"},
    "curve": {"curve": "x"},
    "histogram": {"path": "x.csv"},
    "locality": {"locality": "low"},
    "power_law": {"alpha": 1.0},
    "uniform": {},
    "file": {"path": "x.csv", "transform": {"algorithm": "grace"}},
}
NUMBERS = (0, -1, 1e300, float("inf"), float("nan"), 2**63, 2**63 - 1, 10**5000, 5e-324, -0.0)
HOSTILE = (*NUMBERS, True, "", "x", "1e3", None, [], {}, [1], [[2**63]])
OF_NODES = ("host", "hosts", "network")
"""Keys of a machine file whose values the reader of parts reads, not the type of the file."""
QUANTITIES = ("0", "-1", "1e300", "1e5000", "5e-324", str(2**63), "inf", "nan", "1" * 5000, "")


@cache
def point() -> PointConfig:
    return expand(parse_experiment(EXPERIMENT))[0]


def _parts() -> dict[str, dict[str, Any]]:
    """A part of every kind, as plain data."""
    others = ("dgx1_v100", "hotline_v100")
    platforms = [
        expand(parse_experiment({**EXPERIMENT, "platform": p}))[0].platform for p in others
    ]
    machines = (point().platform, *platforms)
    sockets = [s.part for m in machines for h in m.hosts for s in h.sockets.values()]
    network = point().platform.network
    assert network is not None
    names = ("cxl_a", "cxl2_x8", "optane_100_x6", "micron_9400", "trim_ddr5")
    names += ("training_cxl_pmem", "simplessd_sample", "ndrec_ssd", "nvswitch")
    below = [load_part(name) for name in names]
    found = {part.kind: part.model_dump(mode="json") for part in (*sockets, network.part, *below)}
    return {**found, "dram": found["cpu"]["memory"]}


@cache
def sections() -> dict[str, tuple[TypeAdapter[Any], dict[str, Any]]]:
    """What is read (its type, valid data of it) by the name of the section."""
    model = point().model.model_dump(mode="json")
    operators = point().operators.model_dump(mode="json")
    kinds = part_kinds()
    return {
        "experiment": (TypeAdapter(Experiment), EXPERIMENT),
        "platform": (
            TypeAdapter(MachineFile),
            {"name": "x", "operators": "x", "host": {"cpu": "x"}, "price_usd_per_hour": 1.0},
        ),
        "model": (adapter("models"), model),
        "operators": (adapter("operators"), operators),
        **{
            f"trace {kind}": (adapter("traces"), {"kind": kind, **keys})
            for kind, keys in TRACES.items()
        },
        **{f"part {kind}": (TypeAdapter(kinds[kind]), data) for kind, data in _parts().items()},
    }


def numeric(root: Mapping[str, Any], node: Mapping[str, Any], path: Key = ()) -> Iterator[Any]:
    """(path, schema) of every number or quantity below `node`; `*` stands for any key or index."""
    if "$ref" in node:
        node = root["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    for union in ("anyOf", "oneOf", "allOf"):
        for member in node.get(union, ()):
            yield from numeric(root, member, path)
    for name, inner in node.get("properties", {}).items():
        yield from numeric(root, inner, (*path, name))
    for name in ("items", "additionalProperties"):
        if isinstance(node.get(name), Mapping):
            yield from numeric(root, node[name], (*path, "*"))
    for index, inner in enumerate(node.get("prefixItems", ())):
        yield from numeric(root, inner, (*path, str(index)))
    kinds = node.get("type") or ()
    kinds = [kinds] if isinstance(kinds, str) else kinds
    free = "const" not in node and "enum" not in node
    if free and ({"integer", "number"} & set(kinds) or "least" in node):
        yield path, node


@cache
def keys() -> dict[tuple[str, Key], Mapping[str, Any]]:
    """The schema of every number by its section and path."""
    found: dict[tuple[str, Key], Mapping[str, Any]] = {}
    for name, (kind, data) in sections().items():
        root = kind.json_schema()
        members = [root["$defs"][m["$ref"].rsplit("/", 1)[-1]] for m in root.get("oneOf", ())]
        of_kind = [m for m in members if m["properties"]["kind"].get("const") == data.get("kind")]
        for top in of_kind or [root]:
            found |= {(name, path): node for path, node in numeric(root, top)}
    return found


def bounds(node: Mapping[str, Any]) -> tuple[Any, Any]:
    """The least and the most that a schema tells; None where it does not."""
    least = [node[k] for k in ("minimum", "exclusiveMinimum", "least") if k in node]
    most = [node[k] for k in ("maximum", "exclusiveMaximum", "most") if k in node]
    return (least or [None])[0], (most or [None])[-1]


def test_every_number_of_every_section_has_a_least_and_a_most() -> None:
    assert len(keys()) > 300
    assert {section for section, _ in keys()} == sections().keys()
    kinds = adapter("traces").json_schema()["$defs"].values()
    assert set(TRACES) == {
        kind["properties"]["kind"]["const"] for kind in kinds if "kind" in kind["properties"]
    }
    assert {f"part {kind}" for kind in part_kinds()} == {n for n in sections() if n[:5] == "part "}
    without = [key for key, node in keys().items() if None in bounds(node)]
    assert not without, without


def changed(data: Any, path: Key, value: Any) -> Any:
    """`data` with `value` at `path`; entries that `*` stands for are the first there is."""
    copied = copy.deepcopy(data)
    parent = copied
    for step, after in zip(path, (*path[1:], None), strict=True):
        key: Any = step
        if isinstance(parent, list):
            key = 0 if step == "*" else int(step)
        elif step == "*":
            key = next(iter(parent))
        if after is None:
            parent[key] = value
            return copied
        inner = parent.get(key) if isinstance(parent, dict) else parent[key]
        if not isinstance(inner, dict | list):  # not there, or one number for all of a list
            inner = [inner if inner is not None else 1] if after in "*0123456789" else {}
            parent[key] = inner
        parent = inner
    raise AssertionError(path)


@pytest.mark.parametrize("section", sections())
def test_hostile_values_of_every_number_are_taken_or_refused_at_their_key(section: str) -> None:
    kind, data = sections()[section]
    tried = 0
    for name, path in keys():
        if name != section:
            continue
        node = keys()[name, path]
        unit = str(node["least"]).partition(" ")[2] if "least" in node else ""
        values = [*HOSTILE, *(f"{q} {unit}" for q in QUANTITIES if unit)]
        if name == "platform" and path[0] in OF_NODES:
            continue
        refused = 0
        for value in values:
            given = changed(data, path, value)
            read, problems = validate(kind, given, Marks(), ())
            assert (read is None) == bool(problems)
            named = [p.key for p in problems if p.key and path[0] in p.key]
            assert named or not problems, (path, value, problems)
            assert all(len(str(p)) < 1000 for p in problems)
            refused += bool(problems)
            tried += 1
        assert refused > len(values) / 2, (path, refused)
    assert tried


@pytest.mark.parametrize("section", sections())
def test_bounds_themselves_are_taken_and_what_lies_beyond_is_not(section: str) -> None:
    kind, data = sections()[section]
    for (name, path), node in keys().items():
        if name != section or "*" in path or path[0] in OF_NODES:
            continue
        least, most = bounds(node)
        beyond = _beyond(most)
        assert validate(kind, changed(data, path, beyond), Marks(), ())[1], (path, beyond)
        problems = validate(kind, changed(data, path, most), Marks(), ())[1]
        assert not any("must be at most" in p.message for p in problems), (path, problems)
        if "exclusiveMinimum" not in node:
            problems = validate(kind, changed(data, path, least), Marks(), ())[1]
            assert not any("must be at least" in p.message for p in problems), (path, problems)


def _beyond(most: Any) -> Any:
    if isinstance(most, str):
        number, _, unit = most.partition(" ")
        return f"{float(number) * 1.001} {unit}"
    return most + 1 if isinstance(most, int) else most * 2 + 1


def _options() -> Iterator[tuple[str, str, type, Any]]:
    """(verb, parameter, int or float, option) of every option that takes a number."""
    for verb in VERBS:
        command = _loaded(verb)
        for name, inner in getattr(command, "commands", {"": command}).items():
            for parameter, hint in get_type_hints(inner.callback, include_extras=True).items():
                kind, *options = get_args(hint) if get_origin(hint) is Annotated else (hint,)
                for number in (int, float):
                    if number in (kind, *get_args(kind)):
                        yield f"{verb} {name}".strip(), parameter, number, options[0]


def test_every_number_of_the_command_line_has_a_least_and_a_most() -> None:
    options = list(_options())
    assert len(options) > 30
    assert not [(verb, name) for verb, name, _, o in options if None in (o.min, o.max)]
    assert all(isinstance(o, typer.models.OptionInfo) for *_, o in options)


@pytest.mark.parametrize("value", ["-1", "1e300", "inf", "nan", str(2**63), "1" * 5000, "x", ""])
def test_hostile_numbers_of_the_command_line_are_refused_with_their_option(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for verb, parameter, number, option in _options():
        if value == "inf" and number is int:
            continue
        name = next(iter(option.param_decls), f"--{parameter.replace('_', '-')}")
        with pytest.raises(SystemExit) as ended:
            main([*verb.split(), f"{name}={value}"])
        assert ended.value.code == 2
        said = " ".join(capsys.readouterr().err.replace("│", " ").split())
        assert name in said
        assert len(said) < 800


LISTS = (
    ("--lookups", ("trace", "generate", "out.npz", "--kind", "uniform", "--batches", "1")),
    ("--rows", ("trace", "validate", "ids.csv")),
    ("--rows", ("trace", "convert", "ids.csv", "out.npz", "--ids", "hash")),
    ("--sizes", ("trace", "validate", "ids.csv", "--format", "words")),
)


@pytest.mark.parametrize(
    "value", ["0", "-1", "1e300", "inf", "nan", str(2**32), "1" * 5000, "x", ",", "1,", "1,0"]
)
@pytest.mark.parametrize(("option", "verb"), LISTS)
def test_hostile_lists_of_numbers_are_refused_with_their_option(
    option: str,
    verb: tuple[str, ...],
    value: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("ids.csv").write_text("a,b\n1,2\n3,4\n")
    with pytest.raises(SystemExit) as ended:
        main([*verb, f"{option}={value}"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert option in said
    assert len(said) < 300


@pytest.mark.parametrize(
    ("lookups", "said"),
    [
        ([[1, 2**20 - 2]], None),
        ([[1, 2**20 - 1]], "1,048,576 lookups a sample: 1,048,575 at most"),
        ([[1] * 50_000], None),
        ([[1] * 50_001], "100,002 features look up the tables: 100,000 at most"),
    ],
)
def test_features_of_a_table_are_bounded_together(lookups: Any, said: str | None) -> None:
    kind, data = sections()["model"]
    problems = validate(kind, {**data, "lookups_per_table": lookups}, Marks(), ())[1]
    assert bool(problems) == (said is not None)
    assert all(p.key == "lookups_per_table" and str(said) in p.message for p in problems)


@pytest.mark.parametrize(
    ("lookups", "tables", "said"),
    [
        ("1,1048575", "1", "1,048,576 lookups a sample, 1,048,575 at most"),
        ("1,1", "50001", "100,002 features look up 50,001 tables, 100,000 at most"),
    ],
)
def test_features_that_are_generated_are_bounded_as_those_of_a_model(
    lookups: str, tables: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--kind", "uniform", "--lookups", lookups, "--tables", tables)
    with pytest.raises(SystemExit) as ended:
        main(["trace", "generate", str(tmp_path / "out.npz"), *given])
    assert ended.value.code == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_json_of_a_schema_is_json() -> None:
    for kind, _ in sections().values():
        json.dumps(kind.json_schema(), allow_nan=False)
