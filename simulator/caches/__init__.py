"""Cache replay: which rows hit, are fetched and are evicted. Exact, compiled, without time."""

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
from simulator.caches.row_filter import row_hits

__all__ = [
    "BatchPlan",
    "BatchUse",
    "Policy",
    "PolicySetup",
    "Pool",
    "PoolPlan",
    "PoolPlanner",
    "SplitBatch",
    "StaticSplit",
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
