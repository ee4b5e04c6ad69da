"""What a module depends on, read from its text."""

from __future__ import annotations

from pathlib import Path

import pytest

import simulator
from simulator.source import dependencies, module_name, package_folder, text_hash

ROOT = Path(simulator.__file__).parent


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    (folder / "tools").mkdir(parents=True)
    for name in ("__init__", "main", "tools/__init__", "tools/a", "tools/b", "tools/c", "tools/d"):
        (folder / f"{name}.py").touch()
    return folder


@pytest.mark.parametrize(
    ("text", "modules"),
    [
        ("import shop.tools.a, shop.tools.b as b\n", ["tools.a", "tools.b"]),
        ("from shop.tools import a as x, c\n", ["tools.a", "tools.c"]),
        ("from shop.tools import (  # (both)\n    a,\n    b as y,\n)\n", ["tools.a", "tools.b"]),
        ("from shop.tools.a import \\\n    value\n", ["tools.a"]),
        ("from .tools import a\nfrom .tools.b import value\n", ["tools.a", "tools.b"]),
        ("from shop.tools import value\n", ["tools.__init__"]),
        ("def f():\n    from shop.tools import d\n", ["tools.d"]),
        ("import numpy, json\nfrom simple import a\n# import shop.tools.a\n", []),
    ],
)
def test_imports_are_read_from_the_text(package: Path, text: str, modules: list[str]) -> None:
    (package / "main.py").write_text(text)
    reached = dependencies(package / "main.py")
    assert [module_name(file) for file in reached if file.name != "main.py"] == modules


def test_dependencies_are_followed_and_circles_end(package: Path) -> None:
    (package / "main.py").write_text("from shop.tools import a\n")
    (package / "tools" / "a.py").write_text("from simulator import units\nfrom . import b\n")
    (package / "tools" / "b.py").write_text("from shop import main\n")
    names = {module_name(file) for file in dependencies(package / "main.py")}
    assert names == {"main", "tools.a", "tools.b", "units", "text"}, "and what units needs"


def test_the_hash_knows_names_contents_and_facts(package: Path) -> None:
    a, b = package / "tools" / "a.py", package / "tools" / "b.py"
    a.write_text("A = 1\n")
    hashes = {text_hash([a, b]), text_hash([a]), text_hash([b]), text_hash([a, b], "numba 1")}
    assert len(hashes) == 4


def test_a_lone_file_is_its_own_package(tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text("import json\n")
    assert package_folder(file) == tmp_path
    assert dependencies(file) == [file]


@pytest.mark.parametrize(
    ("module", "inner"),
    [
        ("hardware/dram/frfcfs", "hardware.dram.issue"),
        ("hardware/dram/perbank", "hardware.dram.clocks"),
        ("caches/policies/lru", "caches.plan.words"),
        ("traces/stack", "traces.fenwick"),
    ],
)
def test_kernels_depend_on_what_they_inline(module: str, inner: str) -> None:
    assert inner in [module_name(file) for file in dependencies(ROOT / f"{module}.py")]
