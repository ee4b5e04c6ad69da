"""Renews the rows of `experiments/validation/trust.csv` that need no observed iterations, and the
table of the README that the file becomes: `python -m benchmarks.trust [memory caches streams
fidelity micro ...] [--readme]` (no names: all of them, in about ten minutes). It calls tests of the
project, so that it runs in a checkout with what those need: `pip install -e '.[test]'`.

Rows of whole iterations are set by `scratchpipe validate --summary`. What each row checks: `memory`
the bank model against two published simulators; `caches` replays against libCacheSim; `streams` two
streams that share a memory against the bank model; `fidelity` tables of bandwidths and samples
against exact addresses; `micro` micro-benchmarks that a fit did not see.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.validation.numbers import Errors
from simulator.validation.summary import Row, read_summary, summary_text, with_rows

if TYPE_CHECKING:
    from simulator.calibration.points import Residual

ROOT = Path(__file__).resolve().parents[1]
SUMMARY = ROOT / "experiments" / "validation" / "trust.csv"
README = ROOT / "README.md"
NOTHING = "nothing"
TRUTH = "experiments/validation"
MICRO = {"h200": f"{TRUTH}/h200_micro", "h100": f"{TRUTH}/h100_micro"}
"""Measured machines: the micro-benchmarks that those which predict them are fitted to."""
BASE = {"h200": ("h200", f"{TRUTH}/h200_software.yaml"), "h100": ("h100_vm", "observed")}
"""Platform and operator profile that those fits start from."""


def row(what: tuple[str, str, str], fitted: str, errors: Sequence[float], page: str) -> Row:
    """`what`: the kind of number, what it is compared with, what predicts it."""
    summed = Errors.of(errors)
    assert summed is not None, what
    numbers = (summed.n, summed.median, summed.worst, summed.bias)
    return Row(*what, fitted, *numbers, None, None, None, page)


def memory() -> Iterator[Row]:
    """Efficiency and mean latency of every reference point."""
    from tests.hardware.dram.test_memory_reference_points import ROWS, run

    efficiency: dict[str, list[float]] = {}
    latency: dict[str, list[float]] = {}
    for point in ROWS:
        simulator = " ".join(point["simulator"].split()[:2])
        result = run(point)
        error = result.efficiency / float(point["efficiency"]) - 1.0
        efficiency.setdefault(simulator, []).append(error)
        if point["mean_latency_ns"] and result.mean_latency_ns:
            error = result.mean_latency_ns / float(point["mean_latency_ns"]) - 1.0
            latency.setdefault(simulator, []).append(error)
    rules = f"{NOTHING}: data sheets, rules of controllers"
    for kind, errors in (("DRAM bandwidth", efficiency), ("DRAM read latency", latency)):
        for simulator, each in errors.items():
            yield row((kind, simulator, "bank model"), rules, each, "docs/memory.md")


def caches() -> Iterator[Row]:
    """Hits of nine policies at three capacities on Zipf ids."""
    import libcachesim

    from benchmarks.caches import RECORD, THEIRS
    from simulator.caches.per_lookup.base import next_positions, replay_lookups

    rows, ids = 2000, np.random.default_rng(0).zipf(1.2, 100_000) % 2000
    later = next_positions([ids], rows)[0]
    records = np.zeros(len(ids), dtype=RECORD)
    records["time"], records["id"], records["size"] = np.arange(len(ids)), ids, 1
    records["next"] = np.where(later < 0, -1, later + 1)
    errors = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.oracleGeneral.bin"
        records.tofile(file)
        for policy, (theirs, _) in THEIRS.items():
            for capacity in (20, 100, 700):
                reader = libcachesim.TraceReader(
                    str(file),
                    libcachesim.TraceType.ORACLE_GENERAL_TRACE,
                    libcachesim.ReaderInitParam(ignore_obj_size=True),
                )
                ratio, _ = getattr(libcachesim, theirs)(cache_size=capacity).process_trace(reader)
                misses = round(ratio * len(ids))
                errors.append(replay_lookups(policy, ids, capacity, rows).misses / misses - 1.0)
    what = ("cache misses, policies by lookup", "libCacheSim 0.3.5", "replay")
    yield row(what, NOTHING, errors, "benchmarks/caches.py")


def streams() -> Iterator[Row]:
    """Time of two streams at once."""
    from tests.hardware.test_contention import error_of_two_streams

    kinds = ((False, False), (False, True), (True, True))
    errors = [error_of_two_streams(size, *kind) for size in (128, 512, 1024) for kind in kinds]
    what = ("two streams on one memory", "bank model, interleaved", "division of resources")
    yield row(what, NOTHING, errors, "tests/hardware/test_contention.py")


def fidelity() -> Iterator[Row]:
    """Iterations of four systems on two traces."""
    from tests.engine.test_fidelity import TRACES, rows

    for name in ("table", "sampled"):
        errors = [
            one["iteration_time_us"] / rows("exact", trace)[system]["iteration_time_us"] - 1.0
            for trace in TRACES
            for system, one in rows(name, trace).items()
        ]
        what = (f"iterations, memory timing by {name}", "exact addresses", name)
        yield row(what, NOTHING, errors, "tests/engine/test_fidelity.py")


def micro() -> Iterator[Row]:
    """Micro-benchmarks of each machine, as predicted by fits that did not see them."""
    from simulator.calibration.calibrate import Entries, Options, held_out
    from simulator.config.catalogue import load_named
    from simulator.hardware.catalogue import load_machine

    for machine, folder in MICRO.items():
        base, profile = BASE[machine]
        unseen: dict[str, list[Residual]] = {}
        model: Any = load_named("models", "default")
        file = str(ROOT / profile) if profile.endswith(".yaml") else profile
        software: Any = load_named("operators", file)
        entries = Entries(load_machine(base), software, model)
        for residual in held_out(ROOT / folder, entries, Options(keep_undecided=True)):
            unseen.setdefault(_group(residual.point.operator), []).append(residual)
        for group, residuals in unseen.items():
            what = (f"held out: {group}", machine, f"fit to the others, {software.name}")
            fitted = f"every other point of {folder}"
            errors = [residual.error for residual in residuals]
            spreads = [r.point.spread - 1.0 for r in residuals if r.point.spread > 1.0]
            hosts = float(np.median(spreads)) if spreads else None
            page = f"{folder}/residuals.csv"
            yield replace(row(what, fitted, errors, page), sessions=hosts)


def _group(operator: str) -> str:
    """What the table calls micro-benchmarks of one kind."""
    place, _, rest = operator.partition(" ")
    moves = ("gather", "scatter", "pooled gather")
    if operator in ("copies", "copies both ways"):
        return "copies"
    if place == "mlp":
        return "MLPs"
    if place not in ("cpu", "gpu"):
        return "operators and copies side by side"
    if rest.endswith(", few rows") and place == "gpu":
        return "GPU kernels of few rows"
    alone = rest.removesuffix(", few rows").removesuffix(", short rows")
    kind = "gathers and scatters" if alone in moves else "other operators"
    return f"{place.upper()} {kind}"


RENEW: dict[str, Callable[[], Iterator[Row]]] = {
    "memory": memory,
    "caches": caches,
    "streams": streams,
    "fidelity": fidelity,
    "micro": micro,
}


def readme_text() -> str:
    """The README with the table that the summary makes."""
    from simulator.studies.readme import with_tables
    from simulator.validation.trust_table import trust_table

    text = README.read_text(encoding="utf-8")
    return with_tables(text, {"trust": trust_table(read_summary(SUMMARY))})


def main(arguments: Sequence[str]) -> None:
    names = [name for name in arguments if name != "--readme"]
    unknown = [name for name in names if name not in RENEW]
    if unknown:
        raise SystemExit(f"there is no {unknown[0]!r}: {', '.join(RENEW)}, --readme")
    for name in names or ([] if "--readme" in arguments else RENEW):
        print(f"{name} ...", flush=True)
        rows = list(RENEW[name]())
        SUMMARY.write_text(summary_text(with_rows(read_summary(SUMMARY), rows)), encoding="utf-8")
    README.write_text(readme_text(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
