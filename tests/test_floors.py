"""The floors of the house: a room imports only from rooms below it."""

from __future__ import annotations

import ast
from pathlib import Path

import simulator

ROOT = Path(simulator.__file__).parent

FLOORS = (
    ("cli",),
    ("studies", "validation"),
    ("figures",),
    ("sweep", "observe", "calibration"),
    ("engine",),
    ("systems",),
    ("caches", "hardware"),
    ("traces",),
    ("results",),
    ("config",),
    (
        "errors",
        "units",
        "_compiled",
        "_kernel_cache",
        "_mix",
        "_plugins",
        "_threads",
        "source",
        "data",
        "files",
    ),
)
LEVEL = {room: number for number, floor in enumerate(FLOORS) for room in floor}


def _room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "simulator" and len(parts) > 1 else None


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _edges() -> set[tuple[str, str, str]]:
    edges = set()
    for path in ROOT.rglob("*.py"):
        relative = path.relative_to(ROOT)
        if relative.parts == ("__init__.py",) or relative.parts == ("__main__.py",):
            continue
        room = relative.parts[0].removesuffix(".py")
        for module in _imports(path):
            target = _room(module)
            if target is not None and target in LEVEL and target != room:
                edges.add((room, target, str(relative)))
    return edges


def test_every_module_belongs_to_a_room() -> None:
    rooms = {p.relative_to(ROOT).parts[0].removesuffix(".py") for p in ROOT.rglob("*.py")}
    assert rooms - {"__init__", "__main__"} <= set(LEVEL)


def test_rooms_import_only_from_below() -> None:
    wrong = sorted(
        f"{file}: {room} imports {target}"
        for room, target, file in _edges()
        if LEVEL[target] <= LEVEL[room] and not _allowed(room, target)
    )
    assert not wrong, "\n".join(wrong)


def _allowed(room: str, target: str) -> bool:
    """The ground floor's modules may use each other."""
    return LEVEL[room] == LEVEL[target] == len(FLOORS) - 1


def test_the_dram_room_knows_nothing_of_the_devices_around_it() -> None:
    """It knows what a DRAM is, and no other part."""
    allowed = ("simulator.hardware.dram", "simulator.hardware.devices.dram")
    for path in (ROOT / "hardware" / "dram").rglob("*.py"):
        hardware = {m for m in _imports(path) if m.startswith("simulator.hardware.")}
        assert all(m.startswith(allowed) for m in hardware), path


def test_no_circle_between_modules() -> None:
    paths = {_name(path): path for path in ROOT.rglob("*.py")}
    graph = {name: _module_imports(path, set(paths)) for name, path in paths.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module in done:
            return
        for target in graph.get(module, set()) - {module}:
            visit(target, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


def _name(path: Path) -> str:
    parts = ("simulator", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts).removesuffix(".__init__")


def _module_imports(path: Path, modules: set[str]) -> set[str]:
    """Modules that this one loads, also inside functions and for types alone;
    `from package import submodule` is the submodule."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in modules else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & modules
