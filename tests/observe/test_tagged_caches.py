"""Systems whose GPU reaches the host's table over the link: what they train, find and move.

The reference is `hybrid`, whose tables equal NumPy's (`test_observe_training`): on CPU tensors all
sum in one order, so tables agree to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from training import MODEL, experiment, tables_of, trainer_of

from simulator.caches.facts import MISS
from simulator.config.expand import expand
from simulator.errors import InvariantError, UsageError
from simulator.observe.run import observe
from simulator.observe.tagged import Tier

pytestmark = pytest.mark.usefixtures("torch_there")

FOUR_WAYS = {"name": "fbgemm_cached", "label": "four_ways", "ways": 4}
LFU = {"name": "fbgemm_cached", "label": "lfu", "algorithm": "lfu"}
RIVALS = ["fbgemm_uvm", "fbgemm_cached", FOUR_WAYS, LFU]
JAGGED = {"trace": {"kind": "zipf", "alpha": 0.9, "pooling": "poisson"}}
SHARED = {"model": MODEL | {"lookups_per_table": [[1, 3], 2]}}


def cached(**changes: Any) -> Any:
    """The trainer of a cache whose mini-batches have rows without a slot, and rows that leave."""
    changes = {"systems": [FOUR_WAYS], "cache": {"fraction": 0.03}} | changes
    return trainer_of(expand(experiment(**changes))[0])


@pytest.mark.parametrize("fraction", [0.03, 0.3])
@pytest.mark.parametrize("changes", [{}, JAGGED, SHARED], ids=["equal", "jagged", "shared"])
def test_tables_equal_hybrids_to_the_bit(fraction: float, changes: dict[str, Any]) -> None:
    trained = tables_of(systems=["hybrid", *RIVALS], cache={"fraction": fraction}, **changes)
    for label, rows in trained.items():
        assert np.array_equal(rows, trained["hybrid"]), label


def test_the_gpu_misses_what_the_simulator_says() -> None:
    """It finds out by its own tags, mini-batch by mini-batch."""
    trainer = cached()
    counts = trainer.run().counts
    facts = trainer.inputs.facts
    assert [counts[k].misses for k in range(len(facts))] == [f[MISS].rows for f in facts]
    assert any(f["bypass"].rows for f in facts), "some rows find no slot"
    assert any(f["victim"].rows for f in facts), "some rows leave"


def test_a_victim_that_its_mini_batch_uses_is_found_out() -> None:
    trainer = cached()
    trainer.work.tagged.marks.fill_(10**6)  # as if a mini-batch to come had used every slot
    with pytest.raises(InvariantError, match=r"mini-batch 0: .* found no slot in their sets"):
        trainer.run()


def test_rows_without_a_slot_are_read_where_they_lie() -> None:
    import torch

    cache, table = torch.arange(6.0).reshape(3, 2), 10 + torch.arange(8.0).reshape(4, 2)
    tier = Tier(torch.tensor([3, 0, 3, 1]), torch.tensor([2, -1, 2, -1], dtype=torch.int32), table)
    assert tier.entries(cache).tolist() == [[4, 5], [10, 11], [4, 5], [12, 13]]
    with tier.in_one_table(cache) as whole:
        whole += 1
    assert cache.tolist() == [[0, 1], [2, 3], [5, 6]]
    assert table.tolist() == [[11, 12], [13, 14], [15, 16], [16, 17]], "row 3 as it was"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": MODEL | {"optimizer": "adagrad"}}, "--set model.optimizer=sgd"),
        ({"operators": "stock"}, "with fused operators"),
    ],
)
def test_what_is_not_implemented_is_refused(changes: dict[str, Any], message: str) -> None:
    for system in ("fbgemm_uvm", "fbgemm_cached"):
        with pytest.raises(UsageError, match=message):
            observe(experiment(systems=[system], cache={"fraction": 0.3}, **changes), device="cpu")
