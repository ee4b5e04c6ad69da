"""Compiled kernels on disk: never stale, and never the reason why a run fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import simulator

SOURCE = Path(simulator.__file__).parents[1]

INNER = """\
import numba

STEP = 1

@numba.njit(forceinline=True)
def inner(x):
    return x + {added}
"""
OUTER = """\
from simulator._compiled import compiled
from tiny.kernels import inner as inlined

@compiled
def outer(x):
    return 10 * inlined.inner(x) + inlined.STEP
"""
MAIN = """\
from tiny.outer import outer
print(outer(5), sum(outer.stats.cache_hits.values()) if hasattr(outer, "stats") else 0)
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A package of two modules, the first inlined into the second."""
    kernels = tmp_path / "code" / "tiny" / "kernels"
    kernels.mkdir(parents=True)
    (kernels.parent / "__init__.py").touch()
    (kernels / "__init__.py").touch()
    (kernels / "inner.py").write_text(INNER.format(added=1))
    (kernels.parent / "outer.py").write_text(OUTER)
    return kernels.parent


def output(tiny: Path, code: str, **environment: str) -> str:
    """What `code` prints in a fresh process, where any warning is an error."""
    known = {
        key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_", "XDG_"))
    }
    given = {
        "PYTHONPATH": os.pathsep.join((str(tiny.parent), str(SOURCE))),
        "PYTHONDONTWRITEBYTECODE": "1",  # Python tells its own files apart by whole seconds
        "HOME": str(tiny.parent / "home"),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=known | given | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def run(tiny: Path, before: str = "", **environment: str) -> tuple[int, int]:
    """What the kernel answers in a fresh process, and how often it came from the disk."""
    answer, loads = output(tiny, f"{before}\n{MAIN}", **environment).split()
    return int(answer), int(loads)


def kept(folder: Path) -> list[Path]:
    """The compiled kernels below `folder`."""
    return sorted(folder.rglob("*.kernel"))


def test_a_kernel_is_compiled_once(tiny: Path) -> None:
    assert run(tiny) == (61, 0)
    assert run(tiny) == (61, 1)
    assert len(kept(tiny)) == 1


def test_an_edited_inlined_kernel_is_compiled_again(tiny: Path) -> None:
    assert run(tiny) == (61, 0)
    (tiny / "kernels" / "inner.py").write_text(INNER.format(added=2))
    assert run(tiny) == (71, 0)
    assert len(kept(tiny)) == 1, "the folder of the old text is gone"


def test_an_edited_constant_counts_and_other_folders_stay(tiny: Path) -> None:
    assert run(tiny) == (61, 0)
    (machine,) = kept(tiny)
    foreign = machine.parents[1] / "something_else"
    foreign.mkdir()
    (tiny / "kernels" / "inner.py").write_text(INNER.format(added=1).replace("= 1", "= 3"))
    assert run(tiny) == (63, 0)
    assert foreign.is_dir()


def test_a_module_that_the_kernel_does_not_import_does_not_count(tiny: Path) -> None:
    (tiny / "other.py").write_text("A = 1\n")
    run(tiny)
    (tiny / "other.py").write_text("A = 2\n")
    assert run(tiny) == (61, 1)


@pytest.mark.parametrize("damage", ["empty", "truncated", "flipped", "other"])
def test_a_damaged_file_is_compiled_again(tiny: Path, damage: str) -> None:
    run(tiny)
    (machine,) = kept(tiny)
    content = machine.read_bytes()
    half = len(content) // 2
    flipped = content[:half] + bytes([content[half] ^ 255]) + content[half + 1 :]
    damaged = {"empty": b"", "truncated": content[:half], "flipped": flipped, "other": b"x" * 99}
    machine.write_bytes(damaged[damage])
    assert run(tiny) == (61, 0)
    assert run(tiny) == (61, 1)


def test_a_folder_in_the_place_of_a_kernel_gives_way(tiny: Path) -> None:
    run(tiny)
    (machine,) = kept(tiny)
    machine.unlink()
    (machine / "inner").mkdir(parents=True)
    assert run(tiny) == (61, 0)
    assert run(tiny) == (61, 1)


def test_a_folder_that_cannot_be_made_costs_time_alone(tiny: Path) -> None:
    for folder in ("/proc/nowhere", str(tiny / "__init__.py"), "a\nb/" + "x" * 300):
        assert run(tiny, NUMBA_CACHE_DIR=folder) == (61, 0)


def test_a_full_disk_is_no_error(tiny: Path) -> None:
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    assert run(tiny, full) == (61, 0)
    assert not [path for path in tiny.rglob("*") if path.is_file() and path.suffix != ".py"]


def test_nowhere_to_write_is_no_error(tiny: Path) -> None:
    (tiny / "__pycache__").touch()  # a file where the folder would be: root may write everywhere
    (tiny.parent / "home").touch()
    assert run(tiny) == (61, 0)
    assert not kept(tiny.parent)


def test_beside_a_package_that_cannot_be_written_the_user_has_a_place(tiny: Path) -> None:
    (tiny / "__pycache__").touch()
    assert run(tiny) == (61, 0)
    assert run(tiny) == (61, 1)
    assert len(kept(tiny.parent / "home")) == 1


def test_the_folder_that_numba_is_given_is_used(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "chosen"
    assert run(tiny, NUMBA_CACHE_DIR=str(folder)) == (61, 0)
    assert run(tiny, NUMBA_CACHE_DIR=str(folder)) == (61, 1)
    assert len(kept(folder)) == 1
    assert not kept(tiny)


def test_bounds_checks_are_not_served_code_without_them(tiny: Path) -> None:
    assert run(tiny) == (61, 0)
    assert run(tiny, NUMBA_BOUNDSCHECK="1") == (61, 0)


def test_without_compilation_kernels_are_plain_functions(tiny: Path) -> None:
    assert run(tiny, NUMBA_DISABLE_JIT="1") == (61, 0)
    assert not kept(tiny)


ROOMS = """\
from simulator.caches import PoolPlanner, Window
from simulator.config.trace import ZipfTraceConfig
from simulator.hardware.catalogue import load_part
from simulator.hardware.devices.dram import Dram
from simulator.hardware.dram import measure
from simulator.traces import open_trace
trace = open_trace(ZipfTraceConfig(alpha=1.0), rows=(5000,), lookups=(3,), batch_size=64, seed=1)
planner = PoolPlanner("lru", 5000, 900, Window(1, 1))
for number in range(2):
    planner.load(trace.minibatch(number).ids[0], None)
plan = planner.plan()
measured = measure(load_part("ddr4_2400", {}, Dram), "gather", 64, 500)
print(plan.missed_rows.tolist(), plan.missed_slots.tolist(), measured.elapsed_ticks)
"""


def test_ids_plans_and_memories_are_the_same_without_compilation(tiny: Path) -> None:
    assert output(tiny, ROOMS, NUMBA_DISABLE_JIT="1") == output(tiny, ROOMS)


TALLY = """\
from simulator._compiled import done_without, pays
from tiny.outer import outer
for seconds in {seconds}:
    done_without(outer, seconds)
print(pays(outer, 5.0))
"""


def test_work_without_a_kernel_counts_over_runs_until_compiling_pays(tiny: Path) -> None:
    assert output(tiny, TALLY.format(seconds=[2.0, 1.5])) == "False\n"
    assert output(tiny, TALLY.format(seconds=[])) == "False\n"
    assert output(tiny, TALLY.format(seconds=[1.75])) == "True\n"
    assert output(tiny, TALLY.format(seconds=[])) == "True\n"


def test_work_without_a_kernel_counts_within_a_run_where_nothing_can_be_kept(tiny: Path) -> None:
    blocked = tiny / "file"
    blocked.touch()
    place = {"NUMBA_CACHE_DIR": str(blocked)}
    assert output(tiny, TALLY.format(seconds=[3.0, 3.0]), **place) == "True\n"
    assert output(tiny, TALLY.format(seconds=[]), **place) == "False\n"


KEEPS = """\
from simulator._compiled import can_be_kept
from tiny.outer import outer
print(can_be_kept(outer))
"""


def test_whether_a_kernel_can_be_kept_is_known_before(tiny: Path) -> None:
    blocked = tiny / "file"
    blocked.touch()
    assert output(tiny, KEEPS) == "True\n"
    assert output(tiny, KEEPS, NUMBA_CACHE_DIR=str(blocked)) == "False\n"
    assert not kept(tiny)


def test_new_text_has_been_waited_for_by_nobody(tiny: Path) -> None:
    assert output(tiny, TALLY.format(seconds=[9.0])) == "True\n"
    (tiny / "kernels" / "inner.py").write_text(INNER.format(added=2))
    assert output(tiny, TALLY.format(seconds=[])) == "False\n"


def test_a_kernel_that_is_there_is_used(tiny: Path) -> None:
    assert output(tiny, f"{MAIN}{TALLY.format(seconds=[])}").endswith("True\n")
    assert output(tiny, TALLY.format(seconds=[]), NUMBA_DISABLE_JIT="1") == "False\n"
