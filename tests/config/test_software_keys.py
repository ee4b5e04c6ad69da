"""Keys of operator profiles and parts that the software and the machine share: what they may be."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.config.catalogue import load_named, names
from simulator.config.operators import OperatorProfile
from simulator.engine import known_names, parse_experiment
from simulator.errors import ConfigError
from simulator.hardware.catalogue import load_machine, load_part

PROFILES = names("operators")
GPUS = ("v100_sxm2_32gb", "a100_sxm4_80gb", "h100_sxm5_80gb", "h200_sxm5_141gb")
CPUS = ("xeon_e5_2698v4", "xeon_e5_2686v4_pair", "xeon_8480c", "epyc_7742", "grace_72")


def experiment(**operators: Any) -> OperatorProfile:
    """The profile of an experiment: `tuned` with other keys."""
    data = {
        "config_version": 1,
        "platform": "v100_p3",
        "model": {"base": "default"},
        "trace": {"kind": "uniform"},
        "systems": ["hybrid"],
        "operators": {"base": "tuned", **operators},
    }
    from simulator.config.expand import expand

    (point,) = expand(parse_experiment(data, names=known_names()))
    return point.operators


@pytest.mark.parametrize(
    ("key", "value"),
    [("id_bytes", 8), ("lists", "copied"), ("cold_list", "compacted"), ("skip_time", "2 ns")],
)
def test_a_profile_may_have_other_lists(key: str, value: Any) -> None:
    changed, base = experiment(**{key: value}), load_named("operators", "tuned")
    assert getattr(changed, key) == {"2 ns": 2000}.get(value, value)
    assert getattr(changed, key) != getattr(base, key)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("id_bytes", 2),
        ("id_bytes", "8 B"),
        ("lists", "posted"),
        ("cold_list", "sorted"),
        ("skip_time", 2),
        ("skip_time", "2 B"),
        ("skip_time", "-1 ns"),
    ],
)
def test_a_value_that_a_profile_cannot_have_is_refused_with_its_key(key: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"operators\.{key}"):
        experiment(**{key: value})


@pytest.mark.parametrize("key", ["submission", "collective", "pool_line_time", "update_line_time"])
def test_times_of_a_gpus_software_are_times(key: str) -> None:
    assert getattr(experiment(gpu={key: "3 ns"}).gpu, key) == 3000
    with pytest.raises(ConfigError, match=rf"operators\.gpu\.{key}"):
        experiment(gpu={key: 3})


def test_a_row_costs_no_instructions_a_line_unless_it_says_so() -> None:
    profile = load_named("operators", "tuned")
    assert profile.sort.line_time == 0
    assert profile.gather.line_time == 667


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_says_which_lists_its_software_has(name: str) -> None:
    profile = load_named("operators", name)
    fused = not profile.gpu.kernels_per_table
    assert (profile.lists, profile.cold_list) == (
        ("mapped", "holes") if name == "tuned" else ("copied", "compacted")
    )
    compiled = name == "tuned" or name.startswith("hugectr")
    assert profile.id_bytes == (4 if compiled else 8)
    assert profile.gpu.submission == 0 if compiled else profile.gpu.submission > 0
    assert fused == (name not in ("paper", "stock"))


# parts


def test_devices_may_fill_nothing_of_a_cache() -> None:
    """Without direct cache access; a cache of nothing is none for the cores themselves."""
    cpu = load_machine("v100_p3", ["host.cpu.device_cache=0 B"]).socket("cpu").part
    assert cpu.device_cache == 0  # type: ignore[attr-defined]
    for key in ("core_cache", "last_level_cache"):
        with pytest.raises(ConfigError, match=rf"host\.cpu\.{key}"):
            load_machine("v100_p3", [f"host.cpu.{key}=0 B"])
    with pytest.raises(ConfigError, match=r"host\.cpu\.device_cache"):
        load_machine("v100_p3", ["host.cpu.device_cache=-1 B"])


@pytest.mark.parametrize(
    "change",
    [
        "host.cpu.page_fault_lock=1.5",
        "host.cpu.memory_path.duplex=-0.1",
        "host.cpu.memory_path.sharpness=0.5",
        "host.gpu.sms=0",
        "host.gpu.threads_per_sm=0",
        "host.pcie.outstanding_reads=0",
        "host.pcie.read_request=-1",
        "host.pcie.queue=0 B",
    ],
)
def test_what_no_machine_has_is_refused_with_its_key(change: str) -> None:
    key = change.partition("=")[0].replace(".", r"\.")
    with pytest.raises(ConfigError, match=key):
        load_machine("v100_p3", [change])


@pytest.mark.parametrize("key", ["gemm_efficiency", "interference", "staging_hits"])
def test_keys_of_mechanisms_that_are_gone_are_unknown(key: str) -> None:
    socket = {"gemm_efficiency": "gpu", "interference": "pcie", "staging_hits": "cpu"}[key]
    with pytest.raises(ConfigError, match=rf"host\.{socket}\.{key}: unknown key"):
        load_machine("v100_p3", [f"host.{socket}.{key}=1"])


@pytest.mark.parametrize("name", GPUS)
def test_every_gpu_has_rates_for_each_precision_that_it_has_a_peak_for(name: str) -> None:
    gpu: Any = load_part(name)
    peaks, rates = gpu.peak.model_dump(), gpu.products.model_dump()
    assert {p for p, peak in peaks.items() if peak} == {p for p, rate in rates.items() if rate}


@pytest.mark.parametrize("name", CPUS)
def test_devices_fill_less_than_the_last_level_cache(name: str) -> None:
    cpu: Any = load_part(name)
    assert 0 <= cpu.device_cache < cpu.last_level_cache


@pytest.mark.parametrize(("platform", "gbps"), [("v100_p3", 12.2269), ("a100", 26.4258)])
def test_reads_over_a_link_go_no_faster_than_their_requests_allow(
    platform: str, gbps: float
) -> None:
    """32 x 512 B / 1.34 us, 64 x 512 B / 1.24 us."""
    link: Any = load_machine(platform).socket("pcie").part
    assert link.outstanding_bandwidth / 1e9 == pytest.approx(gbps, rel=1e-4)
    assert link.outstanding_bandwidth < link.read_bandwidth


def test_the_library_of_collectives_is_a_name_or_that_with_changes() -> None:
    tuned = load_named("operators", "tuned").collectives
    assert tuned == load_named("collectives", "nccl_2_28")
    named = experiment(collectives={"base": "nccl_2_28", "blocks": 16}).collectives
    over = experiment(collectives={"blocks": 16}).collectives
    assert (named.blocks, over.blocks, tuned.blocks) == (16, 16, 24)
    assert named.protocols == over.protocols == tuned.protocols
    tree = experiment(collectives={"algorithms": {"all_reduce": "tree"}}).collectives
    assert tree.algorithms == {"all_reduce": "tree"}
    assert load_named("operators", "hugectr_2022").collectives.without == ("switch",)
    assert load_named("operators", "hugectr_2023").collectives.without == ()


@pytest.mark.parametrize(
    ("collectives", "message"),
    [
        ("nccl_2_8", 'operators.collectives: is "nccl_2_8": not in the catalogue'),
        ({"blocks": 0}, r"operators\.collectives\.blocks"),
        ({"algorithms": {"all_reduce": "star"}}, r"operators\.collectives\.algorithms"),
        ({"algorithms": {"all_to_none": "ring"}}, r"operators\.collectives\.algorithms"),
        ({"without": ["star"]}, r"operators\.collectives\.without"),
        ({"protocols": {"ll": {"share": 1.5}}}, r"operators\.collectives\.protocols\.ll\.share"),
        ({"base": "nccl_2_28", "blokcs": 3}, r"operators\.collectives\.blokcs"),
    ],
)
def test_a_library_that_cannot_be_is_refused_with_its_key(collectives: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        experiment(collectives=collectives)
