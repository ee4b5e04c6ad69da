"""Every command, file and snippet of the documentation, run as a reader would."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from outside import ROOT, announce, install

DOCS = ROOT / "docs"
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
FILE = re.compile(r"# file: (\S+)")
RUN = (
    "checkpoints.md",
    "tutorial.md",
    "extending.md",
    "loading.md",
    "memory.md",
    "models.md",
    "serving.md",
    "traces.md",
)
"""Pages that are run from top to bottom."""
_COMMANDS = """
import json, sys
from simulator.cli import main

for arguments in json.loads(sys.argv[1]):
    print("$ scratchpipe", *arguments, flush=True)
    try:
        main(arguments)
    except SystemExit as end:
        if end.code:
            raise
"""
"""Runs commands one after the other, up to the first that fails."""


@pytest.mark.parametrize("page", RUN)
def test_the_page_runs_from_top_to_bottom(page: str, tmp_path: Path) -> None:
    (tmp_path / "docs").symlink_to(DOCS)
    for language, text in blocks(page):
        name = FILE.match(text)
        if name is not None:
            (tmp_path / name[1]).write_text(text, encoding="utf-8")
        elif language == "python":
            _run([sys.executable, "-c", text], tmp_path)
        elif language == "toml":
            announce(tomllib.loads(text)["project"], tmp_path)
        elif language == "console":
            _obey([line.removeprefix("$ ") for line in text.splitlines()], tmp_path)
        else:
            pytest.fail(f"a block that is not run:\n{text}")


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """(language, text) of every block of a page, in order."""
    yield from BLOCK.findall((DOCS / page).read_text(encoding="utf-8"))


def _obey(lines: list[str], folder: Path) -> None:
    """Run the commands of a block; what it would install is put on the path first."""
    commands = []
    for line in lines:
        program, *arguments = shlex.split(line)
        if line.startswith("python -m pip install"):
            if arguments[-1].startswith("./"):
                install(folder / arguments[-1], folder)
            continue
        assert program == "scratchpipe", line
        commands.append(arguments)
    _run([sys.executable, "-c", _COMMANDS, json.dumps(commands)], folder)


def _run(command: list[str], folder: Path) -> None:
    path = os.pathsep.join((str(ROOT), str(folder)))
    environment = os.environ | {"PYTHONPATH": path, "NO_COLOR": "1"}
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


@pytest.mark.parametrize(
    "page", sorted(["README.md", *(f"docs/{p.name}" for p in DOCS.glob("*.md"))])
)
def test_paths_that_a_page_names_are_there(page: str) -> None:
    """`tests/engine/test_fidelity.py`, `devices/cpu.py` in the package, `configs/platforms/`."""
    text = (ROOT / page).read_text(encoding="utf-8")
    package = ROOT / "simulator"
    rooms = {folder.name for folder in (*ROOT.iterdir(), *package.iterdir()) if folder.is_dir()}
    quoted = " ".join(re.findall(r"`([^`\n]+)`", text))
    for path in re.findall(r"(?<![\w./])[a-z_]+/[\w./-]*", quoted):
        if path.split("/")[0] in rooms - {"runs"}:
            folder, _, name = path.rpartition("/")
            module = package / folder / f"{name.partition('.')[0]}.py"  # of `engine/timer.Timed`
            places = (ROOT / path, package / path, module)
            assert any(place.exists() for place in places), f"{page} names {path}"


SMALL = """
config_version: 1
name: small
platform: v100_p3
model: {base: default, tables: 2, rows_per_table: 100000, batch_size: 64}
trace: {kind: uniform}
systems: [hybrid, straw_man]
cache: {fraction: 0.5}
run: {batches: 3, warmup_batches: 2}
sweep: {cache.fraction: [0.5, 0.6]}
"""
STANDS_FOR = {
    "EXPERIMENT.yaml": "small.yaml",
    "SWEEP.yaml": "small.yaml",
    "RUN_DIR": "run",
    "NAME": "hybrid",
    "COLUMN": "speedup_over_hybrid",
}
"""What a reader would put in the place of a word in capitals."""
LONG = {"run": "--dry-run", "reproduce": "--help"}
"""Verbs that take a minute or more, and what shows that they would be obeyed."""


def test_every_command_of_the_readme_is_obeyed(tmp_path: Path) -> None:
    import numpy as np

    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "small.yaml").write_text(SMALL, encoding="utf-8")
    np.save(tmp_path / "ids.npy", np.random.default_rng(0).zipf(1.3, 20_000) % 5_000)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(
        r"^    (?:.*&& )?(scratchpipe .*)$|`(scratchpipe [^`]+)`", text, re.MULTILINE
    )
    commands = [["run", "small.yaml", "--out", "run"]]
    for line in (indented or quoted for indented, quoted in lines):
        _, verb, *words = shlex.split(line.partition("#")[0])
        words = [STANDS_FOR.get(word, word) for word in words]
        commands.append([verb, *words, *LONG.get(verb, "").split()])
    assert len(commands) > 20
    _run([sys.executable, "-c", _COMMANDS, json.dumps(commands)], tmp_path)


def example(page: str, name: str) -> type:
    """The class called `name` out of the snippets of `page`."""
    space: dict[str, object] = {}
    for language, text in blocks(page):
        if language == "python" and f"class {name}" in text:
            exec(text, space)
    defined = space[name]
    assert isinstance(defined, type)
    return defined


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
    from simulator.caches import LOOKUP, UNIQUE, BatchFacts, Flow
    from simulator.config.catalogue import load_named
    from simulator.hardware import Move, build_topology
    from simulator.hardware.catalogue import load_machine
    from simulator.systems import Job

    model = load_named("models", "default")
    machine = build_topology(load_machine("v100_p3"), model.row_bytes)
    job = Job(model, load_named("operators", "paper"))
    system = example("extending.md", "HalfGradients")(job, machine)
    rows = (Flow(327_680, 300_000),)
    stages = {s.name: s for s in system.stages(BatchFacts(0, 2048, {LOOKUP: rows, UNIQUE: rows}))}
    moved = {w.name: w.bytes for s in stages.values() for w in s.operations if isinstance(w, Move)}
    assert moved["gradients_to_cpu"] == 8_388_608 // 2
    assert moved["pooled_to_gpu"] > 8_388_608


@pytest.mark.parametrize("picture", ["machine.svg", "program.svg"])
def test_a_picture_shows_what_the_code_has_now(picture: str, tmp_path: Path) -> None:
    """Its words; how they are drawn may differ between versions of Matplotlib."""
    _run([sys.executable, str(DOCS / "pictures.py"), str(tmp_path)], tmp_path)
    words = [
        re.findall(r">([^<]+)</text>", (folder / picture).read_text(encoding="utf-8"))
        for folder in (DOCS, tmp_path)
    ]
    assert len(words[0]) > 10
    assert words[0] == words[1]
