"""The machine file that a calibration writes: differences from its base, with sources."""

from __future__ import annotations

from pathlib import Path

from simulator.calibration.sockets import CPU, GPU, LINK, cpu_of, gpu_of, link_of
from simulator.calibration.write import machine_text
from simulator.cli.calibrate import _from
from simulator.hardware.catalogue import load_machine

VALUES = {
    f"{CPU}.memory_path.random_read": 80.85e9,
    f"{GPU}.products.fp32.batched": 1.5e12,
    f"{GPU}.sort_rate": 78.23e9,
    f"{LINK}.latency": 15_260_000.0,
    "operators.gather.row_time": 7000.0,
}
SOURCES = {path: f"fitted: {path}" for path in VALUES}
FACTS = {f"{CPU}.name": "my processor", f"{CPU}.cores": 6, f"{CPU}.memory.capacity": 1 << 37}


def test_it_names_its_base_and_what_differs(tmp_path: Path) -> None:
    base = load_machine("h200")
    out = tmp_path / "mine.yaml"
    out.write_text(machine_text(base, "h200", VALUES, SOURCES, "mine", FACTS))
    made = load_machine(str(out))
    cpu, gpu, link = cpu_of(made), gpu_of(made), link_of(made)
    assert made.description.startswith("CPU measured: my processor")
    assert (made.name, cpu.name, cpu.cores, link.latency) == ("mine", "my processor", 6, 15_260_000)
    assert cpu.memory_path is not None
    assert cpu.memory_path.random_read == 80_850_000_000
    assert (gpu.sort_rate, gpu.l2_cache) == (78.23e9, gpu_of(base).l2_cache)
    assert "operators" not in out.read_text()


def test_every_number_says_where_it_comes_from_beside_its_part(tmp_path: Path) -> None:
    out = tmp_path / "mine.yaml"
    out.write_text(machine_text(load_machine("h200"), "h200", VALUES, SOURCES, "mine", FACTS))
    cpu, gpu = cpu_of(load_machine(str(out))), gpu_of(load_machine(str(out)))
    assert cpu.sources["memory_path.random_read"] == f"fitted: {CPU}.memory_path.random_read"
    assert gpu.sources["products.fp32.batched"] == f"fitted: {GPU}.products.fp32.batched"
    assert cpu.sources["cores"] == "said by the machine itself"
    assert cpu.memory.sources["capacity"] == "said by the machine itself"
    assert (
        gpu.sources["products.fp32.efficiency"]
        == (gpu_of(load_machine("h200")).sources["products.fp32.efficiency"])
    )


def test_a_base_in_a_file_is_named_from_the_new_file(tmp_path: Path) -> None:
    base = tmp_path / "bases" / "base.yaml"
    base.parent.mkdir()
    base.write_text("base: h200\nname: other\n")
    out = tmp_path / "made" / "mine.yaml"
    out.parent.mkdir()
    reference = _from(out, str(base))
    assert reference == "../bases/base.yaml"
    out.write_text(machine_text(load_machine(str(base)), reference, VALUES, SOURCES, "mine", {}))
    assert link_of(load_machine(str(out))).latency == 15_260_000
