"""Cache replay: which rows hit, are fetched and are evicted. Exact, compiled, without time.

What a policy or a replay of another package needs is here: flows and facts, the replays to start
from, and what a `Policy` is made of.
"""

from simulator.caches.facts import (
    COLD,
    HELD,
    HIT,
    LOOKUP,
    MISS,
    UNIQUE,
    VICTIM,
    WRITE_BACK,
    BatchFacts,
    Flow,
)
from simulator.caches.plan.base import BatchPlan, PoolPlan, Window
from simulator.caches.plan.planning import build_planners, plan_batches, pool_rows, window_need
from simulator.caches.plan.scratchpad import PoolPlanner
from simulator.caches.plan.static_split import SplitBatch, StaticSplit, static_splits
from simulator.caches.policies.base import (
    BatchUse,
    Policy,
    PolicySetup,
    Pool,
    policy_class,
    policy_names,
)
from simulator.caches.replays import Kept, PlannedReplay, Replay, StaticReplay, UniqueReplay
from simulator.caches.row_filter import row_hits

__all__ = [
    "COLD",
    "HELD",
    "HIT",
    "LOOKUP",
    "MISS",
    "UNIQUE",
    "VICTIM",
    "WRITE_BACK",
    "BatchFacts",
    "BatchPlan",
    "BatchUse",
    "Flow",
    "Kept",
    "PlannedReplay",
    "Policy",
    "PolicySetup",
    "Pool",
    "PoolPlan",
    "PoolPlanner",
    "Replay",
    "SplitBatch",
    "StaticReplay",
    "StaticSplit",
    "UniqueReplay",
    "Window",
    "build_planners",
    "plan_batches",
    "policy_class",
    "policy_names",
    "pool_rows",
    "row_hits",
    "static_splits",
    "window_need",
]
