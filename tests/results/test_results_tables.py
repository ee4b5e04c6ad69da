"""The data dictionary, and the tables on terminals of 80 and 120 columns."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from simulator.config.expand import expand
from simulator.engine import parse_experiment
from simulator.results import dictionary
from simulator.results.dictionary import DEVICES, METRICS, STAGES
from simulator.results.record import PointResult, Result

PAGE = Path(__file__).parents[2] / "docs" / "columns.md"


def test_the_page_of_columns_is_up_to_date():
    """Else run: scratchpipe explain --markdown > docs/columns.md"""
    assert PAGE.read_text() == dictionary.markdown()


@pytest.mark.parametrize("columns", [METRICS, STAGES, dictionary.TIMELINE])
def test_every_column_is_explained_once(columns):
    names = [column.name for column in columns]
    assert len(set(names)) == len(names)
    for column in columns:
        assert column.meaning[0].isupper()
        assert column.meaning.endswith("."), column


def test_the_columns_that_scripts_rely_on():
    names = {column.name for column in METRICS}
    asked = """system policy platform model locality cache_fraction batch_size iteration_time_us
    iteration_time_p50_us iteration_time_p99_us throughput_samples_per_s lookup_hit_rate
    unique_hit_rate unique_rows_per_batch misses_per_batch victims_per_batch bottleneck
    realtime_factor operators speedup_over_hybrid"""
    devices = [
        f"{device.name}_{what}"
        for device in DEVICES
        for what in ("bytes", "bandwidth_gbps", "utilization")
    ]
    assert {*asked.split(), *devices} <= names
    assert {"stage", "busy_us", "exposed_us", "hidden_us"} <= {c.name for c in STAGES}


def test_units_stand_in_the_names():
    for suffix, unit in (("_us", "us"), ("_gbps", "1e9 bytes/s"), ("_s", "s"), ("_ps", "ps")):
        for column in (*METRICS, *STAGES, *dictionary.TIMELINE):
            if column.name.endswith(suffix) and not column.name.endswith("_per_s"):
                assert column.unit == unit, column


def rendered(width, sweep=None, **metrics):
    experiment = {
        "config_version": 1,
        "platform": "v100_p3",
        "model": "default",
        "trace": {"locality": "medium"},
        "systems": ["hybrid", "scratchpipe", {"name": "gpu_only", "platform": "p3_16xlarge"}],
        "sweep": sweep or {},
    }
    outcomes = []
    for point in expand(parse_experiment(experiment)):
        row = {
            "system": point.system.name,
            "label": point.system.label,
            "platform": point.platform.name,
            "model": point.model.name,
            "locality": point.locality,
            "operators": point.operators.name,
            "policy": None if point.system.name == "hybrid" else point.cache.policy,
            "sweep": point.sweep_text(),
            "iteration_time_us": 43210.0,
            "throughput_samples_per_s": 47396.4,
            "speedup_over_hybrid": 12.3,
            "lookup_hit_rate": 0.987,
            "bottleneck": "cpu_cores",
        }
        for device in DEVICES:
            row |= {
                f"{device.name}_bandwidth_gbps": 123.4,
                f"{device.name}_utilization": 1.0,
                f"{device.name}_share_of_peak": 0.876,
            }
        outcomes.append(PointResult(point, row | metrics))
    text = io.StringIO()
    Console(file=text, width=width, no_color=True).print(Result("tiny", tuple(outcomes)))
    return text.getvalue()


SWEEPS = [None, {"cache.fraction": [0.02, 0.04], "cache.policy": ["lru", "lfu"]}]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("sweep", SWEEPS)
def test_nothing_is_cut_off(width, sweep):
    text = rendered(width, sweep, cache_grown=True)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for word in ("43.2", "47,396", "12.3x", "99%", "CPU cores", "123", "88%", "100%", "NVLink"):
        assert word in text
    if sweep:
        assert "fraction=0.02" in text
        assert "lfu" in text


def test_the_title_names_the_operator_profile_and_who_runs_elsewhere():
    text = " ".join(rendered(120).split())
    assert "operator profile paper" in text
    assert "platform v100_p3 (gpu_only p3_16xlarge)" in text


def test_a_swept_profile_stands_in_every_row():
    text = rendered(120, {"operators": ["paper", "tuned"]})
    assert text.count("tuned") >= 3


def test_an_enlarged_cache_is_marked():
    assert "scratchpipe *" in rendered(80, cache_grown=True)
    assert "was enlarged" in rendered(80, cache_grown=True)
    assert "*" not in rendered(80)


def test_what_is_not_known_is_a_dash():
    text = rendered(80, speedup_over_hybrid=None, lookup_hit_rate=None, bottleneck=None)
    assert "None" not in text
    assert "nan" not in text
