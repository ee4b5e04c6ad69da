"""What a package from outside imports, and what happens where it is broken."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from outside import announce

from simulator import Experiment, ScratchPipeError, UsageError, simulate, systems
from simulator.engine import known_names, parse_experiment
from simulator.hardware.devices import part_kinds

DOORS = ("simulator.caches", "simulator.hardware", "simulator.systems", "simulator.traces")


@pytest.mark.parametrize("door", DOORS)
def test_every_name_at_a_door_is_there_once(door: str) -> None:
    module = importlib.import_module(door)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_the_words_of_a_program_are_all_at_the_door() -> None:
    from simulator import hardware
    from simulator.hardware import program

    words = {name for name in program.__all__ if name != "Flow"}  # of `simulator.caches`
    assert words <= set(hardware.__all__)


def test_every_role_and_schedule_is_at_the_door() -> None:
    from simulator.systems import schedule

    assert set(schedule.__all__) <= set(systems.__all__)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Puts a package with one module and its entry points on the path."""

    def put(text: str, **groups: dict[str, str]) -> None:
        (tmp_path / "broken_plugin.py").write_text(text, encoding="utf-8")
        points = {f"scratchpipe.{group}": entries for group, entries in groups.items()}
        announce({"name": "broken-plugin", "entry-points": points}, tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        part_kinds.cache_clear()

    yield put
    sys.modules.pop("broken_plugin", None)
    part_kinds.cache_clear()


def test_a_system_that_cannot_be_loaded_is_named_with_its_package(package) -> None:
    package("import no_such_module", systems={"mine": "broken_plugin:Mine"})
    with pytest.raises(UsageError, match=r"mine of the package broken-plugin cannot be loaded"):
        known_names().systems["mine"]
    with pytest.raises(UsageError, match="No module named 'no_such_module'"):
        systems.summary("mine")
    (result,) = simulate(small("hybrid"))
    assert result.metrics["system"] == "hybrid", "experiments that do not name it run"


BROKEN = """
from simulator.caches import LOOKUP, BatchFacts, Replay
from simulator.systems import Hybrid

class NoSystem:
    "Neither."

class Fails(Hybrid):
    "Fails when it is built."
    def __init__(self, job, machine):
        raise KeyError("nowhere")

class NoStages(Hybrid):
    "Fails at its stages."
    def stages(self, facts):
        return 1 // 0

class NotStages(Hybrid):
    "Gives no stages."
    def stages(self, facts):
        return None

class Short(Replay):
    def run(self, trace, batches, threads):
        yield from ()

class Partial(Replay):
    keep = ()
    def run(self, trace, batches, threads):
        for batch in batches:
            yield BatchFacts(batch.index, batch.samples, {LOOKUP: ()})

class Ends(Hybrid):
    "Has a replay that ends."
    def __init__(self, job, machine):
        super().__init__(job, machine)
        self.replay = Short()

class Untold(Hybrid):
    "Has a replay that tells lookups alone."
    def __init__(self, job, machine):
        super().__init__(job, machine)
        self.replay = Partial()
"""


def small(system: str) -> Experiment:
    """A point of a few lookups."""
    return parse_experiment(
        {
            "config_version": 1,
            "platform": "v100_p3",
            "model": {"base": "default", "tables": 1, "rows_per_table": 100, "batch_size": 4},
            "trace": {"kind": "uniform"},
            "systems": [system],
            "cache": {"fraction": 1.0},
            "run": {"batches": 1, "warmup_batches": 0},
        }
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "NoSystem",
            r"x of the package broken-plugin is no subclass of simulator\.systems\.System",
        ),
        (
            "Fails",
            r"x cannot be built: KeyError: 'nowhere' \(.*broken_plugin\.py:11, in __init__\)",
        ),
        (
            "NoStages",
            r"NoStages gives no stages for mini-batch 0: ZeroDivisionError: .*plugin\.py:16",
        ),
        ("NotStages", r"NotStages\.stages gave None, no stages"),
        ("Ends", r"Short ended after 0 of 7 mini-batches"),
        ("Untold", r"tells no 'unique' flows, only lookup"),
    ],
)
def test_a_broken_system_is_named_with_what_it_breaks(package, name: str, message: str) -> None:
    package(BROKEN, systems={"x": f"broken_plugin:{name}"})
    with pytest.raises(ScratchPipeError, match=message):
        simulate(small("x"))


def test_the_name_of_a_built_in_system_is_taken(package) -> None:
    package(BROKEN, systems={"hybrid": "broken_plugin:Fails"})
    with pytest.raises(UsageError, match="hybrid of the package broken-plugin has the name of a"):
        simulate(small("hybrid"))


def test_a_kind_of_part_that_cannot_be_loaded_is_named_with_its_package(package) -> None:
    package("", parts={"mine": "broken_plugin:Mine"})
    with pytest.raises(UsageError, match=r"scratchpipe\.parts: broken_plugin:Mine"):
        part_kinds()


def test_a_package_cannot_replace_a_system_that_is_there(package) -> None:
    package("", systems={"hybrid": "broken_plugin:Mine"})
    assert systems.names().count("hybrid") == 1
    assert systems.summary("hybrid").startswith("No cache")


@pytest.mark.parametrize("group", ["parts", "policies", "systems"])
def test_a_changed_plugin_asks_for_new_points(package, tmp_path: Path, group: str) -> None:
    from simulator.sweep.keys import code_version

    package("a = 1", **{group: {"mine": "broken_plugin:Mine"}})
    code_version.cache_clear()
    before = code_version()
    (tmp_path / "broken_plugin.py").write_text("a = 2", encoding="utf-8")
    code_version.cache_clear()
    assert code_version() != before
    code_version.cache_clear()


def test_a_policy_that_cannot_be_loaded_is_named_with_its_package(package) -> None:
    from simulator.caches import policy_class, policy_names
    from simulator.caches.policies.base import _outside

    package("", policies={"mine": "broken_plugin:Mine"})
    _outside.cache_clear()
    assert "mine" in policy_names()
    with pytest.raises(UsageError, match=r"mine of the package broken-plugin cannot be loaded"):
        policy_class("mine")
    _outside.cache_clear()
