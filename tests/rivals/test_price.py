"""What machines of rivals cost: hosts, GPUs and cards are in the price, or there is none."""

from __future__ import annotations

import pytest
from rivalry import simulated

from simulator.hardware.catalogue import load_machine
from simulator.results.finishing import finished_points
from simulator.sweep.candidates import candidate

NETWORKED = ("bagpipe_p3", "herald_100g")


def test_a_price_is_that_of_all_hosts() -> None:
    """Ten hosts of 3.06; eight eighths of a p3dn.24xlarge and a c5n.18xlarge."""
    prices = [load_machine(name).price_usd_per_hour for name in NETWORKED]
    assert prices == pytest.approx([10 * 3.06, 8 * 31.212 / 8 + 3.888])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("p3_2xlarge", "host.gpu.count=8"),
        ("p3_2xlarge", "host.gpu.part=h100_sxm5_80gb"),
        ("p3_2xlarge", "host.accelerator=hotline_card"),
        ("bagpipe_p3", "hosts.trainer.count=16"),
        ("bagpipe_p3", "hosts.server.count=2"),
    ],
)
def test_other_hosts_gpus_and_cards_are_not_had_for_the_same_price(name: str, change: str) -> None:
    changes = [change]
    if "accelerator" in change:
        changes.append("host.accelerator_link={part: pcie3_x16, join: [cpu, accelerator]}")
    assert load_machine(name, changes).price_usd_per_hour is None
    assert load_machine(name, [*changes, "price_usd_per_hour=9.5"]).price_usd_per_hour == 9.5


def test_numbers_of_parts_leave_the_price_as_it_is() -> None:
    assert load_machine("p3_2xlarge", ["host.cpu.cores=16"]).price_usd_per_hour == 3.06


@pytest.mark.parametrize("name", ["hotline_v100", "ssd_v100"])
def test_nobody_says_what_a_reconstructed_machine_costs(name: str) -> None:
    assert load_machine(name).price_usd_per_hour is None


@pytest.mark.parametrize(
    ("entry", "platform", "price"),
    [
        ("scratchpipe", "p3_2xlarge", 3.06),
        ("hugectr_hybrid", "p3_16xlarge", 24.48),
        ({"name": "bagpipe", "look_ahead": 3}, "bagpipe_p3", 30.6),
        ("herald", "herald_100g", 35.1),
        ("hotline", {"base": "hotline_v100", "price_usd_per_hour": 7.2}, 7.2),
    ],
)
def test_dollars_of_a_billion_samples_are_price_by_time_over_samples(
    entry: object, platform: object, price: float
) -> None:
    (result,) = simulated(entry, platform=platform, cache={"fraction": 0.9}).values()
    (finished,) = finished_points([result.point], [result])
    us = result.metrics["iteration_time_us"]
    assert candidate(finished).usd_per_billion == pytest.approx(price / 3.6e9 * us / 256 * 1e9)
