"""Every system is trained or refused before anything runs, with its name, why and what to do."""

from __future__ import annotations

from typing import Any

import pytest
from training import experiment

from simulator.errors import ConfigError, UsageError
from simulator.observe.run import observe
from simulator.systems import names, system_class

pytestmark = pytest.mark.usefixtures("torch_there")

TRAINED = {
    "hybrid",
    "static_cache",
    "straw_man",
    "scratchpipe",
    "gpu_only",
    "cached_embedding",
    "fbgemm_uvm",
    "fbgemm_cached",
}
SHORT = {"bagpipe": {"look_ahead": 2}, "gpu_only": {"gpus": 1}}
"""Keys with which a toy is large enough."""
ANSWERS = {name for name in names() if system_class(name).no_training}


def toy(name: str, **keys: Any) -> Any:
    keys |= SHORT.get(name, {})
    return experiment(
        systems=[{"name": name, **keys}],
        platform=system_class(name).shown_on,
        cache={"fraction": 0.5},
        run={"batches": 4, "warmup_batches": 2, "cpu_threads": 1},
    )


@pytest.mark.parametrize("name", names())
def test_a_system_is_trained_or_refused_with_its_name(name: str) -> None:
    if name in ANSWERS:
        with pytest.raises(ConfigError, match=f"{name} has none of"):
            toy(name)
    elif name in TRAINED:
        (point,) = observe(toy(name), device="cpu", repeats=1).points
        assert not point.error
        assert point.repeats
    else:
        with pytest.raises(UsageError, match=f"leave {name} out of systems, or have hybrid"):
            observe(toy(name), device="cpu", repeats=1)


@pytest.mark.parametrize("threshold", [None, 0, 10**6])
def test_copies_on_one_gpu_are_refused_too(threshold: int | None) -> None:
    """Whatever number of rows has copies, which the trace says and nobody has opened yet."""
    with pytest.raises(UsageError, match="train hugectr_hybrid: it keeps copies of rows"):
        observe(toy("hugectr_hybrid", gpus=1, threshold=threshold), device="cpu", repeats=1)


def test_flexshard_on_one_gpu_has_no_copies() -> None:
    (point,) = observe(toy("flexshard", gpus=1), device="cpu", repeats=1).points
    assert not point.error
