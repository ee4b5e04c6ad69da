"""The cheapest points that hold a throughput, the fastest within a budget, or the smallest cache
that is almost the fastest.

A space is what an experiment spans: systems, platforms and swept values. A small one is simulated
whole; of a large one as many points as are asked for, those that Optuna proposes. Finished points
are kept in a run directory, and a search that was stopped goes on from them: the same seed asks
for the same points again, and those that are there are not simulated.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from simulator.config.expand import Space
from simulator.config.experiment import Experiment
from simulator.config.point import PointConfig, canonical_json
from simulator.engine.drawn import DrawnResult
from simulator.errors import CapacityError, ConfigError, UsageError
from simulator.results.finished import FinishedPoints
from simulator.results.manifest import manifest_of
from simulator.results.record import PointResult
from simulator.results.store import POINTS, abandon_run, discard_results, write_run
from simulator.source import text_hash
from simulator.sweep.candidates import (
    Candidate,
    Found,
    Refused,
    Wanted,
    candidate,
    ranked,
)
from simulator.sweep.ownership import require_owned
from simulator.sweep.proposals import Picks, Proposals
from simulator.sweep.run_directory import under_way
from simulator.sweep.runner import Sweep, Workers, run_sweep
from simulator.sweep.watch import SweepProgress

__all__ = ["MOST_POINTS", "TRIALS", "Search", "optimize", "search_folder"]

MOST_POINTS = 1_000
"""Points of a space that are all simulated where nothing else is said."""
TRIALS = 200
"""Points of a larger one that are simulated where nothing else is said."""
_PATIENCE = 50
"""Batches in a row that propose nothing new before a search is over."""

Report = Callable[[SweepProgress], None]


@dataclass(frozen=True)
class Search:
    """How a space is searched, and where what was found is kept."""

    trials: int | None = None
    """Points to simulate; None: all of a small space, `TRIALS` of a large one."""
    seed: int = 0
    out_dir: Path | None = None
    """The run directory; None keeps nothing."""
    workers: Workers = field(default_factory=Workers)
    progress: Report | None = None
    replace: bool = False
    """Remove what the run directory holds first, whosever it is."""

    def count(self, size: int) -> int:
        """Points to simulate of a space of `size`."""
        if self.trials is None:
            return size if size <= MOST_POINTS else TRIALS
        return min(size, self.trials)


@dataclass
class _Looked:
    """Points that were looked at, by what names them."""

    results: dict[str, PointResult] = field(default_factory=dict)
    refused: dict[str, Refused] = field(default_factory=dict)


def optimize(experiment: Experiment, wanted: Wanted, search: Search | None = None) -> Found:
    """Simulate the points that `experiment` spans, or as many as are asked for, and rank them.

    Raises `UsageError` where nothing is asked for, for machines without a price, and where a large
    space is to be searched and the package for that is missing, and for a run directory of another
    space; `ConfigError` for mistakes in the experiment; whatever but a misfit ends a simulation.
    """
    search = search or Search()
    _require_a_question(wanted)
    space = Space(experiment)
    _require_prices(space, wanted)
    began = time.perf_counter()
    if search.out_dir is None:
        looked = _Searching(space, wanted, search, None).looked()
    else:
        facts = {
            "name": experiment.name,
            "config_hash": _space_hash(experiment),
            "points": search.count(space.size),
            "experiment": experiment.model_dump(mode="json"),
        }
        if not search.replace:
            require_owned(search.out_dir, experiment, space=True)
        store = FinishedPoints(search.out_dir / POINTS)
        with under_way(facts, search.out_dir, store):
            if search.replace:
                discard_results(search.out_dir)
                store.clear()
            looked = _Searching(space, wanted, search, store).looked()
            if looked.results:
                result = DrawnResult(experiment.name, tuple(looked.results.values()))
                manifest = manifest_of(experiment, result, time.perf_counter() - began)
                write_run(result, manifest, search.out_dir)
            else:
                store.remove_if_empty()
                abandon_run(search.out_dir)
    whole = search.count(space.size) >= space.size
    candidates = [candidate(result) for result in looked.results.values()]
    return ranked(candidates, list(looked.refused.values()), wanted, (space.size, whole))


def search_folder(experiment: Experiment) -> Path:
    """Where a search keeps its points unless told otherwise: `runs/NAME-optimize-HASH`."""
    return Path("runs") / f"{experiment.name}-optimize-{_space_hash(experiment)[:8]}"


def _space_hash(experiment: Experiment) -> str:
    return text_hash((), canonical_json(experiment.model_dump(mode="json")))


class _Searching:
    """One search of one space."""

    def __init__(
        self, space: Space, wanted: Wanted, search: Search, store: FinishedPoints | None
    ) -> None:
        self._space, self._wanted = space, wanted
        self._search, self._store = search, store
        self._count = search.count(space.size)
        self._looked = _Looked()
        self._names: dict[Picks, str] = {}

    def looked(self) -> _Looked:
        """All points of the space, or those that were proposed."""
        if self._count >= self._space.size:
            points = map(self._point, self._space.every())
            self._simulate([point for point in points if point is not None])
        else:
            self._follow_proposals()
        return self._looked

    def _follow_proposals(self) -> None:
        proposals = Proposals(self._space.axes, self._wanted, self._search.seed)
        idle = 0
        while self._done < self._count and idle < _PATIENCE:
            before = self._done
            asked = proposals.ask(at_random=idle > 0)
            points = [self._point(picks) for _, picks in asked]
            self._simulate([point for point in points if point is not None][: self._left])
            for trial, picks in asked:
                proposals.tell(trial, self._outcome(picks))
            idle = 0 if self._done > before else idle + 1

    @property
    def _done(self) -> int:
        return len(self._looked.results) + len(self._looked.refused)

    @property
    def _left(self) -> int:
        return self._count - self._done

    def _point(self, picks: Picks) -> PointConfig | None:
        """A point that was not looked at yet; None where it was, or its values do not go
        together."""
        if picks in self._names:
            return None
        try:
            point = self._space.point(picks)
        except ConfigError as error:
            name = self._names[picks] = str(picks)
            first = [0] * (len(picks) - 1) + [picks[-1]]
            self._looked.refused[name] = (self._space.point(first), _first_line(error))
            return None
        name = self._names[picks] = _name(point)
        known = name in self._looked.results or name in self._looked.refused
        return None if known else point

    def _outcome(self, picks: Picks) -> Candidate | None:
        result = self._looked.results.get(self._names[picks])
        return None if result is None else candidate(result)

    def _simulate(self, points: Sequence[PointConfig]) -> None:
        if not points:
            return
        sweep = run_sweep(
            points,
            workers=self._search.workers,
            store=self._store,
            progress=self._report,
            stop_if_misconfigured=False,
        )
        self._take(sweep)

    def _take(self, sweep: Sweep) -> None:
        for failed in sweep.failed:
            kind = failed.failure.kind
            if not issubclass(kind, ConfigError | CapacityError):
                raise kind(failed.failure.message)
            why = failed.failure.message.partition("\n")[0]
            self._looked.refused[_name(failed.point)] = (failed.point, why)
        for result in sweep.result:
            self._looked.results[_name(result.point)] = result

    def _report(self, now: SweepProgress) -> None:
        """Of this batch as a part of the whole search."""
        report = self._search.progress
        if report is None:
            return
        share = (self._done + now.share * min(now.points, self._left)) / max(1, self._count)
        report(replace(now, done=self._done + now.done, points=self._count, share=share))


def _name(point: PointConfig) -> str:
    return f"{point.system.label} {point.key()}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _require_a_question(wanted: Wanted) -> None:
    """Raise `UsageError` where nothing is asked for, or two things at once."""
    if wanted == Wanted():
        raise UsageError(
            "say what is wanted: --throughput SAMPLES_PER_S, --budget-usd-per-hour USD, or "
            "--within 5% (of the fastest)"
        )
    if None not in (wanted.throughput, wanted.within):
        raise UsageError("--throughput and --within both say how fast it must be: give one of them")


def _require_prices(space: Space, wanted: Wanted) -> None:
    """Raise `UsageError` for machines, and workers of a load stage, that nobody says a price of;
    where the smallest cache is wanted, prices may be missing of all."""
    points = list(space.one_at_a_time())
    unpriced_all = all(point.platform.price_usd_per_hour is None for point in points)
    if unpriced_all and wanted.within is not None and wanted.budget is None:
        return
    for load in (point.load for point in points):
        if load is not None and load.usd_per_hour is None:
            where = "load.profile" + ("" if load.device is None else ".in_storage")
            raise UsageError(
                f"nobody says what the {load.workers} workers of load cost: give --set "
                f"{where}.price_usd_per_hour=0.085 (of one)"
            )
    unpriced = dict.fromkeys(
        point.platform.name for point in points if point.platform.price_usd_per_hour is None
    )
    if unpriced:
        raise UsageError(
            f"nobody says what {', '.join(unpriced)} costs: give --set "
            "platform.price_usd_per_hour=3.06, or systems with platforms that have a price "
            "(`scratchpipe machine show NAME`)"
        )
