"""Machines: hosts of named sockets, variants of them, what their links join, and `--set`."""

from __future__ import annotations

import contextlib
import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up_parts import KINDS

from simulator.config.expand import expand
from simulator.config.experiment import Names
from simulator.config.load import load_experiment, parse_experiment
from simulator.config.machine import MachineConfig
from simulator.config.machine_file import read_machine
from simulator.config.reader import Document, Mark, Marks, read_text
from simulator.errors import ConfigError

Add = Callable[[str, str], Path]
NAMES = Names(parts=KINDS)
EXPERIMENT = {
    "config_version": 1,
    "model": "default",
    "trace": {"kind": "uniform"},
    "operators": "paper",
    "systems": "hybrid",
}
CAR = """\
name: car
description: two engines
operators: paper
price_usd_per_hour: 2.5
sources: {price_usd_per_hour: a price list}
host:
  motor: {part: v8, count: 2, speed: 9}
  tank: small
  pipe: {part: thin, join: [tank, motor], per: 1}
"""
FLEET = """\
name: fleet
operators: paper
hosts:
  - {name: lead, motor: v8, radio: thin, wire: {part: thin, join: [motor, radio]}}
  - {name: rest, count: 3, motor: v12}
network: {part: thick, join: [motor]}
"""


@pytest.fixture(autouse=True)
def machines(made_up: Add) -> None:
    made_up("platforms/car", CAR)
    made_up("parts/stores/radio", "base: small\nname: radio\n")
    made_up("platforms/fleet", FLEET.replace("radio: thin", "radio: radio"))
    shipped = {"models": "default", "operators": "paper", "collectives": "nccl_2_28"}
    for kind, name in shipped.items():
        source = Path(__file__).parents[2] / "configs" / kind / f"{name}.yaml"
        made_up(f"{kind}/{name}", source.read_text(encoding="utf-8"))


def machine(text: str) -> MachineConfig:
    found, problems = read_machine(read_text(text, "m.yaml"), Path(), KINDS)
    assert not problems, "\n".join(map(str, problems))
    assert found is not None
    return found


def mistakes(text: str) -> list[str]:
    found, problems = read_machine(read_text(text, "m.yaml"), Path(), KINDS)
    assert found is None
    assert problems
    return [str(problem) for problem in problems]


def swept(*overrides: str, platform: Any = "car", **changes: Any) -> list[MachineConfig]:
    experiment = parse_experiment(EXPERIMENT | {"platform": platform} | changes, overrides, NAMES)
    return [point.platform for point in expand(experiment)]


def changed(*overrides: str, platform: Any = "car") -> MachineConfig:
    (found,) = swept(*overrides, platform=platform)
    return found


# -- reading --------------------------------------------------------------------------------------


def test_a_machine_is_hosts_of_sockets():
    car = machine("car")
    (host,) = car.hosts
    assert (car.name, car.price_usd_per_hour, host.name, host.count) == ("car", 2.5, "host", 1)
    assert list(host.sockets) == ["motor", "tank", "pipe"]
    motor, pipe = host.sockets["motor"], host.sockets["pipe"]
    assert (motor.count, motor.join, motor.part.speed, motor.part.name) == (2, (), 9, "V8, changed")
    assert (pipe.count, pipe.join, pipe.by, pipe.per) == (1, ("tank", "motor"), None, 1)
    assert host.sockets["tank"].part.size == 1_000_000


def test_different_hosts_and_a_network():
    fleet = machine("fleet")
    assert [(h.name, h.count, list(h.sockets)) for h in fleet.hosts] == [
        ("lead", 1, ["motor", "radio", "wire"]),
        ("rest", 3, ["motor"]),
    ]
    assert fleet.network is not None
    assert (fleet.network.part.name, fleet.network.join) == ("thick wire", ("motor",))


def test_where_a_socket_is_found():
    fleet = machine("fleet")
    assert fleet.socket("radio") == fleet.hosts[0].sockets["radio"]
    assert fleet.socket("tank") is None
    assert [path for path, _ in fleet.parts("engine")] == ["host.motor", "host.motor"]


def test_parts_may_be_written_out():
    engine = "kind: engine, name: mine, speed: 3, store: small"
    for motor in (f"{{{engine}, count: 2}}", f"{{part: {{{engine}}}, count: 2}}"):
        found = machine(f"{{name: x, operators: o, host: {{motor: {motor}}}}}").socket("motor")
        assert found is not None
        assert (found.part.name, found.count) == ("mine", 2)


def test_a_file_without_a_name_is_called_like_its_file(made_up: Add):
    made_up("platforms/van", CAR.replace("name: car\n", ""))
    assert machine("van").name == "van"


# -- variants -------------------------------------------------------------------------------------


def test_a_variant_is_its_base_and_what_differs():
    van = machine("{base: car, host: {motor: {count: 4}}}")
    assert (van.name, van.socket("motor").count) == ("car*", 4)
    assert van.socket("motor").part == machine("car").socket("motor").part
    assert machine("{base: car, name: van, host: {motor: {count: 4}}}").name == "van"


def test_a_variant_keeps_the_order_of_the_sockets():
    van = machine("{base: car, host: {motor: {part: v12}, tank: large}}")
    assert list(van.hosts[0].sockets) == list(machine("car").hosts[0].sockets)


@pytest.mark.parametrize("motor", ["v12", "{part: v12}"])
def test_another_part_keeps_the_socket_and_drops_what_was_laid_over_the_old_part(motor):
    found = machine(f"{{base: car, host: {{motor: {motor}}}}}").socket("motor")
    assert (found.part.name, found.part.speed, found.count) == ("V12", 12, 2)


def test_a_part_written_out_replaces_the_one_before():
    text = "{kind: engine, name: mine, speed: 3, store: small}"
    for base in (
        "car",
        "{base: car, host: {motor: {kind: engine, name: x, speed: 1, store: large}}}",
    ):
        found = machine(f"{{base: {base}, host: {{motor: {text}}}}}").socket("motor")
        assert (found.part.name, found.part.limits, found.count) == ("mine", None, 2)
        assert found.part.store.size == 1_000_000


def test_the_same_part_again_keeps_what_was_laid_over_it():
    assert machine("{base: car, host: {motor: v8}}").socket("motor").part.speed == 9


def test_a_variant_of_a_variant(made_up: Add):
    made_up("platforms/van", "base: car\nhost: {motor: {limits: {read: 1 B/s}}}\n")
    found = machine("{base: van, host: {motor: {speed: 10}}}").socket("motor").part
    assert (found.speed, found.limits.read, found.limits.write) == (10, 1, 4)
    assert machine("{base: van, host: {motor: v12}}").socket("motor").part.limits.read == 8


def test_a_base_may_be_written_out():
    inner = "{base: car, host: {motor: {count: 4}}}"
    assert machine(f"{{base: {inner}, host: {{tank: large}}}}").socket("motor").count == 4


def test_null_takes_a_socket_away_and_a_reference_adds_one():
    van = machine("{base: car, host: {pipe: null, hose: {part: thick, join: [tank, motor]}}}")
    assert list(van.hosts[0].sockets) == ["motor", "tank", "hose"]


def test_a_changed_price_loses_its_source():
    assert machine("car").sources == {"price_usd_per_hour": "a price list"}
    assert machine("{base: car, price_usd_per_hour: 3}").sources == {}
    assert machine("{base: car, name: van}").sources == {"price_usd_per_hour": "a price list"}


def test_hosts_may_be_a_number():
    assert machine("{base: car, hosts: 16}").hosts[0].count == 16
    assert machine(CAR + "hosts: 4\n").hosts[0].count == 4


def test_a_listed_host_is_changed_by_its_number_or_name():
    for key in ("1", "rest"):
        found = machine(f"{{base: fleet, hosts: {{{key}: {{motor: {{speed: 3}}}}}}}}")
        assert [h.sockets["motor"].part.speed for h in found.hosts] == [8, 3]


# -- the command line, sweeps and entries ---------------------------------------------------------


def test_one_line_changes_the_part():
    found = changed("platform.host.motor.part=v12")
    assert (found.name, found.socket("motor").part.name) == ("car*", "V12")
    assert found.socket("motor").count == 2


@pytest.mark.parametrize(
    ("path", "value", "read"),
    [
        ("host.motor.count", "8", lambda m: m.socket("motor").count == 8),
        ("host.tank.size", "5 MB", lambda m: m.socket("tank").part.size == 5_000_000),
        ("host.motor.store.shape", "tall", lambda m: m.socket("motor").part.store.shape.height > 1),
        ("host.pipe.latency", "3us", lambda m: m.socket("pipe").part.latency == 3_000_000),
        ("host.pipe.per", "2", lambda m: m.socket("pipe").per == 2),
        ("host.count", "16", lambda m: m.hosts[0].count == 16),
        ("hosts", "16", lambda m: m.hosts[0].count == 16),
        ("host.tank", "large", lambda m: m.socket("tank").part.name == "large store"),
        ("host.motor", "{count: 3}", lambda m: m.socket("motor").count == 3),
    ],
)
def test_one_line_changes_a_key(path, value, read):
    inline = read_text(CAR, "x").data
    for platform in ("car", {"base": "car", "host": {"tank": "small"}}, inline):
        assert read(changed(f"platform.{path}={value}", platform=platform)), platform


@pytest.mark.parametrize("key", ["1", "rest"])
def test_one_line_changes_a_listed_host(key):
    assert changed(f"platform.hosts.{key}.count=5", platform="fleet").hosts[1].count == 5


def test_two_lines_in_either_order():
    lines = ("platform.host.motor.part=v12", "platform.host.motor.speed=20")
    for overrides in (lines, lines[::-1]):
        part = changed(*overrides).socket("motor").part
        assert (part.name, part.speed) == ("V12, changed", 20)


def test_a_line_drops_what_the_file_laid_over_the_part_that_goes():
    """Of the base, of the experiment's own changes, and of a machine written out."""
    inline = read_text(CAR, "x").data
    overlay = {"base": "car", "host": {"motor": {"limits": None, "count": 5}}}
    for platform, count in ((inline, 2), (overlay, 5)):
        found = changed("platform.host.motor.part=v12", platform=platform).socket("motor")
        assert (found.part.speed, found.count) == (12, count)
        assert found.part.limits is not None


def test_the_part_that_is_there_already_drops_nothing():
    overlay = {"base": "car", "host": {"motor": {"limits": None}}}
    found = changed("platform.host.motor.part=v8", platform=overlay).socket("motor").part
    assert (found.speed, found.limits) == (9, None)


def test_what_the_command_line_says_of_a_part_outlives_a_swept_part():
    found = swept("platform.host.motor.speed=20", sweep={"platform.host.motor.part": ["v8", "v12"]})
    assert [m.socket("motor").part.speed for m in found] == [20, 20]
    assert [m.socket("motor").part.name for m in found] == ["V8, changed", "V12, changed"]


def test_a_part_can_be_swept():
    found = swept(sweep={"platform.host.motor.part": ["v8", "v12"]})
    assert [m.socket("motor").part.speed for m in found] == [9, 12]


def test_a_swept_part_and_a_swept_key_of_it():
    sweep = {"platform.host.motor.speed": [1, 2], "platform.host.motor.part": ["v8", "v12"]}
    found = swept(sweep=sweep)
    assert [(m.socket("motor").part.name, m.socket("motor").part.speed) for m in found] == [
        ("V8, changed", 1), ("V12, changed", 1), ("V8, changed", 2), ("V12, changed", 2),
    ]  # fmt: skip


def test_a_swept_machine_is_changed_by_a_line():
    sweep = {"platform": ["car", {"base": "car", "name": "van", "host": {"motor": "v12"}}]}
    found = swept("platform.host.motor.count=7", sweep=sweep)
    assert [m.socket("motor").count for m in found] == [7, 7]
    assert [m.socket("motor").part.speed for m in found] == [9, 12]


def test_an_entry_of_systems_has_a_machine_of_its_own():
    systems = [
        "hybrid",
        {"name": "gpu_only", "platform": {"base": "car", "host": {"motor": "v12"}}},
    ]
    found = swept("systems.1.platform.host.motor.count=7", systems=systems)
    assert [m.socket("motor").part.speed for m in found] == [9, 12]
    assert [m.socket("motor").count for m in found] == [2, 7]


def test_a_path_is_relative_to_the_file_and_on_the_command_line_to_the_shell(made_up: Add):
    made_up("mine/experiment", "x")
    made_up("mine/v1", "base: v8\nname: V1\nspeed: 1\n")
    file = made_up(
        "mine/experiment",
        "config_version: 1\nmodel: default\ntrace: {kind: uniform}\nsystems: hybrid\n"
        "platform: {base: car, host: {motor: ./v1.yaml}}\n",
    )
    (point,) = expand(load_experiment(file, names=NAMES))
    assert point.platform.socket("motor").part.name == "V1"
    with pytest.raises(ConfigError, match=r"there is no file v1\.yaml"):
        load_experiment(file, ["platform.host.tank=./v1.yaml"], NAMES)


def test_without_the_kinds_of_parts_no_machine_is_read():
    with pytest.raises(ConfigError, match="the kinds of parts are not known"):
        parse_experiment(EXPERIMENT | {"platform": "car"})


# -- mistakes -------------------------------------------------------------------------------------


def host(sockets: str) -> str:
    return f"{{name: x, operators: o, host: {{{sockets}}}}}"


TWO = "a: small, b: small, "
WIRED = TWO + "w: {part: thin, join: [a, b]}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cra", 'm.yaml:1:1: platform: is "cra": not in the catalogue of platforms\n'
         "    did you mean 'car'?"),
        ("5", "m.yaml:1:1: platform: is 5: expected a name, or a mapping with its keys"),
        ("{base: 5}", "platform: base is 5: expected the name of an entry to start from"),
        ("{base: ./x.yaml}", 'm.yaml:1:8: platform: is "./x.yaml": there is no file x.yaml'),
        ("{name: x, operators: o}", "m.yaml:1:1: platform.host: is missing"),
        ("{operators: o, host: {a: small}}", "m.yaml:1:1: platform.name: is missing"),
        ("{name: x, operators: o, hosst: 1}", "m.yaml:1:25: platform.hosst: unknown key\n    did "),
        (host(""), "m.yaml:1:31: platform.host: has no parts\n"),
        (host("count: 2"), "m.yaml:1:31: platform.host: has no parts\n"),
        ("{base: car, host: 5}", "m.yaml:1:19: platform.host: is 5: expected a mapping"),
        ("{base: car, host: {motor: 5}}", "platform.host.motor: is 5: expected the name of a part"),
        ("{base: car, host: {motor: v88}}", 'm.yaml:1:27: platform.host.motor.part: is "v88": not'),
        ("{base: car, host: {motor: {part: v88}}}", 'platform.host.motor.part: is "v88": not in'),
        ("{base: car, host: {motr: {count: 2}}}", "m.yaml:1:20: platform.host.motr: is no socket of"
         " the host: a new one needs `part: NAME`\n    did you mean 'motor'?"),
        ("{base: car, host: {motor: {count: 0}}}", "m.yaml:1:35: platform.host.motor.count: is 0: "
         "must be greater than 0"),
        ("{base: car, host: {motor: {cuont: 2}}}", "m.yaml:1:28: platform.host.motor.cuont: unkn"),
        ("{base: car, host: {motor: {store: {size: 5}}}}", "platform.host.motor.store.size: 5 has"),
        ("{base: car, host: {count: 0}}", "m.yaml:1:27: platform.host.count: is 0: must be great"),
        ("{base: car, hosts: 0}", "m.yaml:1:20: platform.host.count: is 0: must be greater than 0"),
        ("{base: car, hosts: true}", "m.yaml:1:20: platform.hosts: is true: expected"),
        ("{base: fleet, hosts: 4}", "m.yaml:1:22: platform.hosts: is 4: this machine has a list"),
        ("{base: fleet, host: {motor: v8}}", "m.yaml:1:15: platform.host: stands beside a list of"),
        ("{base: fleet, hosts: {2: {count: 1}}}", "m.yaml:1:23: platform.hosts.2: is no host of"),
        ("{base: car, hosts: {0: {count: 1}}}", "m.yaml:1:13: platform.hosts: is no list in this"),
        (CAR + "hosts: 4\n".replace("4", "x"), 'm.yaml:10:8: platform.hosts: is "x": expected'),
        ("{base: car, hosts: []}", "m.yaml:1:20: platform.hosts: is an empty list"),
        (FLEET.replace("rest", "lead"), "platform.hosts[1].name: two hosts are called 'lead'"),
        (FLEET.replace("v12", "v13"), 'm.yaml:5:35: platform.hosts[1].motor.part: is "v13": not'),
        (host("9a: small"), "m.yaml:1:32: platform.host.9a: is no name of a socket"),
    ],
)  # fmt: skip
def test_one_mistake(text, expected):
    found = mistakes(text)
    assert any(expected in problem for problem in found), found


def networked(network: str) -> str:
    return f"{{name: x, operators: o, host: {{a: small}}, network: {network}}}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (host(TWO + "w: thin"), "platform.host.w.join: is missing"),
        (
            host(TWO + "w: {part: thin, join: [a, c]}"),
            'w.join: is "c": there is no such socket\n    the host has: a, b',
        ),
        (
            host("motor: v8, tank: small, w: {part: thin, join: [moter, tank]}"),
            'm.yaml:1:79: platform.host.w.join: is "moter": there is no such socket\n'
            "    did you mean 'motor'?",
        ),
        (host(TWO + "w: {part: thin, join: [w, a, b]}"), "platform.host.w.join: w joins itself"),
        (host(TWO + "w: {part: thin, join: [a, a, b]}"), "platform.host.w.join: names a twice"),
        (
            host(TWO + "w: {part: thin, join: [a, b], by: switch}"),
            "m.yaml:1:82: platform.host.w.by: says how the parts of one socket are joined, but "
            "this joins a and b",
        ),
        (
            host(TWO + "w: {part: thin, join: a, per: 1}"),
            "platform.host.w.per: counts parts of the second socket that share one link, but this "
            "joins a",
        ),
        (
            host(TWO + "w: {part: thin, join: [a, b], count: 2}"),
            "platform.host.w.count: says how many there are, which follows from `per` for a link",
        ),
        (
            host("a: {part: small, per: 2}"),
            "platform.host.a.per: counts parts of the second socket that share one link, but this "
            "joins nothing",
        ),
        (
            host(WIRED + ", v: {part: thick, join: [b, a]}"),
            "platform.host.v.join: joins a and b as w does",
        ),
        (
            host(WIRED + ", c: small, v: {part: thick, join: [a, c, b]}"),
            "platform.host.v.join: joins a and b as w does",
        ),
        (host("a: small, v: {part: thick, join: a, by: swich}"), 'v.by: is "swich": expected'),
        (host(WIRED + ", c: small"), "m.yaml:1:83: platform.host.c: joins nothing, and nothing"),
        (host("a: small, b: {part: small, join: a}"), "b.join: joins a, but b is no link"),
        (host(WIRED + ", v: {part: thin, join: [w, a]}"), 'is "w": that is a link itself'),
        (host(TWO + "w: {part: thin, join: [a, b], per: 0}"), "host.w.per: is 0: must be greater"),
        (host(TWO + "w: {part: thin, join: [a, 5]}"), "host.w.join[1]: is 5: expected text"),
        (networked("{part: thin}"), "platform.network.join: is missing"),
        (networked("thick"), "platform.network.join: is missing"),
        (
            networked("{part: thin, join: nic}"),
            'platform.network.join: is "nic": there is no such socket\n    the hosts have: a',
        ),
        (networked("{part: thin, join: a, per: 2}"), "platform.network.per: "),
        (networked("{part: thn, join: a}"), 'platform.network.part: is "thn": not in the cata'),
    ],
)
def test_a_join_that_joins_nothing_or_contradicts(text, expected):
    found = mistakes(text)
    assert any(expected in problem for problem in found), found
    assert all(re.match(r"m\.yaml:1:\d+: platform", problem) for problem in found), found


def test_a_part_that_does_not_exist_leaves_the_joins_alone():
    (problem,) = mistakes("{base: car, host: {pipe: {part: thn}}}")
    assert 'platform.host.pipe.part: is "thn"' in problem


def test_hosts_without_a_network_are_allowed():
    assert machine("{base: car, hosts: 4}").network is None


def test_all_mistakes_of_a_machine_come_at_once():
    text = (
        CAR.replace("operators: paper\n", "")
        .replace("part: v8, count: 2", "part: v88, count: 0")
        .replace("tank: small", "tank: {part: small, sise: 4}")
        .replace("join: [tank, motor]", "join: [tunk, motor], latency: 5")
    )
    keys = sorted(problem.split(": ")[1] for problem in mistakes(text))
    assert keys == [
        "platform.host.motor.count",
        "platform.host.motor.part",
        "platform.host.pipe.join",
        "platform.host.pipe.latency",
        "platform.host.tank.sise",
        "platform.operators",
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("cpu.cores=8", "host.cpu.cores"),
        ("gpu.count=8", "host.gpu.count"),
        ("cpu.memory.channels=8", "host.cpu.memory.organization.channels"),
        ("cpu.memory.device=x", "host.cpu.memory.part"),
        ("gpu.memory.overrides.timing.rp=9", "host.gpu.memory.timing.rp"),
        ("gpu.memory.capacity=9 GB", "host.gpu.memory.capacity"),
        ("link.latency=3us", "host.pipe.latency"),
        ("nvlink.bandwidth=3 GB/s", "host.nvlink.bandwidth"),
    ],
)
def test_an_old_path_is_refused_with_the_new_one(old, new):
    with pytest.raises(ConfigError) as caught:
        changed(f"platform.{old}")
    (problem,) = caught.value.problems
    path = old.partition("=")[0]
    assert (problem.where, problem.key) == (f"--set platform.{path}", f"platform.{path}")
    assert problem.hint == f"write platform.{new}"


def test_an_old_file_is_refused_key_by_key():
    found = mistakes("{name: x, operators: o, cpu: {name: a, cores: 4}, nvlink: null}")
    assert [problem.partition("\n")[2].strip() for problem in found] == [
        "write platform.host.cpu",
        "write platform.host.nvlink",
    ]


def test_a_machine_that_is_its_own_base(made_up: Add):
    made_up("platforms/loop", "base: loop\n")
    assert "has itself as its base" in mistakes("loop")[0]


KEYS = (
    "name", "host", "hosts", "network", "motor", "tank", "pipe", "part", "base", "kind", "count",
    "join", "by", "per", "store", "shape", "size", "speed", "limits", "sources", "x", "cpu",
)  # fmt: skip
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.sampled_from(["v8", "thin", "x", "9 MB"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
        | st.dictionaries(st.integers(0, 1), inner, max_size=1)
    ),
    max_leaves=6,
)


def leads_to(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    paths = [path] if path else []
    for key in keys:
        paths += leads_to(tree[key], (*path, key))
    return paths


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=st.sampled_from([CAR, FLEET, "{base: car, host: {motor: {store: {size: 3 MB}}}}"]),
    changes=st.lists(st.tuples(st.integers(0, 30), st.sampled_from(KEYS), plain), max_size=3),
    overlay=st.none() | st.dictionaries(st.sampled_from(KEYS), plain, max_size=3),
)
def test_whatever_a_machine_says_there_is_a_machine_or_a_problem_with_its_place(
    text: str, changes: list[tuple[int, str, Any]], overlay: Any
) -> None:
    tree = copy.deepcopy(read_text(text, "x").data)
    for number, key, value in changes:
        paths = leads_to(tree)
        *around, last = paths[number % len(paths)]
        here = tree
        for step in around:
            here = here[step]
        if isinstance(here[last], dict) and number % 2:
            here[last][key] = value
        else:
            here[last] = value
    data = tree if overlay is None else {**overlay, "base": tree}
    document = Document(data, Marks({(): Mark("here", "here")}))
    found, problems = read_machine(document, Path(), KINDS)
    assert (found is None) == bool(problems)
    assert all(problem.where and problem.key and problem.message for problem in problems)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    platform=st.sampled_from(
        ["car", "fleet", {"base": "car", "host": {"tank": "large"}}, "inline"]
    ),
    lines=st.lists(
        st.tuples(st.lists(st.sampled_from([*KEYS, "0", "1"]), min_size=1, max_size=4), plain),
        min_size=1,
        max_size=3,
    ),
)
def test_whatever_the_command_line_says_there_are_points_or_problems(
    platform: Any, lines: list[tuple[list[str], Any]]
) -> None:
    inline = read_text(CAR, "x").data
    overrides = [f"platform.{'.'.join(path)}={json.dumps(value)}" for path, value in lines]
    with contextlib.suppress(ConfigError):
        assert swept(*overrides, platform=inline if platform == "inline" else platform)
