"""A clean environment with the wheel and what it requires, no checkout and no extra, in an empty
folder: what a user has after `pip install`.

Required packages are linked from the environment of the tests, so that nothing is downloaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator, Sequence
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from simulator._extras import EXTRAS

ROOT = Path(__file__).parents[2]
SMALL = ("--set", "model={base: default, tables: 2, rows_per_table: 2000, batch_size: 16}")
SMALL += ("--set", "run={batches: 2, warmup_batches: 1}", "--set", "cache.fraction=0.9")
SMALL += ("--set", "systems=[hybrid, scratchpipe]", "--set", "sweep={}")


def required(lines: Sequence[str], known: set[str]) -> Iterator[str]:
    """The packages that requirements ask for without extras, and what those require, each once."""
    for requirement in map(Requirement, lines):
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if wanted and requirement.name not in known:
            known.add(requirement.name)
            yield requirement.name
            yield from required(distribution(requirement.name).requires or (), known)


def link(name: str, site: Path) -> None:
    """Put the modules and the metadata of an installed package into the folder `site`."""
    package = distribution(name)
    for top in {file.parts[0] for file in package.files or () if file.parts[0] != ".."}:
        here = site / top
        if not here.exists():
            here.symlink_to(Path(str(package.locate_file(top))))


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment of its own."""
    folder = tmp_path_factory.mktemp("clean")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    install += ["--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for name in required(project["dependencies"], set()):
        link(name, site)
    return python.parent


def scratchpipe(clean: Path, folder: Path, *arguments: str, code: int = 0, **more: str) -> str:
    """What the command prints, run in `folder`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [str(clean / "scratchpipe"), *arguments],
        cwd=folder,
        env=environment | {"NO_COLOR": "1", "COLUMNS": "120"} | more,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_the_shipped_experiment_runs_by_name_and_has_its_data(clean: Path, tmp_path: Path) -> None:
    out = scratchpipe(clean, tmp_path, "run", "quickstart", *SMALL, "--out", "run")
    assert "scratchpipe" in out
    assert (tmp_path / "run" / "metrics.parquet").is_file()
    assert "mlperf_dlrm" in scratchpipe(clean, tmp_path, "list", "models")
    assert "locality" in scratchpipe(clean, tmp_path, "reproduce")
    message = scratchpipe(clean, tmp_path, "report", "run", code=2)
    assert message == (
        "error: a report has figures: matplotlib and jinja2 missing: "
        "python -m pip install 'scratchpipe-sim[figures]'\n"
    )


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        ("figures", ("reproduce", "locality")),
        ("figures", ("whatif", "quickstart", "--out", "charts")),
        ("lab", ("observe", "quickstart", "--device", "cpu")),
        ("distributed", ("run", "quickstart", *SMALL, "--executor", "dask", "--scheduler", "x")),
    ],
)
def test_what_an_extra_brings_is_asked_for_in_one_line(
    clean: Path, tmp_path: Path, extra: str, words: tuple[str, ...]
) -> None:
    out = scratchpipe(clean, tmp_path, *words, code=2)
    (line,) = (line for line in out.splitlines() if line.startswith("error:"))
    assert line.endswith(f"python -m pip install 'scratchpipe-sim[{extra}]'")
    assert EXTRAS[extra][0] in line


def test_every_verb_helps_without_an_extra(clean: Path, tmp_path: Path) -> None:
    code = "from simulator.cli.app import VERBS, _loaded\nfor name in VERBS: _loaded(name)"
    subprocess.run([str(clean / "python"), "-c", code], cwd=tmp_path, check=True)


def test_a_shell_completes_verbs_and_options(clean: Path, tmp_path: Path) -> None:
    for words, wanted in (
        ("scratchpipe rep", {"replay", "report", "reproduce"}),
        ("scratchpipe machine sh", {"show"}),
    ):
        number = str(len(words.split()) - 1)
        asked = {"_SCRATCHPIPE_COMPLETE": "complete_bash", "COMP_WORDS": words}
        out = scratchpipe(clean, tmp_path, COMP_CWORD=number, **asked)
        assert set(out.split()) == wanted


def test_the_command_line_is_imported_in_less_than_a_third_of_a_second() -> None:
    """Of processor time: other work on the machine has no part in it."""
    code = "import simulator.cli.app, time; print(time.process_time())"
    seconds = [
        float(subprocess.check_output([sys.executable, "-c", code], cwd=ROOT)) for _ in range(3)
    ]
    assert min(seconds) < 0.3
