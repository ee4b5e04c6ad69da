"""Simulates an observed experiment: the same points, on the platform for the machine."""

from __future__ import annotations

from typing import Any

from simulator.config.catalogue import load_named
from simulator.config.expand import expand
from simulator.config.load import parse_experiment
from simulator.engine import known_names, simulate_each
from simulator.errors import UsageError
from simulator.results.record import PointResult

__all__ = ["predict"]


def predict(
    observed: dict[str, Any], platform: str | None, operators: str | None = None
) -> list[PointResult | None]:
    """A result for each observed point, in order; None where the point was not observed.

    `platform` and `operators` replace what the experiment names, but PyTorch's own operators, which
    take Plan alone from `operators`. The pipeline runs in lock-step, as
    it was observed, on as many threads. Raises `UsageError` where the points are not those
    observed, and what a simulation raises.
    """
    file = observed.get("file", "experiment")
    data = _as_observed(observed, platform, operators)
    points = expand(parse_experiment(data, names=known_names(), place=file))
    observed_points = [(point["label"], point["sweep"]) for point in observed["points"]]
    if [(point.system.label, point.sweep_text()) for point in points] != observed_points:
        raise UsageError(
            f"{file}: the points of {observed['name']} are not those that its experiment stands "
            "for: observe it again with this release"
        )
    wanted = [n for n, point in enumerate(observed["points"]) if "error" not in point]
    results: list[PointResult | None] = [None] * len(points)
    for number, outcome in simulate_each([points[n] for n in wanted]):
        if isinstance(outcome, Exception):
            raise outcome
        results[wanted[number]] = outcome
    return results


def _as_observed(
    observed: dict[str, Any], platform: str | None, operators: str | None
) -> dict[str, Any]:
    data = dict(observed["experiment"])
    pipeline, run = data.get("pipeline", {}), data.get("run", {})
    if isinstance(pipeline, dict):  # what is none is a mistake that the experiment's reader tells
        data["pipeline"] = {**pipeline, "mode": "lockstep"}
    if isinstance(run, dict):
        data["run"] = {"cpu_threads": observed["threads"], **run}
    given: dict[str, Any] = {"platform": platform, "operators": operators}
    if data.get("operators") == "stock":
        given["operators"] = None if operators is None else _stock(operators)
    for key in [key for key, value in given.items() if value is not None]:
        data[key] = given[key]
        if isinstance(data.get("systems"), list):
            data["systems"] = [_without(entry, key) for entry in data["systems"]]
    return data


def _stock(operators: str) -> dict[str, Any]:
    """PyTorch's own software, whoever made `operators`, with the Plan of those: what PyTorch has no
    operator for, `observe` does with its own."""
    own = load_named("operators", operators)
    plan = {key: f"{getattr(own.gpu, key)} ps" for key in ("plan_slot_time", "plan_lookup_time")}
    return {"base": "stock", "gpu": plan, "gpu_plan": own.gpu_plan.model_dump()}


def _without(entry: Any, key: str) -> Any:
    """An entry of `systems` without a choice of its own."""
    return {k: v for k, v in entry.items() if k != key} if isinstance(entry, dict) else entry
