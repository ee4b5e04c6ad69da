"""The check of the `paper` operator profile: shares of a hybrid iteration, published by the lab.

Kwon, Lee and Rhu, Tensor Casting, HPCA 2021, figure 4, read by eye (+-2 points), model RM1, batch
2048. A check, not a target: nothing in the profile is fitted to it, and the tolerance says so.
"""

from __future__ import annotations

import pytest

from simulator.engine import parse_experiment, simulate

PUBLISHED = {
    "gather_reduce": 0.085,
    "expand": 0.33,
    "sort": 0.14,
    "accumulate": 0.26,
    "scatter": 0.18,
}
TOLERANCE = 0.10
"""Ten points: model, server and software version of the figure are not known exactly."""


@pytest.fixture(scope="module")
def shares() -> dict[str, float]:
    experiment = parse_experiment(
        {
            "config_version": 1,
            "platform": "v100_p3",
            "model": "default",
            "trace": {"kind": "uniform"},
            "systems": "hybrid",
            "run": {"batches": 2, "warmup_batches": 0},
        }
    )
    stages = simulate(experiment).stages()
    total = sum(stage["busy_us"] for stage in stages)
    return {stage["stage"]: stage["busy_us"] / total for stage in stages}


@pytest.mark.parametrize("operator", PUBLISHED)
def test_share_of_an_operator_in_a_hybrid_iteration(
    shares: dict[str, float], operator: str
) -> None:
    assert shares[operator] == pytest.approx(PUBLISHED[operator], abs=TOLERANCE)


def test_backward_embedding_work_is_about_ten_times_the_forward_gather(
    shares: dict[str, float],
) -> None:
    backward = sum(shares[name] for name in ("expand", "sort", "accumulate", "scatter"))
    assert 5 < backward / shares["gather_reduce"] < 20
