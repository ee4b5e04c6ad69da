"""A against B: points paired by what they share, signed, beside the published error."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.errors import UsageError
from simulator.results.against import METRICS, against, shared_columns


def row(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "label": "scratchpipe",
        "system": "scratchpipe",
        "locality": "medium",
        "sweep": "",
        "policy": "lru",
        "platform": "h200_own",
        "model": "default",
        "operators": "h200_own_operators",
        "calibrated": "yes",
        "bottleneck": "cpu.dram",
        "published_error": 0.05,
        **dict.fromkeys(METRICS, 100.0),
    }
    return base | changes


def test_pairs_are_signed_and_beside_the_error_of_both() -> None:
    error = 0.05
    for factor, beyond in ((1 - 3 * error, True), (1 + error, False)):
        other = row(policy="fifo", iteration_time_us=100.0 * factor, bottleneck="pcie.up")
        found = against([row()], [other], ("system", "locality"))
        pair = next(each for each in found.pairs if each.metric == "iteration_time_us")
        assert pair.change == pytest.approx(factor - 1)
        assert pair.error == 2 * error
        assert pair.beyond_error is beyond
        assert found.differ_in == ("policy",)
        assert found.bottlenecks == (("scratchpipe, medium", "cpu.dram", "pcie.up"),)
        assert found.as_dict()["pairs"][0]["change"] == pair.change


def test_of_a_machine_that_nobody_measured_no_error_is_told() -> None:
    found = against([row()], [row(platform="dgx_a100", published_error=None)], ("system",))
    assert {pair.error for pair in found.pairs} == {None}
    assert {pair.beyond_error for pair in found.pairs} == {None}


def test_models_of_one_name_are_told_apart_by_their_sizes() -> None:
    sizes = {"batch_size": 2048, "gpus": 1, "cache_fraction": 0.1}
    found = against([row(**sizes)], [row(**sizes | {"batch_size": 256, "gpus": 2})], ("system",))
    assert found.differ_in == ("batch_size", "gpus")


def test_what_one_run_has_alone_is_counted() -> None:
    first = [row(), row(system="hybrid")]
    second = [row(), row(system="straw_man"), row(system="static_cache")]
    found = against(first, second, ("system",))
    assert found.unpaired == (1, 2)
    assert {pair.point for pair in found.pairs} == {"scratchpipe"}
    missing = against([row(misses_per_batch=None)], [row()], ("system",))
    assert "misses_per_batch" not in {pair.metric for pair in missing.pairs}


@pytest.mark.parametrize(
    ("columns", "second", "wanted"),
    [
        (("colour",), [row()], "points are matched by label, system"),
        (("locality",), [row(), row(system="hybrid")], "2 points of the second run.*add system"),
        (("system",), [row(system="hybrid", label="hybrid")], "they share locality"),
    ],
)
def test_what_cannot_be_paired_is_refused_with_a_remedy(
    columns: tuple[str, ...], second: list[dict[str, Any]], wanted: str
) -> None:
    with pytest.raises(UsageError, match=wanted):
        against([row()], second, columns)


def test_shared_columns_are_those_with_the_same_values() -> None:
    first, second = [row(), row(locality="high")], [row(locality="high"), row(policy="fifo")]
    assert "policy" not in shared_columns(first, second)
    assert {"system", "locality"} <= set(shared_columns(first, second))


def test_software_that_differs_with_the_machine_is_told() -> None:
    ours = row(platform="v100_p3", operators="paper")
    theirs = row(platform="h200", operators="tuned")
    (line,) = against([ours], [theirs], ("system",)).warnings
    assert line.startswith("software differs as well as machines: v100_p3 with paper operators")
    assert "h200 with tuned operators" in line
    assert against([ours], [row(platform="h200", operators="paper")], ("system",)).warnings == ()
    assert against([ours], [ours | {"operators": "tuned"}], ("system",)).warnings == ()
