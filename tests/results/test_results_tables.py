"""The data dictionary, and the tables on terminals of 80 and 120 columns."""

import io
import re
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from simulator.config.expand import expand
from simulator.engine import parse_experiment
from simulator.results import dictionary
from simulator.results.dictionary import DEVICES, METRICS, STAGES, TIMELINE
from simulator.results.notes import notes_of
from simulator.results.record import PointResult, Result
from simulator.results.resources import fold, headings

NAMES = [column.name for column in METRICS]
PAGE = Path(__file__).parents[2] / "docs" / "columns.md"


def test_the_page_of_columns_is_up_to_date():
    """Else run: scratchpipe explain --markdown > docs/columns.md"""
    assert PAGE.read_text() == dictionary.markdown()


@pytest.mark.parametrize("columns", [METRICS, STAGES, DEVICES, TIMELINE])
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
    realtime_factor operators speedup_over_hybrid bottleneck_utilization energy_mj"""
    kinds = ("dram", "hbm", "cpu", "gpu", "link", "gpu_link", "network", "drive")
    assert {*asked.split(), *(f"{kind}_utilization" for kind in kinds)} <= names
    assert not {"pool_utilization", "other_utilization"} & names
    moved = {f"{kind}_bytes" for kind in kinds if kind not in ("cpu", "gpu")}
    assert {"stage", "busy_us", "exposed_us", "hidden_us", *moved} <= {c.name for c in STAGES}
    asked = """point label resource device kind bytes busy_us utilization bandwidth_gbps
    share_of_peak energy_mj"""
    assert set(asked.split()) <= {c.name for c in DEVICES}


def test_units_stand_in_the_names():
    for suffix, unit in (("_us", "us"), ("_gbps", "1e9 bytes/s"), ("_s", "s"), ("_ps", "ps")):
        for column in (*METRICS, *STAGES, *DEVICES, *TIMELINE):
            if column.name.endswith(suffix) and not column.name.endswith("_per_s"):
                assert column.unit == unit, column


ONE_GPU = (
    ("cpu.dram", "dram"),
    ("cpu.cores", "cpu"),
    ("pcie.down", "link"),
    ("pcie.up", "link"),
    ("gpu.hbm", "hbm"),
    ("gpu.sm", "gpu"),
    ("nvlink.out", "gpu_link"),
)
SIXTEEN_GPUS = (
    *((f"host{h}.cpu.dram", "dram") for h in range(2)),
    *(
        (f"host{h}.{resource}", kind)
        for h in range(2)
        for g in range(8)
        for resource, kind in (
            (f"gpu{g}.hbm", "hbm"),
            (f"gpu{g}.sm", "gpu"),
            (f"nvlink.gpu{g}.out", "gpu_link"),
            (f"nvlink.gpu{g}.in", "gpu_link"),
            (f"pcie{g}.down", "link"),
            (f"pcie{g}.up", "link"),
            (f"nic{g}.tx", "network"),
        )
    ),
)


def devices_of(shared, resources, slope=0.0):
    """Rows in which the n-th resource of a family is `slope` * n less busy than the first."""
    seen = Counter()
    for name, kind in resources:
        family = re.sub(r"\d", "", name)
        share = 0.876 - slope * seen[family]
        seen[family] += 1
        row = shared | {"resource": name, "device": name.rpartition(".")[0], "kind": kind}
        row |= {"utilization": share, "busy_us": 43210.0 * share}
        if kind not in ("cpu", "gpu"):
            row |= {"bytes": 5e9, "bandwidth_gbps": 123.4, "share_of_peak": share}
        yield row


def rendered(width, sweep=None, resources=ONE_GPU, slope=0.0, **metrics):
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
            "point": point.key(),
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
            "bottleneck": resources[1][0],
        }
        shared = {"point": row["point"], "label": row["label"]}
        devices = list(devices_of(shared, resources, slope))
        outcomes.append(PointResult(point, row | metrics, devices=devices))
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
    for word in ("43.2", "47,396", "12.3x", "99%", "CPU cores", "123", "88%", "NVLink"):
        assert word in text
    if sweep:
        assert "fraction=0.02" in text
        assert "lfu" in text


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("sweep", SWEEPS)
@pytest.mark.parametrize("slope", [0.0, 0.03])
def test_sixteen_gpus_fold_into_a_column_a_family(width, sweep, slope):
    text = rendered(width, sweep, SIXTEEN_GPUS, slope)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    words = text.split()
    assert words.count("host0..host1") == 8, "a heading a family"
    assert "gpu0..gpu7" in words
    assert "HBM" in words
    assert words.count("123") == 7 * text.count("12.3x"), (
        "a bandwidth a point and family that moves"
    )
    if slope:
        assert "43/65/88%" in words, "the least, the mean and the most of sixteen"
        assert "a/b/c: the least, the mean and the most" in text
    else:
        assert "88%" in words
        assert "/" not in text.replace("GB/s", "").replace("samples/s", "")


def test_a_resource_that_nobody_uses_has_no_column():
    idle = [
        {"resource": name, "device": "x", "kind": kind, "utilization": 0.0, "bytes": 0.0}
        for name, kind in ONE_GPU
    ]
    assert headings([fold(idle)]) == {}
    busy = [{**row, "utilization": 0.1} if row["kind"] == "link" else row for row in idle]
    assert list(headings([fold(idle), fold(busy)])) == ["pcie.down", "pcie.up"]


def test_a_run_without_points_has_a_table_too():
    assert repr(Result("tiny")).startswith("tiny: no points")


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


MOVING = {"stationary": False, "misses_trend": -0.127, "victims_per_batch": 5.0}
MOVING |= {"misses_per_batch": 5.0}


@pytest.mark.parametrize("width", [80, 120])
def test_a_cache_that_moves_is_marked(width):
    filled = {"rows_as_filled": 123_456, "cache_start": "hot"}
    text = " ".join(rendered(width, **MOVING, **filled).split())
    assert "scratchpipe ! " in text
    assert "! not stationary: misses change by up to -12.7% over the timed mini-batches; " in text
    assert "up to 123,456 rows of the cache are as it was filled and were never looked up" in text
    assert "looked up: set cache.prefill to steady" in text
    text = " ".join(
        rendered(width, **MOVING, cache_start="planned", cache_start_batches=64).split()
    )
    assert "mini-batches: the trace itself changes, or run.warmup_batches is too small" in text
    assert "free slots" not in text
    filling = MOVING | {"victims_per_batch": 4.0, "cache_start": "empty"}
    assert "missed rows still go into free slots" in " ".join(rendered(width, **filling).split())
    static = MOVING | {"victims_per_batch": None}
    assert "free slots" not in rendered(width, **static)
    for known in (True, None):
        assert "!" not in rendered(width, stationary=known)


@pytest.mark.parametrize(
    ("start", "batches", "note"),
    [
        ("sampled", 0, "start of caches: steady state (sampled)"),
        ("planned", 96, "start of caches: steady state (after 96 untimed mini-batches)"),
        ("hot", 0, "start of caches: hottest rows"),
        ("empty", 0, "start of caches: empty"),
    ],
)
def test_the_start_of_caches_stands_under_the_table(start, batches, note):
    text = rendered(120, cache_start=start, cache_start_batches=batches)
    assert note in " ".join(text.split())
    assert "start of caches" not in rendered(120)


def test_a_range_of_untimed_mini_batches_is_told_from_the_least_to_the_most():
    planned = [{**dict.fromkeys(NAMES), "cache_start": "planned", "cache_start_batches": n}
               for n in (64, 32, 512)]  # fmt: skip
    sampled = {**dict.fromkeys(NAMES), "cache_start": "sampled"}
    assert notes_of([*planned, sampled]) == (
        "start of caches: steady state (sampled), steady state (after 32 to 512 untimed "
        "mini-batches)"
    )


def test_what_a_profile_knows_stands_under_the_table():
    text = " ".join(rendered(120, profile="prefix 0.25", profile_overlap=0.0).split())
    assert "hottest rows known from: the first 25 % of the file" in text
    assert "#" not in text
    text = " ".join(rendered(120, profile="whole", profile_overlap=1.0).split())
    assert "hottest rows known from: the whole file, its timed part included" in text
    assert "scratchpipe # " in text
    assert "# the profile of the hottest rows has counted 100 % of the timed mini-batches" in text
    assert "hottest rows" not in rendered(120, profile="generator", profile_overlap=0.0)


def test_what_is_not_known_is_a_dash():
    text = rendered(80, speedup_over_hybrid=None, lookup_hit_rate=None, bottleneck=None)
    assert "None" not in text
    assert "nan" not in text


@pytest.mark.parametrize(
    ("gpus", "said"), [(7, "2,048 samples on 7 GPUs: 292 or 293 each"), (8, ""), (1, "")]
)
def test_samples_that_gpus_do_not_divide_are_said_once(gpus: int, said: str) -> None:
    text = " ".join(rendered(120, batch_size=2048, gpus=gpus).split())
    assert text.count("uneven shares of a mini-batch:") == bool(said)
    assert said in text


def test_a_policy_that_had_nothing_to_choose_is_told():
    row = dict.fromkeys(NAMES) | {"policy": "lfu", "misses_per_batch": 3.0}
    assert "there lfu had nothing to choose" in notes_of([row | {"victims_per_batch": 0.0}])
    for victims in (None, 2.0):
        assert "nothing to choose" not in notes_of([row | {"victims_per_batch": victims}])
