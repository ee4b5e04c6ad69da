"""`list systems` and `explain SYSTEM`: what a class says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator import systems
from simulator.cli import main
from simulator.engine.explanation import explain_system


@pytest.fixture
def text() -> dict[str, str]:
    return {name: "\n".join(explain_system(name).lines()) for name in systems.names()}


def test_every_system_is_explained_by_its_class_and_its_program(text: dict[str, str]) -> None:
    for name, told in text.items():
        kind = systems.system_class(name)
        assert told.startswith(f"{name}: ")
        for title in ("Stages", "Replay", "Consistency", "Parameters", "Unknown"):
            assert f"\n{title}\n" in told
        for parameter in kind.parameters.model_fields:
            assert f"  {parameter}: " in told
        assert "not shown" not in told, name
        for stage in explain_system(name).stages:
            assert f"  {stage.name} (" in told


def test_systems_are_listed_in_groups_with_their_source(scratchpipe) -> None:
    lines = scratchpipe("list", "systems").stdout.splitlines()
    titles = [line for line in lines if not line.startswith(" ")]
    assert titles[:2] == ["The study:", "Baselines:"]
    first = lines[lines.index("Baselines:") + 1]
    assert first.split()[0] == "hybrid"
    assert "HPCA 2021" in lines[lines.index("Baselines:") + 2]


def test_a_system_is_explained_on_the_command_line(scratchpipe) -> None:
    told = scratchpipe("explain", "straw_man").stdout
    assert "ISCA 2022" in told
    assert "plan [Plan at gpu]" in told
    assert "scratchpipe hazards --system straw_man" in told


POLICY = '''
"""How it goes about it."""

from simulator.caches import Policy


class MostRecent(Policy):
    """Evicts what was used last."""

    name = "mru"

    def __init__(self, setup):
        pass

    def used(self, pool, use):
        pass

    def victims(self, pool, count):
        return pool.slot_key[:count]
'''


def test_a_policy_is_explained_by_name_and_out_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(POLICY)
    for name, told in (
        ("sieve", "SIEVE."),
        (f"{file}:MostRecent", "Evicts what was used last.\n\nHow it goes about it."),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["explain", name])
        assert not ended.value.code
        out = capsys.readouterr().out
        assert out.startswith(f"{name}: a replacement policy\n")
        assert told in out
    with pytest.raises(SystemExit) as ended:
        main(["explain", f"{file}:Nothing"])
    assert ended.value.code == 2
    assert "has no Nothing: it has MostRecent" in capsys.readouterr().err
