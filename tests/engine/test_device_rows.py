"""From what went through the resources of a machine to their rows and the columns of a point."""

from __future__ import annotations

import pytest

from simulator.engine import load_experiment, simulate
from simulator.engine.measure import Timed, device_rows, use_metrics
from simulator.hardware.demand import Resource, ResourceUse
from simulator.results.record import PointResult

SECOND_PS = 10**12
TIMED = Timed((0, SECOND_PS // 2, SECOND_PS))
"""Two mini-batches in a second."""
RESOURCES = (
    Resource("cpu.dram", "cpu", "dram", peak_bytes_per_s=10**10),
    Resource("cpu.cores", "cpu", "cpu"),
    Resource("cpu.threads", "cpu", "pool"),
    *(Resource(f"gpu{n}.hbm", f"gpu{n}", "hbm", peak_bytes_per_s=10**12) for n in range(2)),
    Resource("nvlink.gpu0.out", "nvlink", "gpu_link", peak_bytes_per_s=10**9),
)


def rows(**busy_ps: float) -> list[dict[str, object]]:
    use = {name.replace("_", "."): ResourceUse(ps, bytes=4e9) for name, ps in busy_ps.items()}
    return device_rows(RESOURCES, use, TIMED, {"cpu.cores": 7.0})


def test_a_row_for_every_resource_used_or_not() -> None:
    dram, cores, *_, link = rows(cpu_dram=0.25 * SECOND_PS, cpu_cores=0.5 * SECOND_PS)
    assert dram == {
        "resource": "cpu.dram",
        "device": "cpu",
        "kind": "dram",
        "bytes": 2e9,
        "busy_us": 125_000.0,
        "utilization": 0.25,
        "bandwidth_gbps": 4.0,
        "share_of_peak": 0.4,
        "energy_mj": None,
    }
    assert "bytes" not in cores, "its memory counts them"
    assert cores["energy_mj"] == 7.0
    assert (link["bytes"], link["utilization"], link["share_of_peak"]) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("resource", ["cpu.cores", "cpu.threads"])
def test_a_resource_without_a_peak_moves_no_bytes(resource: str) -> None:
    (row,) = [row for row in rows(cpu_cores=1.0, cpu_threads=1.0) if row["resource"] == resource]
    assert not {"bytes", "bandwidth_gbps", "share_of_peak"} & set(row)


def test_the_busiest_of_a_kind_is_that_of_the_point() -> None:
    metrics = use_metrics(rows(gpu0_hbm=0.2 * SECOND_PS, gpu1_hbm=0.7 * SECOND_PS, cpu_dram=1.0))
    assert metrics["hbm_utilization"] == 0.7
    assert metrics["gpu_link_utilization"] is None
    assert metrics["drive_utilization"] is None
    assert (metrics["bottleneck"], metrics["bottleneck_utilization"]) == ("gpu1.hbm", 0.7)


def test_below_one_half_latency_is_the_bottleneck() -> None:
    metrics = use_metrics(rows(cpu_dram=0.49 * SECOND_PS))
    assert (metrics["bottleneck"], metrics["bottleneck_utilization"]) == ("latency", 0.49)
    metrics = use_metrics(rows(cpu_dram=0.5 * SECOND_PS))
    assert metrics["bottleneck"] == "cpu.dram"
    metrics = use_metrics(rows())
    assert (metrics["bottleneck"], metrics.get("bottleneck_utilization")) == ("latency", None)


def test_a_pool_is_no_bottleneck() -> None:
    metrics = use_metrics(rows(cpu_threads=0.9 * SECOND_PS, cpu_dram=0.6 * SECOND_PS))
    assert metrics["bottleneck"] == "cpu.dram"
    assert not [name for name in metrics if "pool" in name]


@pytest.fixture(scope="module")
def points(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PointResult]:
    file = tmp_path_factory.mktemp("tiny") / "tiny.yaml"
    file.write_text("""
config_version: 1
platform: v100_p3
model: {base: default, rows_per_table: 4000, tables: 2, batch_size: 32}
trace: {locality: medium}
systems: [hybrid, scratchpipe, {name: gpu_only, platform: p3_16xlarge}]
cache: {fraction: 0.9}
run: {batches: 3, warmup_batches: 2}
""")
    return {point.point.system.name: point for point in simulate(load_experiment(file))}


def test_energies_of_the_resources_add_up_to_that_of_the_point(
    points: dict[str, PointResult],
) -> None:
    for point in points.values():
        energies = [row["energy_mj"] for row in point.devices if row["energy_mj"] is not None]
        gpus = point.metrics["gpus"]
        assert len(energies) == 2 + 2 * gpus, "cores and DRAM, units and HBM of each GPU"
        assert min(energies) > 0
        assert sum(energies) == pytest.approx(point.metrics["energy_mj"], rel=1e-12)


def test_bytes_of_the_stages_are_those_of_the_resources(points: dict[str, PointResult]) -> None:
    """Exact for systems whose stages do not overlap: no stage crosses the end of the window."""
    for name in ("hybrid", "gpu_only"):
        point = points[name]
        for kind in ("dram", "hbm", "link", "gpu_link"):
            stages = sum(row[f"{kind}_bytes"] or 0.0 for row in point.stages)
            devices = sum(row["bytes"] for row in point.devices if row["kind"] == kind)
            assert stages == pytest.approx(devices, rel=1e-9), (name, kind)


def test_rows_name_the_point_and_a_resource_each(points: dict[str, PointResult]) -> None:
    for point in points.values():
        for row in point.devices:
            assert (row["point"], row["label"]) == (point.metrics["point"], point.metrics["label"])
        names = [row["resource"] for row in point.devices]
        assert len(names) == len(set(names))
        assert all(0.0 <= row["utilization"] <= 1.0 for row in point.devices)
    assert "nvlink.out" not in {row["resource"] for row in points["hybrid"].devices}
    links = [row for row in points["gpu_only"].devices if row["kind"] == "gpu_link"]
    assert links[0]["bytes"] > 0
