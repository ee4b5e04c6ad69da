"""From a mapping to a table and a figure in a notebook."""

from __future__ import annotations

import pytest

from simulator import load_experiment, simulate
from simulator.engine import DrawnResult
from simulator.errors import ConfigError

DATA = {
    "config_version": 1,
    "name": "quick",
    "platform": "v100_p3",
    "model": {"base": "default", "rows_per_table": 4000, "tables": 2, "batch_size": 32},
    "trace": {"locality": "medium"},
    "systems": ["hybrid", "static_cache"],
    "run": {"batches": 2, "warmup_batches": 1},
}


@pytest.fixture(scope="module")
def result() -> DrawnResult:
    return simulate(load_experiment(DATA, ["cache.fraction=0.2,0.4"]))


def test_a_mapping_is_an_experiment(result: DrawnResult) -> None:
    assert [row["cache_fraction"] for row in result.metrics()] == [None, 0.2, None, 0.4]
    with pytest.raises(ConfigError, match="batch_sise"):
        load_experiment(DATA | {"model": {"base": "default", "batch_sise": 1}})
    assert "sweep" not in DATA


def test_notebooks_show_tables(result: DrawnResult) -> None:
    html = result._repr_html_()
    assert html.startswith("<pre")
    assert "static_cache" in html
    assert "samples/s" in html


def test_a_result_draws_itself_against_what_was_swept(result: DrawnResult) -> None:
    (axes,) = result.plot().axes
    assert axes.get_xlabel() == "Cache (% of rows)"
    (axes,) = result.plot("system", "energy_mj", width="column").axes
    assert axes.get_ylabel() == "Energy (J a mini-batch)"
    (alone,) = simulate(load_experiment(DATA)).plot().axes
    assert alone.get_xlabel() == "Label"
