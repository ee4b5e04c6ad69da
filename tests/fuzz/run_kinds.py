"""Kinds of input that are folders of results: of runs, observations and measurements."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from random import Random

import pyarrow.parquet as pq
from mutations import mutated_bytes, mutated_data, mutated_fields, mutated_table, mutated_yaml
from seeds import OBSERVED, catalogue, measurements, run_directory
from trial import Bench, Kind, Trial

__all__ = ["RUN_KINDS"]


def _run_directory(bench: Bench) -> Trial:
    """A run directory: shown, compared, drawn."""
    random = bench.random
    whole = run_directory(bench.seeds)
    run = bench.folder / "fuzzed"
    shutil.copytree(whole, run)
    _damage(run, random, ("manifest.json",))
    command = random.choice(
        (
            ("results", "show", "fuzzed"),
            ("results", "show", "fuzzed", "--json"),
            ("results", "compare", "fuzzed", str(whole)),
            ("results", "compare", str(whole), "fuzzed", "--tolerance", "0.1"),
            ("report", "fuzzed"),
            ("timeline", "fuzzed"),
            ("run", str(bench.seeds / "tiny.yaml"), "--out", "fuzzed"),
        )
    )
    return Trial((command,), ("fuzzed", "differbymorethan"))


def _observed(bench: Bench) -> Trial:
    """What `observe` wrote: validated."""
    run = bench.folder / "fuzzed"
    shutil.copytree(OBSERVED, run)
    _damage(run, bench.random, ("observed.json", "observed.json", "observed.json"))
    places = ("fuzzed", "goal", "observethemagain")
    return Trial((("validate", "fuzzed", "--out", "out"),), places)


def _damage(run: Path, random: Random, documents: tuple[str, ...]) -> None:
    """Damage one file of a folder of JSON documents and tables."""
    tables = sorted(file.name for file in run.glob("*.parquet"))
    name = random.choice((*documents, *tables))
    file, kind = run / name, random.randrange(10)
    if kind == 0:
        file.unlink()
    elif kind == 1:
        file.unlink()
        random.choice((file.mkdir, lambda: file.symlink_to("nowhere")))()
    elif kind == 2:
        file.write_bytes(random.choice((b"", b"[]", b"null", b"PAR1", b"\xff\xfe", b"{" * 5000)))
    elif kind in (3, 4):
        file.write_bytes(mutated_bytes(file.read_bytes(), random))
    elif name.endswith(".json"):
        file.write_text(json.dumps(mutated_data(json.loads(file.read_text()), random)))
    else:
        pq.write_table(mutated_table(pq.read_table(file), random), file)


def _calibration(bench: Bench) -> Trial:
    """Micro-benchmarks of a machine: fitted."""
    random, folder = bench.random, bench.folder / "fuzzed"
    folder.mkdir()
    files = dict(measurements())
    name = random.choice(tuple(files))
    data = files[name]
    if name.endswith(".json") and random.random() < 0.7:
        data = json.dumps(mutated_data(json.loads(data), random)).encode()
    elif random.random() < 0.8:
        data = mutated_fields(data.decode(), random).encode("utf-8", "surrogatepass")
    else:
        data = mutated_bytes(data, random)
    for other, text in (files | {name: data}).items():
        (folder / other).write_bytes(text)
    options = random.choice((("--keep-undecided",), (), ("--json",)))
    return Trial((("calibrate", "--from", "fuzzed", "--out", "out.yaml", *options),), ("fuzzed",))


def _guard(bench: Bench) -> Trial:
    """What was reached before: compared with."""
    text = (OBSERVED.parents[2] / "experiments" / "validation" / "guard.yaml").read_text()
    (bench.folder / "fuzzed.yaml").write_bytes(mutated_yaml(text, bench.random))
    shutil.copytree(OBSERVED, bench.folder / "observed")
    option = bench.random.choice(("--guard", "--write-guard"))
    return Trial(
        (("validate", "observed", "--out", "out", option, "fuzzed.yaml"),),
        ("fuzzed", "goal", "guard", "observed"),
    )


def _updated(bench: Bench) -> Trial:
    """A machine that a calibration brings up to date."""
    folder = bench.folder / "measured"
    folder.mkdir()
    for name, data in measurements().items():
        (folder / name).write_bytes(data)
    text = bench.random.choice(catalogue("platforms"))
    (bench.folder / "fuzzed.yaml").write_bytes(mutated_yaml(text, bench.random))
    option = bench.random.choice(("--update", "--base"))
    return Trial(
        (("calibrate", "--from", "measured", "--out", "out.yaml", option, "fuzzed.yaml"),),
        ("fuzzed", "measured", "--update", "--base"),
    )


def _finished_point(bench: Bench) -> Trial:
    """Points of an interrupted sweep: taken up again, or shown."""
    random = bench.random
    run = bench.folder / "fuzzed"
    shutil.copytree(run_directory(bench.seeds), run)
    files = sorted(file for file in run.rglob("*") if file.is_file())
    for _ in range(random.choice((1, 1, 2))):
        file = random.choice(files)
        kind = random.randrange(5)
        file.unlink(missing_ok=True)
        data = (run_directory(bench.seeds) / file.relative_to(run)).read_bytes()
        if kind == 1:
            file.mkdir()
        elif kind > 1:
            file.write_bytes(mutated_bytes(data, random))
    tiny = str(bench.seeds / "tiny.yaml")
    again = ("run", tiny, "--out", "fuzzed")
    options = ((), (), ("--no-resume",), ("--set", "run.seed=1"), ("--replace",))
    command = (*again, *random.choice(options))
    return Trial((command, ("results", "show", "fuzzed")), ("fuzzed",))


RUN_KINDS: dict[str, Kind] = {
    "run directory": _run_directory,
    "finished points": _finished_point,
    "observed run": _observed,
    "calibration": _calibration,
    "guard": _guard,
    "updated machine": _updated,
}
