"""Many cache sizes at once equal one replay each."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from simulator.caches.per_lookup.replaying import ONE_PASS_SIZES, Replay, replay_sizes, replay_trace


@pytest.mark.parametrize("policy", ["lru", "fifo", "belady"])
@pytest.mark.parametrize("sizes", [3, ONE_PASS_SIZES + 3])
def test_sizes_together_equal_sizes_alone(policy: str, sizes: int) -> None:
    rng = np.random.default_rng(3)
    ids = (rng.zipf(1.2, 20_000) % 3_000).astype(np.int64)
    capacities = [1, 5, 20, 100, 400, 900, 1500, 2500, 2999, 10_000][:sizes]
    replay = Replay(policy, 1)
    together = replay_sizes(lambda: [ids[:7000], ids[7000:]], replay, capacities)
    for capacity, found in zip(capacities, together, strict=True):
        alone = replay_trace(lambda: [ids], dataclasses.replace(replay, capacity=capacity))
        assert dataclasses.replace(found, wall_s=0.0) == dataclasses.replace(alone, wall_s=0.0)
