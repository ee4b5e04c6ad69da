"""The fit: its reading of files, and that it predicts sizes that it has not seen."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from simulator.calibration.blocks import BLOCKS
from simulator.calibration.calibrate import Entries, calibrate, points_in
from simulator.calibration.fit import Rules, fit_blocks
from simulator.calibration.points import Point
from simulator.calibration.rig import Rig
from simulator.calibration.sockets import link_of, with_key
from simulator.calibration.tables import pool, read_rows
from simulator.config.catalogue import load_named
from simulator.errors import UsageError
from simulator.hardware.catalogue import load_machine

MEASURED = Path(__file__).parents[2] / "experiments" / "validation" / "microbenchmarks"


def rig() -> Rig:
    return Rig(
        load_machine("h200"),
        load_named("operators", "tuned"),
        load_named("models", "default"),
    )


def test_every_fitted_number_exists_in_the_configuration() -> None:
    full = rig()
    for block in BLOCKS:
        for parameter in block.parameters:
            assert parameter.low <= parameter.start <= parameter.high
            full.changed({parameter.path: parameter.start})


def test_no_number_is_fitted_twice_by_software_that_shows_it() -> None:
    """Instructions of row kernels are told from L2's bandwidth where they take longer than it."""
    for name, shown in (("tuned", "gpu.l2_bandwidth"), ("observed", "gpu.pool_line_time")):
        software = load_named("operators", name)
        fitted = [
            parameter.path
            for block in BLOCKS
            if block.when is None or block.when(software)
            for parameter in block.parameters
        ]
        assert len(fitted) == len(set(fitted))
        ends = {path.rpartition(".")[2] for path in fitted}
        assert {"l2_bandwidth", "pool_line_time"} & ends == {shown.rpartition(".")[2]}


def test_hosts_are_pooled_by_their_geometric_mean(tmp_path: Path) -> None:
    (tmp_path / "micro_plan.csv").write_text(
        "slots,n_lookups,misses,ms\n10,5,1,2.0\n10,5,1,8.0\n20,5,1,3.0\n"
    )
    rows = read_rows(tmp_path, "micro_plan.csv")
    found = pool("micro_plan.csv", rows, lambda row: (row["slots"],), "ms")
    assert found["10",].value == pytest.approx(4.0)
    assert found["10",].spread == pytest.approx(4.0)
    assert found["20",].spread == 1.0


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "micro_plan.csv").write_text("slots,ms\n10,2.0\n")
    with pytest.raises(UsageError, match=r"micro_plan\.csv: no column n_lookups, misses"):
        read_rows(tmp_path, "micro_plan.csv")


@pytest.mark.parametrize("bad", ["", "fast", "0", "-1", "nan", "inf"])
def test_a_time_that_is_no_time_is_an_error(tmp_path: Path, bad: str) -> None:
    (tmp_path / "micro_plan.csv").write_text(f"slots,n_lookups,misses,ms\n10,5,1,{bad}\n")
    config, model = load_machine("h200"), load_named("models", "default")
    with pytest.raises(UsageError, match="number above 0"):
        points_in(tmp_path, config, model)


CPU_HEAD = "op,impl,dim,threads,n_rows,dist,ms,note\n"
VICTIM_HEAD = "victim,background,ms,slowdown,bg_h2d_GBps,bg_d2h_GBps\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "micro_cpu.csv",
            f"{CPU_HEAD}gather,own,128,16,1000,uniform,1,\ngather,own,128,99,1000,uniform,1,\n",
        ),
        (
            "contention.csv",
            f"{VICTIM_HEAD}hbm gather,none,1,1,,\ncpu gather 9x512B 99t,none,1,1,,\n",
        ),
    ],
)
def test_rows_on_more_threads_than_cores_are_refused(tmp_path: Path, name: str, text: str) -> None:
    """Whatever says how many: a column, or the name of what ran."""
    (tmp_path / name).write_text(text)
    machine, model = load_machine("h200"), load_named("models", "default")
    expected = rf"{name}: line 3: 99 threads on a machine with 16 cores: .* machine\.json"
    with pytest.raises(UsageError, match=expected):
        points_in(tmp_path, machine, model)


def test_a_folder_without_measurements_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has none of micro_cpu\.csv"):
        points_in(tmp_path, load_machine("h200"), load_named("models", "default"))


def write_copies(folder: Path, source: Rig) -> None:
    """A `micro_pcie.csv` as the link of `source` would give it."""
    with (folder / "micro_pcie.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["op", "mem", "bytes", "ms_event", "note"])
        for size in (4096, 65536, 1 << 20, 1 << 24, 1 << 28):
            for op in ("h2d", "d2h"):
                copy = source.copy(op == "h2d", size)
                writer.writerow([op, "pinned", size, source.alone_ms((copy,), 512), ""])


def test_a_known_link_is_found_again_and_the_rest_is_kept(tmp_path: Path) -> None:
    known = {"platform.host.pcie.latency": 4_000_000.0, "platform.host.pcie.flow_control": 0.11}
    write_copies(tmp_path, rig().changed(known))
    base = load_machine("h200")
    entries = Entries(base, load_named("operators", "tuned"), load_named("models", "default"))
    found = calibrate(tmp_path, entries)
    assert found.values == pytest.approx(known, rel=1e-2)
    assert found.platform.socket("gpu") == base.socket("gpu")
    assert found.platform.socket("cpu") == base.socket("cpu")
    assert "micro_pcie.csv, 10 points" in found.sources["platform.host.pcie.latency"]


def test_numbers_that_are_integers_stay_integers() -> None:
    latency = link_of(with_key(rig().config, "host.pcie.latency", 1234.6)).latency
    assert latency == 1235
    assert isinstance(latency, int)


def test_a_machine_without_the_sockets_is_refused() -> None:
    with pytest.raises(UsageError, match=r"gh200 has no platform\.host\.pcie"):
        link_of(load_machine("gh200"))


def left_out_errors(operators: tuple[str, ...], needed: int) -> list[float]:
    """Error of each point under a fit that has not seen it."""
    start = rig()
    points = points_in(MEASURED, start.config, start.model)
    own = [p for p in points if p.operator in operators and large(p)]
    assert len(own) >= needed
    errors = []
    for point in own:
        others = [other for other in own if other is not point]
        fitted = fit_blocks(start, others, Rules("take")).rig
        errors.append(abs(point.model(fitted) / point.measured - 1.0))
    return sorted(errors)


def large(point: Point) -> bool:
    """Copies of a few kilobytes are all latency, and their order in size is noise."""
    return not point.operator.startswith("copies") or int(point.condition.split()[1]) >= 1 << 18


@pytest.mark.parametrize(
    ("operators", "needed"), [(("copies",), 18), (("gpu sort",), 30), (("mlp fp32",), 7)]
)
def test_a_size_that_was_left_out_of_the_fit_is_predicted(
    operators: tuple[str, ...], needed: int
) -> None:
    errors = left_out_errors(operators, needed)
    assert errors[len(errors) // 2] < 0.05
    assert errors[-1] < 0.15
