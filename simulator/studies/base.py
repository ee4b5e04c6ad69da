"""What a study is, and where studies are found."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from simulator.data import path as data_path
from simulator.errors import UsageError
from simulator.studies.expected import Expected, load_expected

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from simulator.config.experiment import Experiment
    from simulator.results.record import Result

__all__ = ["Inputs", "Module", "Study", "Tables", "find_studies", "study_names"]

Tables = dict[str, "pd.DataFrame"]
EXPECTED = "expected.yaml"
MODULE = "study.py"


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a study makes its tables of: results by the stem of their experiment file, and the
    settings of `expected.yaml`."""

    results: Mapping[str, Result] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


class Module(Protocol):
    """`study.py` of a study."""

    def tables(self, inputs: Inputs) -> Tables:
        """Tidy tables by name."""
        ...

    def figures(self, tables: Tables) -> dict[str, Figure]:
        """Figures, each under the name of the table that it shows."""
        ...

    def readme(self, tables: Tables) -> Tables:
        """The tables of the README by name: headings and cells as text."""
        ...


@dataclass(frozen=True, slots=True)
class Study:
    """A folder of `experiments/`, read."""

    name: str
    """The folder without its number."""
    folder: Path
    expected: Expected
    experiments: Mapping[str, tuple[Experiment, ...]]
    """The variants of each file, by its stem."""

    @property
    def module(self) -> Module:
        """Raises `UsageError` where `study.py` is missing or lacks a function."""
        return _loaded(self.folder / MODULE)


@cache
def _loaded(file: Path) -> Module:
    """The module in `file`, run once in a process; it may import what lies beside it
    (`from .name import ...`)."""
    if not file.is_file():
        raise UsageError(f"{file.parent} is no study: it has no {file.name}")
    spec = importlib.util.spec_from_file_location(
        f"study_{file.parent.name}", file, submodule_search_locations=[str(file.parent)]
    )
    if spec is None or spec.loader is None:
        raise UsageError(f"{file} cannot be loaded as a Python module")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    missing = [name for name in ("tables", "figures", "readme") if not hasattr(module, name)]
    if missing:
        raise UsageError(f"{file} has no function {' and no function '.join(missing)}")
    return cast(Module, module)


def _folders() -> dict[str, Path]:
    """The folder of each study, by name, in order."""
    folders = sorted(
        file.parent for file in data_path("experiments").glob(f"[0-9][0-9]_*/{EXPECTED}")
    )
    return {folder.name[3:]: folder for folder in folders}


def study_names() -> tuple[str, ...]:
    """The names of all studies, in the order of their numbers."""
    return tuple(_folders())


def find_studies(names: Iterable[str]) -> list[Study]:
    """The studies called `names` or by their folders (`all` stands for all), read and checked.

    Raises `UsageError` for an unknown name, `ConfigError` for a file with mistakes.
    """
    folders = _folders()
    called = {folder.name: name for name, folder in folders.items()}
    wanted = [called.get(Path(name).name, name) for name in names]
    unknown = [name for name in wanted if name not in folders and name != "all"]
    if unknown:
        raise UsageError(f"there is no study {unknown[0]!r}: {', '.join(folders)}, or all")
    chosen = [name for name in folders if "all" in wanted or name in wanted]
    return [_read(name, folders[name]) for name in chosen]


def _read(name: str, folder: Path) -> Study:
    from simulator.engine import load_experiment

    files = sorted(file for file in folder.glob("*.yaml") if file.name != EXPECTED)
    expected = load_expected(folder / EXPECTED)
    experiments = {
        file.stem: tuple(
            load_experiment(file, changes) for changes in expected.variants_of(file.stem)
        )
        for file in files
    }
    return Study(name, folder, expected, experiments)
