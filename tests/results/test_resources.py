"""Names of resources for people, and how many of them become one column."""

import pytest

from simulator.results.resources import (
    KINDS,
    family_of,
    fold,
    headings,
    spread,
    title_of,
    title_of_all,
)


@pytest.mark.parametrize(
    ("resource", "title"),
    [
        ("cpu.dram", "CPU DRAM"),
        ("cpu.cores", "CPU cores"),
        ("pcie.down", "PCIe down"),
        ("gpu.sm", "GPU SMs"),
        ("nvlink.out", "NVLink out"),
        ("gpu5.hbm", "HBM of gpu5"),
        ("cpu0.dram", "DRAM of cpu0"),
        ("host3.gpu5.hbm", "HBM of host3.gpu5"),
        ("host3.nvlink.gpu5.out", "NVLink out of host3.gpu5"),
        ("host3.pcie5.down", "PCIe down of host3.pcie5"),
        ("nic0.tx", "NIC tx of nic0"),
        ("near_memory.adders", "Near memory adders"),
        ("ssd_link.up", "SSD link up"),
        ("latency", "latency"),
    ],
)
def test_a_title_says_what_and_where(resource, title):
    assert title_of(resource) == title


def test_a_family_is_a_name_without_its_numbers():
    assert family_of("host3.nvlink.gpu5.out") == "host.nvlink.gpu.out"
    assert family_of("gpu5.hbm") == family_of("gpu12.hbm") == family_of("gpu.hbm") == "gpu.hbm"
    assert family_of("gpu.hbm2e.3") == "gpu.hbm2e.3", "digits inside a word are no number"


@pytest.mark.parametrize(
    ("names", "title"),
    [
        (["gpu.hbm"], "GPU HBM"),
        (["gpu3.hbm"], "HBM of gpu3"),
        ([f"gpu{n}.hbm" for n in range(16)], "gpu0..gpu15 HBM"),
        (
            [f"host{h}.gpu{n}.hbm" for h in range(2) for n in range(8)],
            "host0..host1 gpu0..gpu7 HBM",
        ),
        ([f"host1.gpu{n}.hbm" for n in range(8)], "host1 gpu0..gpu7 HBM"),
        (["gpu0.hbm", "gpu3.hbm"], "gpu0..gpu3 HBM (2)"),
        (["host0.pcie0.down", "host0.pcie1.down"], "host0 pcie0..pcie1 down"),
    ],
)
def test_many_resources_have_one_title(names, title):
    assert title_of_all(names) == title


def rows(*shares, name="gpu{}.hbm", kind="hbm"):
    return [
        {"resource": name.format(n), "kind": kind, "utilization": share, "bytes": None}
        for n, share in enumerate(shares)
    ]


def test_a_fold_holds_every_resource_of_its_family():
    folded = fold([*rows(0.1, 0.3), *rows(0.5, name="cpu.dram", kind="dram")])
    assert list(folded) == ["gpu.hbm", "cpu.dram"]
    assert folded["gpu.hbm"].values("utilization") == [0.1, 0.3]
    assert folded["gpu.hbm"].values("bytes") == []
    assert (folded["cpu.dram"].family, folded["cpu.dram"].kind) == ("cpu.dram", "dram")
    assert folded["gpu.hbm"].used
    assert not fold(rows(0.0, 0.0))["gpu.hbm"].used


def test_points_on_different_machines_share_a_column():
    one, eight = fold(rows(0.5, name="gpu.hbm")), fold(rows(*[0.5] * 8))
    assert headings([one, one]) == {"gpu.hbm": "GPU HBM"}
    assert headings([eight, eight]) == {"gpu.hbm": "gpu0..gpu7 HBM"}
    assert headings([one, eight]) == {"gpu.hbm": "GPU HBM"}


def test_a_spread_is_one_text_where_all_read_the_same():
    assert spread([0.2, 0.2], "{:.1f}".format, "x") == "0.2x"
    assert spread([0.21, 0.19], "{:.1f}".format) == "0.2"
    assert spread([0.1, 0.6, 0.2], "{:.1f}".format, "%") == "0.1/0.3/0.6%"
    assert spread([], str) == "-"


def test_every_kind_has_a_title_and_a_meaning():
    for name, kind in KINDS.items():
        assert kind.name == name
        assert kind.title
        assert kind.meaning
