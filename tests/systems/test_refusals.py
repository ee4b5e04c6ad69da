"""What systems refuse: models that do not fit, parts that are not there, keys without a use."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from jobs import job, machine, system

from simulator import systems
from simulator.caches import Window
from simulator.config.expand import expand
from simulator.engine import load_experiment, simulate
from simulator.errors import CapacityError, ConfigError
from simulator.traces.cuts import Parts

# what does not fit


def test_41_gb_of_tables_on_one_v100_are_refused_with_the_arithmetic() -> None:
    with pytest.raises(CapacityError) as caught:
        system("gpu_only", "v100_p3")
    text = str(caught.value)
    for share in ("80,000,000 rows x 512 B", "40.96 GB", "32 GB", "p3_16xlarge", "at least 2"):
        assert share in text


def test_twice_the_tables_on_the_rented_machine_are_refused_with_the_arithmetic() -> None:
    """The default model's 40.96 GB fit the 61 GiB of a p3.2xlarge, 81.92 GB do not."""
    assert system("hybrid", "p3_2xlarge")
    with pytest.raises(CapacityError) as caught:
        system("hybrid", "p3_2xlarge", rows_per_table=(20_000_000,) * 8)
    for share in ("81.92 GB", "65.5 GB"):
        assert share in str(caught.value)


def test_the_fullest_gpu_counts_with_its_mlps_and_vectors() -> None:
    """Eight equal tables on eight GPUs: one each, 5.12 GB, and twice MLPs and pooled vectors."""
    with pytest.raises(CapacityError) as caught:
        system("gpu_only", rows_per_table=(40_000_000,) * 8)
    assert "1 table 20.48 GB" in str(caught.value)
    assert "on 8 x NVIDIA V100 SXM2" in str(caught.value)


def test_a_cache_beyond_the_gpu_is_refused() -> None:
    """0.8125 of 80 million rows."""
    with pytest.raises(CapacityError, match=r"65,000,000 cache slots.*33.28 GB.*32 GB"):
        system("scratchpipe", cache={"fraction": 0.8125})


@pytest.mark.parametrize("name", ["hybrid", "static_cache", "straw_man", "scratchpipe"])
def test_tables_beyond_the_cpu_are_refused(name: str) -> None:
    with pytest.raises(CapacityError) as caught:
        system(name, rows_per_table=(10**8,) * 8)
    assert str(caught.value) == (
        "8 tables with 800,000,000 rows of 512 B need 409.6 GB but cpu.dram of v100_p3 holds "
        "256 GB: use a smaller model or a platform with more memory"
    )


def test_tables_that_fit_to_the_byte_are_let_through() -> None:
    assert system("hybrid", rows_per_table=(62_500_000,) * 8).gpus == 1
    with pytest.raises(CapacityError):
        system("hybrid", rows_per_table=(62_500_001, *(62_500_000,) * 7))


def test_optimizer_state_takes_room() -> None:
    with pytest.raises(CapacityError, match=r"1024 B need 327\.7 GB"):
        system("hybrid", optimizer="adagrad", rows_per_table=(40_000_000,) * 8)


def test_a_window_beyond_the_cache_is_refused_where_the_trace_says_so() -> None:
    asked: list[tuple[Window, str, int]] = []

    def need(window: Window, scope: str, depth: int, parts: Parts) -> tuple[int, ...]:
        assert not parts
        asked.append((window, scope, depth))
        return (200_000,) * 8

    tiny = replace(job(cache={"fraction": 0.01}), window_need=need)
    with pytest.raises(CapacityError, match=r"cache\.fraction 0\.01 gives 100,000 slots"):
        systems.create("scratchpipe", tiny, machine())
    assert asked == [(Window(3, 2), "table", 6)]
    grows = replace(tiny, cache=tiny.cache.model_copy(update={"if_too_small": "grow"}))
    grown = systems.create("scratchpipe", grows, machine())
    assert (grown.replay.slots, grown.replay.grown) == ((200_000,) * 8, True)
    fitting = systems.create("straw_man", tiny, machine())
    assert fitting.replay.grown is False, "one mini-batch fits"


# through experiments


def experiment(tmp_path: Path, systems_line: str, platform: str = "v100_p3") -> Path:
    file = tmp_path / "experiment.yaml"
    file.write_text(
        f"""config_version: 1
platform: {platform}
model: {{base: default, tables: 2, rows_per_table: 4000, batch_size: 32}}
trace: {{kind: uniform}}
systems: {systems_line}
cache: {{fraction: 0.9}}
run: {{batches: 1, warmup_batches: 0}}
"""
    )
    return file


@pytest.mark.parametrize("name", ["hybrid", "static_cache", "straw_man", "scratchpipe", "gpu_only"])
def test_a_part_that_the_machine_lacks_is_an_error_at_the_entry(tmp_path: Path, name: str) -> None:
    """The machine has a CPU alone. Line 5, after `systems: [`."""
    file = experiment(tmp_path, f"[{name}]", "{base: v100_p3, host: {gpu: null, pcie: null}}")
    with pytest.raises(ConfigError) as caught:
        simulate(load_experiment(file))
    (problem,) = caught.value.problems
    assert problem.where == f"{file}:5:11"
    assert problem.key == f"systems.{name}"
    assert "needs a gpu, but v100_p3* has none (it has cpu)" in problem.message


@pytest.mark.parametrize(
    ("host", "remedy"),
    [("cpu: {count: 2}", "name a machine with one"), ("count: 2", r"set platform\.hosts=1")],
)
def test_two_processors_are_too_many_for_systems_of_one(
    host: str, remedy: str, tmp_path: Path
) -> None:
    file = experiment(tmp_path, "[hybrid]", f"{{base: v100_p3, host: {{{host}}}}}")
    message = rf":5:11.*hybrid uses one cpu, but v100_p3\* has 2: {remedy}"
    with pytest.raises(ConfigError, match=message):
        simulate(load_experiment(file))


@pytest.mark.parametrize(
    ("platform", "remedy"),
    [
        ("p3_16xlarge", r"at least 3 of the 8 GPUs of p3_16xlarge \(gpus: 3\)"),
        ("p3_2xlarge", "name a platform with at least 3 such GPUs"),
    ],
)
def test_tables_beyond_a_gpu_ask_for_gpus_that_are_there(
    platform: str, remedy: str, tmp_path: Path
) -> None:
    file = experiment(tmp_path, "[{name: gpu_only, gpus: 1}]", platform)
    changes = ["model.tables=8", "model.rows_per_table=10_000_000"]
    with pytest.raises(ConfigError, match=remedy):
        simulate(load_experiment(file, changes))


def test_a_remedy_names_no_platform_that_is_as_small(tmp_path: Path) -> None:
    """163.84 GB on V100 of 16 GiB ask for ten: more than a p3.16xlarge has."""
    file = experiment(tmp_path, "[gpu_only]", "p3_16xlarge")
    changes = ["model.tables=8", "model.rows_per_table=40_000_000"]
    with pytest.raises(ConfigError, match=r"at least 10 such GPUs for this system, or more hosts"):
        simulate(load_experiment(file, changes))


def test_tables_that_vectors_leave_no_room_for_ask_for_fewer_samples(tmp_path: Path) -> None:
    file = experiment(tmp_path, "[{name: gpu_only, gpus: 8}]", "p3_16xlarge")
    changes = ["model.tables=8", "model.rows_per_table=30_000_000", "model.batch_size=8_000_000"]
    with pytest.raises(ConfigError, match=r"lower model\.batch_size \(8,000,000\)"):
        simulate(load_experiment(file, changes))


def test_a_model_that_does_not_fit_is_an_error_at_the_entry(tmp_path: Path) -> None:
    file = experiment(tmp_path, "[scratchpipe]")
    huge = ["model.rows_per_table=500_000_000"]
    with pytest.raises(
        CapacityError, match=r"experiment\.yaml:5:11: systems\.scratchpipe: 2 tables"
    ):
        simulate(load_experiment(file, huge))


UNUSED = {
    "hybrid": ["cache: {fraction: 0.5}", "pipeline: {mode: lockstep}"],
    "static_cache": ["cache: {policy: lfu}", "pipeline: {mode: lockstep}"],
    "straw_man": ["pipeline: {mode: lockstep}"],
    "gpu_only": ["cache: {fraction: 0.5}", "pipeline: {cpu_pool: split}"],
}
USED = {
    "hybrid": ["gpus: 1"],
    "static_cache": ["gpus: 1", "cache: {fraction: 0.5}", "cache: {scope: table}"],
    "straw_man": ["gpus: 1", "cache: {policy: lfu}", "cache: {fraction: 0.5}"],
    "scratchpipe": ["gpus: 1", "cache: {policy: lfu}", "pipeline: {mode: lockstep}"],
    "gpu_only": ["gpus: 1"],
}


@pytest.mark.parametrize(("name", "key"), [(n, key) for n, keys in UNUSED.items() for key in keys])
def test_a_key_that_a_system_does_not_use_is_refused_at_its_place(
    tmp_path: Path, name: str, key: str
) -> None:
    file = experiment(tmp_path, f"[{{name: {name}, {key}}}]")
    with pytest.raises(ConfigError) as caught:
        load_experiment(file)
    (problem,) = caught.value.problems
    inner = key.find("{") + 1
    assert problem.where == f"{file}:5:{len(f'systems: [{{name: {name}, ') + inner + 1}"
    assert problem.message == f"is not used by {name}"
    assert problem.key.startswith(f"systems[0].{key.partition(':')[0]}")
    assert f"{name} uses" in problem.hint


@pytest.mark.parametrize(("name", "key"), [(n, key) for n, keys in USED.items() for key in keys])
def test_a_key_that_a_system_uses_is_taken(tmp_path: Path, name: str, key: str) -> None:
    file = experiment(tmp_path, f"[{{name: {name}, {key}}}]")
    assert len(expand(load_experiment(file))) == 1


def test_more_gpus_than_tables_are_refused_with_their_position(tmp_path: Path) -> None:
    file = experiment(tmp_path, "[{name: scratchpipe, gpus: 8}]", "p3_16xlarge")
    with pytest.raises(ConfigError) as caught:
        simulate(load_experiment(file))
    assert str(caught.value).startswith(
        f"{file}:5:11: systems.scratchpipe: scratchpipe spreads 2 tables over 8 GPUs, so that 6 "
    )


@pytest.mark.parametrize("name", ["gpu_only", "scratchpipe", "hybrid"])
def test_more_gpus_than_the_machine_has_are_refused_with_their_position(
    tmp_path: Path, name: str
) -> None:
    file = experiment(tmp_path, f"[{{name: {name}, gpus: 9}}]", "p3_16xlarge")
    with pytest.raises(ConfigError) as caught:
        load_experiment(file)
    column = len(f"systems: [{{name: {name}, gpus: ") + 1
    assert str(caught.value).startswith(
        f"{file}:5:{column}: systems[0].gpus: is 9: p3_16xlarge has 8"
    )
