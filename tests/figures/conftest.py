"""A small run, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.cli import main

SMALL = """
config_version: 1
name: small
description: a small model, two localities <&>
platform: v100_p3
model: {base: default, rows_per_table: 4000, tables: 2, batch_size: 32}
trace: {kind: locality, locality: medium}
systems: [hybrid, static_cache, straw_man, scratchpipe]
cache: {fraction: 0.9, prefill: hot}
run: {batches: 4, warmup_batches: 3}
sweep: {trace.locality: [random, high]}
"""


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of `SMALL`."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.yaml").write_text(SMALL)
    with pytest.raises(SystemExit) as ended:
        main(["run", str(folder / "small.yaml"), "--out", str(folder / "run")])
    assert not ended.value.code
    return folder / "run"
