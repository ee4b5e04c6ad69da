"""The floors of the house: a room imports only from rooms below it, whenever it imports."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import pytest

import simulator

ROOT = Path(simulator.__file__).parent

LAB = ("observe", "calibration", "validation")
GROUND = (
    "errors",
    "units",
    "text",
    "_compilers",
    "_compiled",
    "_drawing",
    "_extras",
    "_garbage",
    "_heap",
    "_kept_answers",
    "_kept_files",
    "_kernel_cache",
    "_machine",
    "_mix",
    "_plugin_files",
    "_plugins",
    "_progress",
    "_threads",
    "columns",
    "source",
    "data",
    "files",
    "streams",
)
FLOORS = (
    ("cli",),
    ("studies",),
    LAB,
    ("sweep",),
    ("engine",),
    ("systems",),
    ("hardware",),
    ("caches",),
    ("traces",),
    ("figures",),
    ("results",),
    ("config",),
    GROUND,
)
"""From the top floor down. Rooms of one floor do not know each other; modules of the ground do."""
LEVEL = {room: number for number, floor in enumerate(FLOORS) for room in floor}

When = Literal["at the top", "inside a function", "for types alone", "by name"]
"""When a module is imported; by name: a text that is the name of a module, as `import_module` and
entry points take it."""
_MODULE = re.compile(r"simulator(\.\w+)+")


class Import(NamedTuple):
    """One import in a file: the module, or the module and a name out of it."""

    module: str
    name: str
    when: When


def imports_of(source: str) -> list[Import]:
    """Every import of `source`, wherever it stands."""
    found: list[Import] = []

    def visit(node: ast.AST, when: When) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(alias.name, "", when) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found.extend(Import(node.module or "", alias.name, when) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            module = node.value.partition(":")[0]
            if _MODULE.fullmatch(module):
                found.append(Import(module, "", "by name"))
        for child, then in _inner(node, when):
            visit(child, then)

    visit(ast.parse(source), "at the top")
    return found


def _inner(node: ast.AST, when: When) -> Iterator[tuple[ast.AST, When]]:
    """What stands within a node, and when it is imported."""
    types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    for child in ast.iter_child_nodes(node):
        if types and isinstance(node, ast.If) and child in node.body:
            yield child, "for types alone"
        elif function and when == "at the top":
            yield child, "inside a function"
        else:
            yield child, when


@cache
def imports(path: Path) -> tuple[Import, ...]:
    """Every import of a file of the package."""
    return tuple(imports_of(path.read_text(encoding="utf-8")))


def files() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def edges(when: When) -> set[tuple[str, str, str]]:
    """(room, room that it imports from, file)."""
    outside = {"__init__", "__main__"}
    return {
        (room_of(path), target, str(path.relative_to(ROOT)))
        for path in files()
        for found in imports(path)
        for target in _rooms(found)
        if found.when == when and room_of(path) not in outside and target != room_of(path)
    }


def _rooms(found: Import) -> Iterator[str]:
    """The room of an import; `from simulator import data` is of the room `data`."""
    parts = found.module.split(".")
    if parts[0] == "simulator":
        room = parts[1] if len(parts) > 1 else found.name
        if room in LEVEL:
            yield room


def test_every_module_belongs_to_a_room_and_every_room_has_modules() -> None:
    rooms = {room_of(path) for path in files()} - {"__init__", "__main__"}
    assert rooms == set(LEVEL)


@pytest.mark.parametrize("when", get_args(When))
def test_rooms_import_only_from_below(when: When) -> None:
    upwards = sorted(
        f"{file}: {room} imports {target} {when}"
        for room, target, file in edges(when)
        if LEVEL[target] <= LEVEL[room] and not {room, target} <= set(GROUND)
    )
    assert not upwards, "\n".join(upwards)


def test_the_rooms_are_joined_by_many_imports() -> None:
    """Else nothing is found and everything allowed."""
    assert len(edges("at the top")) > 200
    assert edges("inside a function")
    assert edges("for types alone")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import simulator.data", [("simulator.data", "", "at the top")]),
        ("from simulator import data", [("simulator", "data", "at the top")]),
        ("def f():\n    import simulator.cli", [("simulator.cli", "", "inside a function")]),
        (
            "class A:\n    def f(self):\n        if x:\n            from simulator.cli import app",
            [("simulator.cli", "app", "inside a function")],
        ),
        (
            "if TYPE_CHECKING:\n    import simulator.cli\nelse:\n    import simulator.data",
            [("simulator.cli", "", "for types alone"), ("simulator.data", "", "at the top")],
        ),
        (
            "from typing import TYPE_CHECKING\nif typing.TYPE_CHECKING:\n    import simulator.cli",
            [("typing", "TYPE_CHECKING", "at the top"), ("simulator.cli", "", "for types alone")],
        ),
        ("import_module('simulator.cli')", [("simulator.cli", "", "by name")]),
        ("HOMES = {'x': 'simulator.cli.app:main'}", [("simulator.cli.app", "", "by name")]),
        ("'''Read simulator.cli.'''", []),
    ],
)
def test_imports_are_found_wherever_they_stand(
    source: str, expected: list[tuple[str, str, str]]
) -> None:
    assert [tuple(found) for found in imports_of(source)] == expected


def test_relative_imports_are_refused() -> None:
    with pytest.raises(AssertionError, match="relative import"):
        imports_of("from .data import x")


def test_the_dram_room_knows_nothing_of_the_devices_around_it() -> None:
    """It knows what a DRAM is, and no other part."""
    description = ("dram", "address_map")
    allowed = ("simulator.hardware.dram", *(f"simulator.hardware.devices.{n}" for n in description))
    for path in (ROOT / "hardware" / "dram").rglob("*.py"):
        for found in imports(path):
            if found.module.startswith("simulator.hardware"):
                assert f"{found.module}.{found.name}".startswith(allowed), path


def test_devices_do_not_know_the_machine_that_they_stand_in() -> None:
    """A part prices only itself: topology, fold and clock are above it."""
    above = {f"simulator.hardware.{name}" for name in ("topology", "fold", "machine", "catalogue")}
    for path in (ROOT / "hardware" / "devices").rglob("*.py"):
        assert not {found.module for found in imports(path)} & above, path


def test_programs_and_systems_know_no_time() -> None:
    """What moves is separate from how long it takes."""
    paths = [*(ROOT / "systems").rglob("*.py"), ROOT / "hardware" / "program.py"]
    for path in paths:
        modules = {found.module for found in imports(path)}
        timed = {"simulator.hardware.machine", "simulator.hardware.demand", "simpy"}
        assert not modules & timed, path


def test_no_circle_between_modules() -> None:
    """Whenever they are imported: an import inside a function is no way round."""
    graph = {_name(path): _modules(path) for path in files()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module in done:
            return
        for target in sorted(graph.get(module, set()) - {module}):
            visit(target, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def _name(path: Path) -> str:
    parts = ("simulator", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


@cache
def _all_modules() -> frozenset[str]:
    return frozenset(_name(path) for path in files())


def _modules(path: Path) -> set[str]:
    """Modules of the package that a file imports; `from package import module` is that module."""
    found = {
        inner if (inner := f"{each.module}.{each.name}") in _all_modules() else each.module
        for each in imports(path)
        if each.when != "by name"
    }
    return found & _all_modules()
