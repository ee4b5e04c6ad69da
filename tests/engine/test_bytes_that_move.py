"""Where every byte goes: down and up the link, in and out of the memories."""

from __future__ import annotations

import pytest
from small import ALL, PIPELINED, SERIAL, UNIFORM, base, devices, simulated, stages

from simulator.results.record import PointResult

LOOKUPS, POOLED, DENSE = 512 * 4 * 20, 512 * 4 * 512, 512 * 14 * 4


def test_bytes_of_hybrid_are_those_of_its_vectors_and_rows() -> None:
    """Down: pooled vectors and dense features. Up: gradients. DRAM: both, and the passes of the
    `tuned` software: ids, rows that miss the last level, pooled vectors owned and written; pairs
    read, owned and written; gradients once and each unique row read and written."""
    result = base()["hybrid"]
    size, unique = devices(result, "bytes"), result.metrics["unique_rows_per_batch"]
    assert size["pcie.down"] == pytest.approx(POOLED + DENSE)
    assert size["pcie.up"] == pytest.approx(POOLED)
    passes = LOOKUPS * 4 + 2 * POOLED + 3 * LOOKUPS * 8 + LOOKUPS * 4 + 2 * unique * 512
    rows = size["cpu.dram"] - passes - 2 * POOLED - DENSE
    assert unique * 512 * 0.5 < rows < LOOKUPS * 512, (
        "repeated rows hit, and some of the last batch"
    )


def rows_that_move(result: PointResult) -> dict[str, float]:
    """Bytes of a cached system under `tuned`: ids of 4 B, lists that the GPU writes itself.

    Streaming stores own nothing: two bytes of DRAM for each byte of a row that is gathered, one
    for each that is scattered, for devices have left it in the cache (5 MB, more than all)."""
    missed, back = (result.metrics[f"{n}_per_batch"] for n in ("misses", "dirty_victims"))
    assert back * 512 < 5e6
    down = missed * 512 + LOOKUPS * 4 + DENSE
    up = back * 512 + (missed + back) * 4
    dram = (2 * missed + back) * 512 + down + up
    return {"pcie.down": down, "pcie.up": up, "cpu.dram": dram}


def test_bytes_of_straw_man_are_those_of_the_rows_that_move() -> None:
    result = base()["straw_man"]
    size, expected = devices(result, "bytes"), rows_that_move(result)
    assert {name: size[name] for name in expected} == pytest.approx(expected)


def test_staged_rows_beyond_what_devices_fill_come_from_dram() -> None:
    """1 MB of the victims is found, the rest is read: a third pass of DRAM for their bytes."""
    host = {"cpu": {"device_cache": "1 MB"}}
    result = simulated("straw_man", platform={"base": "v100_p3", "host": host})["straw_man"]
    back = result.metrics["dirty_victims_per_batch"] * 512
    assert back > 1.1e6
    expected = rows_that_move(result)["cpu.dram"] + back - 1e6
    assert devices(result, "bytes")["cpu.dram"] == pytest.approx(expected, abs=64)


@pytest.mark.parametrize("name", PIPELINED)
def test_bytes_of_a_pipeline_are_those_of_the_rows_that_move(name: str) -> None:
    """But for the mini-batches that are on their way when the clock starts and stops."""
    result = simulated(*ALL, run={"batches": 12}, **UNIFORM)[name]
    size, expected = devices(result, "bytes"), rows_that_move(result)
    assert {name: size[name] for name in expected} == pytest.approx(expected, rel=0.03)


@pytest.mark.parametrize("name", [*SERIAL, "box"])
def test_bytes_of_the_stages_are_those_of_the_resources(name: str) -> None:
    result = base()[name]
    for kind in ("dram", "hbm", "link", "gpu_link"):
        by_stage = sum(stages(result, f"{kind}_bytes").values())
        by_resource = sum(row["bytes"] for row in result.devices if row["kind"] == kind)
        assert by_stage == pytest.approx(by_resource, rel=1e-9), kind


def test_ranks_without_a_table_use_resources_of_their_own_alike() -> None:
    """Four tables on eight GPUs."""
    for column in ("bytes", "busy_us", "energy_mj"):
        values = devices(base()["box"], column)
        for name, value in values.items():
            if name.startswith(("gpu4.", "pcie4")):
                alike = [
                    values[name.replace("gpu4", f"gpu{k}").replace("pcie4", f"pcie{k}")]
                    for k in range(4, 8)
                ]
                assert alike == [value] * 4, name


def test_bytes_over_the_mesh_are_those_that_are_sent_and_relayed() -> None:
    """Of the seven others four are neighbours: three in seven parts take two links at least. Rings
    relay nothing: 2 x 7/8 of the gradients of 13-64-128 and 138-64-1 out of each."""
    sent = stages(base()["box"], "gpu_link_bytes")
    direct = POOLED * 7 / 8  # those of four GPUs with a table each
    assert 10 / 7 * direct <= sent["all_to_all"] <= 2 * direct
    assert sent["all_to_all_back"] == sent["all_to_all"]
    bottom, top = 13 * 64 + 64 * 128, 138 * 64 + 64
    gradients = 4 * (bottom + top + 64 + 128 + 64 + 1)
    assert sent["sort_update"] == pytest.approx(8 * 2 * 7 / 8 * gradients, rel=1e-3)


def test_bytes_that_leave_dram_are_those_of_all_links() -> None:
    size = devices(base()["box"], "bytes")
    down = sum(value for name, value in size.items() if name.endswith(".down"))
    assert size["cpu.dram"] == pytest.approx(down)
