"""A run directory, read back: manifest and tables."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import UsageError
from simulator.results.store import MANIFEST

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RunDir", "read_run"]


@dataclass(frozen=True)
class RunDir:
    """What `scratchpipe run` wrote."""

    folder: Path
    manifest: dict[str, Any]

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """One row a point."""
        return self._table("metrics")

    @cached_property
    def stages(self) -> pd.DataFrame:
        """One row a point and stage."""
        return self._table("stages")

    @cached_property
    def timeline(self) -> pd.DataFrame:
        """One row a stage of a mini-batch; empty where no timeline was kept."""
        return self._table("timeline", needed=False)

    def _table(self, name: str, needed: bool = True) -> pd.DataFrame:
        import pandas as pd

        file = self.folder / f"{name}.parquet"
        if not file.is_file():
            if needed:
                raise UsageError(f"{file} is missing: {self.folder} is no complete run directory")
            return pd.DataFrame(columns=["point", "label", "stage", "batch", "start_ps", "end_ps"])
        try:
            return pd.read_parquet(file)
        except (OSError, ValueError) as error:
            raise UsageError(f"{file} cannot be read: {error}") from None


def read_run(folder: Path) -> RunDir:
    """The run directory `folder`; raises `UsageError` where it is none."""
    file = folder / MANIFEST
    if not file.is_file():
        raise UsageError(f"{folder} is not a run directory: it has no {MANIFEST}")
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from None
    if not isinstance(manifest, dict) or "points" not in manifest:
        raise UsageError(f"{file} is not the manifest of a run")
    return RunDir(folder, manifest)
