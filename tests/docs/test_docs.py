"""Every command, file and snippet of the documentation, run as a reader would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
NOT_RUN = ("python -m pip",)
"""Installing is what the test environment has done already."""


@pytest.mark.parametrize("page", ["tutorial.md", "extending.md"])
def test_the_page_runs_from_top_to_bottom(page: str, tmp_path: Path) -> None:
    for language, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        if language == "yaml":
            name = re.match(r"# file: (\S+)", text)
            assert name, text
            (tmp_path / name[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            _run([sys.executable, "-c", text], tmp_path)
        elif language == "console":
            for line in text.splitlines():
                command = line.removeprefix("$ ")
                if not command.startswith(NOT_RUN):
                    _run(_command(command), tmp_path)


def _command(line: str) -> list[str]:
    program, *arguments = shlex.split(line)
    assert program == "scratchpipe", line
    return [sys.executable, "-c", "from simulator.cli import main; main()", *arguments]


def _run(command: list[str], folder: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command[-3:]}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", sorted(p.name for p in DOCS.glob("*.md")))
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", (DOCS / page).read_text(encoding="utf-8")):
        assert (DOCS / target).exists(), f"{page} links to {target}"


def test_links_of_the_readme_lead_somewhere() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target
    assert "python -m pip install -e . && scratchpipe run" in text
    assert "python -m pip install -e '.[test]' && python -m pytest" in text


def example(page: str, name: str) -> type:
    """The class called `name` out of the snippets of `page`."""
    space: dict[str, object] = {}
    for language, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        if language == "python" and f"class {name}" in text:
            exec(text, space)
    found = space[name]
    assert isinstance(found, type)
    return found


def test_the_policy_of_the_page_plans_without_breaking_the_window(monkeypatch) -> None:
    import numpy as np

    from simulator.caches import PoolPlanner, Window
    from simulator.caches.plan import scratchpad

    policy = example("extending.md", "MostRecent")
    monkeypatch.setattr(scratchpad, "policy_class", lambda _: policy)
    planner = PoolPlanner("mru", 50, 20, Window(1, 1))
    rng = np.random.default_rng(0)
    batches = [rng.choice(50, 5, replace=False) for _ in range(40)]
    plans = []
    for number, ids in enumerate(batches):
        planner.load(ids)
        if number:
            plans.append(planner.plan())
    assert sum(len(plan.victim_rows) for plan in plans) > 0
    for i, plan in enumerate(plans):
        held = {int(row) for ids in batches[max(0, i - 1) : i + 2] for row in ids}
        assert not held & set(plan.victim_rows.tolist())


def test_the_system_of_the_page_halves_its_gradients() -> None:
    from simulator.config.catalogue import load_named
    from simulator.systems import BatchCounts, Context

    system = example("extending.md", "HalfGradients")(
        Context(
            load_named("models", "default"),
            load_named("operators", "paper"),
            load_named("platforms", "v100_p3"),
        )
    )
    stages = {s.name: s for s in system.stages(BatchCounts(0, 327_680, 300_000))}
    assert stages["gradients_to_cpu"].lanes[0][0].bytes == 8_388_608 // 2
